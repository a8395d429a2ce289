"""What became of the pictures of a data set, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..dataset.folder import Remark
from ..dataset.report import in_short
from .crop import Cropped

_MOST_REMARKS = 50


def of_cropping(cropped: Cropped) -> str:
    """What there is now, in which sizes it is trained where that is known, what is noted, and what was dropped."""
    parts = [in_short(cropped.dataset), _sizes(cropped.buckets)]
    dropped = [Remark(sample.name, sample.reason) for sample in cropped.dropped.samples]
    parts += [_listed("Dropped", dropped), _listed("Noted", cropped.notes)]
    return "\n\n".join(filter(None, parts))


def _sizes(buckets: Sequence[tuple[int, int]]) -> str:
    """The most frequent first."""
    counted = Counter(buckets).most_common()
    return "\n".join(f"- {width} x {height}: {count}" for (height, width), count in counted)


def _listed(title: str, remarks: Sequence[Remark]) -> str:
    if not remarks:
        return ""
    lines = [f"- {remark}" for remark in remarks[:_MOST_REMARKS]]
    more = len(remarks) - len(lines)
    return "\n".join([f"{title}, {len(remarks)}:", *lines, *([f"… and {more} more"] if more else [])])
