"""A data set in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .folder import Loaded, Remark
from .records import HELD_OUT, Dataset, Sample

_MOST_REMARKS = 50


def of_loading(loaded: Loaded) -> str:
    """What was loaded, what was left out and why, and what a person should know of the rest."""
    parts = [in_short(loaded.dataset)]
    if loaded.unread:
        parts.append(f"Left out, {len(loaded.unread)}:\n" + _listed(loaded.unread))
    if loaded.notes:
        parts.append("Noted:\n" + _listed(loaded.notes))
    return "\n\n".join(parts)


def in_short(dataset: Dataset) -> str:
    """Its name, how many pictures, how large, with how many captions and masks."""
    samples = dataset.samples
    facts = [_count(len(samples), "picture"), _sizes(samples)]
    facts += [f"{number} {what}" for number, what in _kinds(samples) if number]
    return f"{dataset.name}: " + ", ".join(filter(None, facts))


def _kinds(samples: Sequence[Sample]) -> list[tuple[int, str]]:
    return [
        (sum(len(sample.captions) > 1 for sample in samples), "with several captions"),
        (sum(not sample.captions for sample in samples), "without a caption"),
        (sum(sample.mask is not None for sample in samples), "with a mask"),
        (sum(sample.repeats > 1 for sample in samples), "repeated"),
        (sum(sample.weight != 1.0 for sample in samples), "weighted"),
        (sum(sample.split == HELD_OUT for sample in samples), "held out"),
    ]


def _sizes(samples: Sequence[Sample]) -> str:
    counted = Counter(sample.size for sample in samples)
    if not counted:
        return ""
    by_area = sorted(counted, key=lambda size: (size[0] * size[1], size))
    smallest, largest = by_area[0], by_area[-1]
    if len(counted) == 1:
        return f"{smallest[0]} x {smallest[1]} pixels"
    return f"{smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} pixels"


def _listed(remarks: Sequence[Remark]) -> str:
    more = len(remarks) - _MOST_REMARKS
    return _lines(remarks[:_MOST_REMARKS]) + (f"\n… and {more} more" if more > 0 else "")


def _lines(remarks: Iterable[Remark]) -> str:
    return "\n".join(f"- {remark}" for remark in remarks)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
