"""Data sets with other boxes: what is shown of each picture, never the pictures themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..dataset import images
from ..dataset.folder import Remark
from ..dataset.records import Box, Dataset, Sample
from ..names import numbered
from . import windows
from .framing import Framing, frames
from .subject import Finder, NoSubject
from .windows import Window

DROP, KEEP = "drop", "keep whole"
NOT_FOUND = (DROP, KEEP)  # what becomes of pictures without a subject
WIDEN, ENLARGE = "show more", "enlarge"
TOO_SMALL = (WIDEN, DROP, ENLARGE)  # what becomes of windows that would be enlarged too much
_AT_ONCE = min(8, os.cpu_count() or 1)  # files that are decoded; each may take some hundred megabytes

Progress = Callable[[int, int], None]  # told how many of how many pictures are done


class TooSmall(ValueError):
    """A picture that would be enlarged too much; the message says how much."""


@dataclass(frozen=True)
class Cropped:
    """dropped: with their reasons. notes: of pictures that are not as one would want them. buckets: of each picture
    its size in training, height and width, where it was cut for one."""

    dataset: Dataset
    dropped: Dataset
    notes: tuple[Remark, ...] = ()
    buckets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Fit:
    """sizes: the buckets' heights and widths. limit: how many times a window may be enlarged. too_small: one of
    TOO_SMALL, for what would be enlarged more; WIDEN: where a picture was cropped before, more of it is shown."""

    sizes: Sequence[tuple[int, int]]
    limit: float = 1.5
    too_small: str = WIDEN


@dataclass(frozen=True)
class _Fitted:
    sample: Sample
    bucket: tuple[int, int]
    notes: tuple[str, ...]


def to_subject(
    dataset: Dataset,
    find: Finder,
    framing: Framing,
    not_found: str = DROP,
    progress: Progress = lambda done, of: None,
) -> Cropped:
    """Each picture in each framing, with the framing's name as a tag; where several framings are asked for, also behind
    the picture's name. Raises BoxError, UnreadableImage."""
    taken = {sample.name for sample in dataset.samples} if len(framing.names) > 1 else None
    made: list[Sample] = []
    notes: list[Remark] = []
    reasons: dict[str, str] = {}
    parts = _each(dataset.samples, lambda sample: frames(find(sample), sample.size, framing))
    for done, (sample, found) in enumerate(parts, 1):
        if isinstance(found, dict):
            made += (_framed(sample, name, box, taken) for name, box in found.items())
        elif not_found == KEEP:
            made.append(sample)
            notes.append(Remark(sample.name, f"kept whole: {found}"))
        else:
            reasons[sample.name] = str(found)
        progress(done, len(dataset.samples))
    return Cropped(dataset.of(made), dataset.parted(reasons)[1], tuple(notes))


def to_buckets(dataset: Dataset, find: Finder, fit: Fit, progress: Progress = lambda done, of: None) -> Cropped:
    """Each picture cut to the bucket that keeps its subject and loses least; around its middle where no subject is
    found. Raises BoxError, UnreadableImage."""
    made: list[_Fitted] = []
    reasons: dict[str, str] = {}
    for done, (sample, found) in enumerate(_each(dataset.samples, lambda sample: _fitted(sample, find, fit)), 1):
        if isinstance(found, _Fitted):
            made.append(found)
        else:
            reasons[sample.name] = str(found)
        progress(done, len(dataset.samples))
    notes = tuple(Remark(each.sample.name, note) for each in made for note in each.notes)
    samples, sizes = (each.sample for each in made), tuple(each.bucket for each in made)
    return Cropped(dataset.of(samples), dataset.parted(reasons)[1], notes, sizes)


def cut(sample: Sample, box: Box) -> Sample:
    """The same showing a part of what it shows. box: in that."""
    if box == (0, 0, *sample.size):
        return sample
    corner = sample.box[:2] if sample.box else (0, 0)
    return sample.showing(windows.moved(box, *corner), box.size)


def whole_size(sample: Sample) -> tuple[int, int]:
    """Width and height of all of its picture, whatever is shown. Raises UnreadableImage."""
    if isinstance(sample.image, Tensor):
        return sample.image.shape[2], sample.image.shape[1]
    return images.dimensions(images.unchanged(sample.image, sample.origin.sha256))


def _each(samples: Sequence[Sample], work: Callable[[Sample], Any]) -> Iterator[tuple[Sample, Any]]:
    """Each sample with what came of it, or why nothing did; several at a time, in order, and no more than those
    ahead."""

    def tried(sample: Sample) -> Any:
        try:
            return work(sample)
        except (NoSubject, TooSmall) as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(samples), 4 * _AT_ONCE):  # an interrupt waits for no more than these
            some = samples[start : start + 4 * _AT_ONCE]
            yield from zip(some, pool.map(tried, some), strict=True)


def _framed(sample: Sample, framing: str, box: Box, taken: set[str] | None) -> Sample:
    """taken: names of pictures, to which a new one is added; None where the name stays."""
    part = cut(sample, box)
    tags = part.tags if framing in part.tags else (*part.tags, framing)
    return replace(part, tags=tags, name=part.name if taken is None else _named(part.name, framing, taken))


def _named(name: str, framing: str, taken: set[str]) -> str:
    stem, _, ending = name.rpartition(".")
    ending = f".{ending}" if stem and f".{ending.lower()}" in images.SUFFIXES else ""
    stems = numbered(f"{name.removesuffix(ending)} {framing}")
    free = next(f"{each}{ending}" for each in stems if f"{each}{ending}" not in taken)
    taken.add(free)
    return free


def _fitted(sample: Sample, find: Finder, fit: Fit) -> _Fitted:
    """Raises TooSmall."""
    subject, notes = _subject(sample, find)
    window = windows.best(sample.size, subject, fit.sizes, fit.limit)
    if not windows.holds(window.box, subject):
        notes.append("its subject is not all in frame")
    if fit.too_small == ENLARGE or windows.is_enough(window, fit.limit):
        return _Fitted(cut(sample, window.box), window.bucket, tuple(notes))
    if fit.too_small == WIDEN and sample.box:
        return _widened(sample, sample.box, subject, fit, notes)
    raise _too_small(window, fit, "")


def _subject(sample: Sample, find: Finder) -> tuple[Box, list[str]]:
    try:
        return find(sample).box, []
    except NoSubject as error:
        return windows.centre(sample.size), [f"cut around its middle: {error}"]


def _widened(sample: Sample, shown: Box, subject: Box, fit: Fit, notes: list[str]) -> _Fitted:
    """With as much around what was shown as the limit needs. Raises TooSmall."""
    size = whole_size(sample)
    within = windows.moved(subject, *shown[:2])
    window = windows.grown(size, shown, within, fit.sizes, fit.limit)
    if window is None:
        raise _too_small(windows.best(size, within, fit.sizes, fit.limit), fit, " even if all of it were shown")
    box = None if window.box == (0, 0, *size) else window.box
    wider = sample.showing(box, window.box.size)
    return _Fitted(wider, window.bucket, (*notes, "more of it is shown than before"))


def _too_small(window: Window, fit: Fit, more: str) -> TooSmall:
    height, width = window.bucket
    return TooSmall(
        f"it would be enlarged {window.enlargement:.2f} times to {width} x {height} pixels{more}; at most "
        f"{fit.limit:g} times is allowed"
    )
