"""What of a data set is worth a look before it is trained on, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .coverage import Coverage
from .statistics import Fit, Statistics

_MUCH_LOST = 0.2  # of a picture's area
_NAMES = 3  # that are given
_LONGEST_NAME = 40  # letters


def of(found: Statistics, coverage: Coverage) -> tuple[str, ...]:
    """What stands out, what is hardest on a training first. Nothing for a data set without pictures."""
    return (*_of_captions(found), *_of_sizes(found), *_of_coverage(coverage)) if found.fits else ()


def _of_captions(found: Statistics) -> Iterator[str]:
    captions, total = found.captions, len(found.fits)
    if captions.without:
        yield (
            f"{len(captions.without)} of {total} pictures {_plural(len(captions.without), 'has', 'have')} no caption "
            f"({_some(captions.without)}). Write some, or give a default one when you load them."
        )
    if captions.doubled:
        text, names = max(captions.doubled.items(), key=lambda each: len(each[1]))
        more = len(captions.doubled) - 1
        others = f" {more} more {_plural(more, 'caption is', 'captions are')} on several." if more else ""
        yield (
            f"{len(names)} pictures have the same caption, “{_short(text)}” ({_some(names)}).{others} Name what tells "
            "them apart."
        )
    if captions.count > 1 and not captions.in_all:
        yield "No word is in every caption. A trigger word in all of them is what calls the character later."


def _of_sizes(found: Statistics) -> Iterator[str]:
    enlarged, losing = found.enlarged, found.losing(_MUCH_LOST)
    if enlarged:
        are = _plural(len(enlarged), "is", "are")
        yield (
            f"{len(enlarged)} of {len(found.fits)} pictures {are} enlarged for training at {found.resolution}, up to "
            f"{enlarged[0].scale:.1f} times ({_fits(enlarged)}). Take larger ones, or train at a lower resolution."
        )
    if losing:
        yield (
            f"{len(losing)} {_plural(len(losing), 'picture loses', 'pictures lose')} more than "
            f"{_MUCH_LOST:.0%} at the edges, up to {losing[0].lost:.0%} ({_fits(losing)}). Crop them yourself to a "
            "less oblong part."
        )
    alone = [bucket for bucket in found.buckets if bucket.shown == 1]
    if alone and len(found.buckets) > 1:
        yield (
            f"{len(alone)} {_plural(len(alone), 'bucket has', 'buckets have')} a single picture "
            f"({_some([fit.name for bucket in alone for fit in bucket.fits])}), which fills a batch alone. With a "
            "batch size above 1, crop to fewer shapes."
        )


def _of_coverage(coverage: Coverage) -> Iterator[str]:
    yield from map(str, coverage.findings)
    unsaid = [each.aspect.name for each in coverage.mostly_unsaid]
    if unsaid:
        yield (
            f"Most captions tell nothing of: {', '.join(unsaid)}. What the pictures show there is not known here. What "
            "varies should be in the captions."
        )


def _fits(fits: Sequence[Fit]) -> str:
    return _some([f"{_name(fit.name)} at {fit.size[0]} x {fit.size[1]}" for fit in fits])


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(_name, names[:_NAMES])) + (", …" if len(names) > _NAMES else "")


def _name(name: str) -> str:
    """Of a picture, with its ends alone where it is long."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:8]}…{name[-15:]}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59].rstrip(" ,") + "…"


def _plural(number: int, one: str, several: str) -> str:
    return one if number == 1 else several
