"""Choosing among the pictures of a data set, and how much each counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from .. import names
from ..dataset.records import Dataset, Sample

ANY, ALL, NONE = "any", "all", "none"
FIRST, RANDOM, SPREAD, BEST = "first", "random", "evenly spread", "highest score"


class SelectionError(ValueError):
    """A choice that cannot be made; the message says what to do."""


def listed(tags: str) -> list[str]:
    """What stands between commas, as tags are compared: in lower case, with spaces for underscores."""
    return [found for each in tags.split(",") if (found := _plain(each))]


def tags_of(sample: Sample) -> frozenset[str]:
    """Its tags, and the parts of its captions between commas, in lower case, with spaces for underscores."""
    parts = (part for caption in sample.captions for part in caption.split(","))
    return frozenset(found for each in (*sample.tags, *parts) if (found := _plain(each)))


def with_tags(dataset: Dataset, tags: str, which: str) -> tuple[Dataset, Dataset]:
    """The pictures that have any, all or none of the tags (between commas), and the others. Raises SelectionError
    where there are no tags."""
    wanted = frozenset(listed(tags))
    if not wanted:
        raise SelectionError("there are no tags to look for. Write some, with commas between them.")
    fits = {
        ANY: lambda found: not found.isdisjoint(wanted),
        ALL: lambda found: found.issuperset(wanted),
        NONE: lambda found: found.isdisjoint(wanted),
    }[which]
    reason = f"does not have {which} of: {', '.join(wanted)}" if which != NONE else f"has one of: {', '.join(wanted)}"
    return dataset.parted({sample.name: reason for sample in dataset.samples if not fits(tags_of(sample))})


def with_score(dataset: Dataset, score: str, least: float, most: float) -> tuple[Dataset, Dataset]:
    """The pictures whose score is within the limits, and the others. Raises SelectionError where one lacks it."""
    _check_scores(dataset.samples, score)
    return dataset.parted({
        sample.name: f"{score} is {sample.scores[score]:.3g} (from {least:g} to {most:g})"
        for sample in dataset.samples
        if not least <= sample.scores[score] <= most
    })  # fmt: skip


def chosen(dataset: Dataset, count: int, how: str, seed: int = 0, score: str = "") -> tuple[Dataset, Dataset]:
    """So many of the pictures, in their order, and the others: the first, random ones, ones evenly spread over the
    order, or those with the highest score. Random ones are decided by what each shows and the seed, so that a picture
    more changes the choice by one at most. Raises SelectionError where a picture lacks the score."""
    every = dataset.samples
    if how == BEST:
        _check_scores(every, score)
    places = {
        FIRST: lambda: range(count),
        RANDOM: lambda: _lowest(count, [drawn(each.content, seed) for each in every]),
        SPREAD: lambda: [round(step * (len(every) - 1) / max(1, count - 1)) for step in range(count)],
        BEST: lambda: _lowest(count, [-each.scores[score] for each in every]),
    }
    stay = set(places[how]()) if count < len(every) else range(len(every))
    return dataset.parted({
        each.name: f"not among the {count} that were chosen ({how})"
        for place, each in enumerate(every)
        if place not in stay
    })  # fmt: skip


def weighted(dataset: Dataset, repeats: int, weight: float, tags: str = "") -> Dataset:
    """Repeats and weight of each picture (with any of the tags, where there are some) times these."""
    wanted = frozenset(listed(tags))
    return dataset.of(
        replace(each, repeats=each.repeats * repeats, weight=each.weight * weight)
        if not wanted or not wanted.isdisjoint(tags_of(each))
        else each
        for each in dataset.samples
    )


def not_all(kept: Dataset, dropped: Dataset) -> tuple[Dataset, Dataset]:
    """Both as they are. Raises SelectionError where nothing would be left, on which what follows would fail."""
    if not kept.samples:
        some = "; ".join(f"{sample.name}: {sample.reason}" for sample in dropped.samples[:3])
        raise SelectionError(
            f"none of {len(dropped.samples)} pictures would be left ({some or 'the data set is empty'}). Ask for less, "
            "or load other pictures."
        )
    return kept, dropped


def merged(datasets: Sequence[Dataset], name: str = "") -> Dataset:
    """All pictures, one data set after the other; names that come again are numbered."""
    taken: set[str] = set()
    samples = []
    for each in (sample for dataset in datasets for sample in dataset.samples):
        free = next(name for name in _numbered(each.name) if name not in taken)
        taken.add(free)
        samples.append(each if free == each.name else replace(each, name=free))
    return Dataset(name or " + ".join(dict.fromkeys(dataset.name for dataset in datasets)), tuple(samples))


def drawn(content: str, seed: int) -> float:
    """A random number, 0 to 1, of a picture's hash."""
    digest = hashlib.sha256(f"{seed} {content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _lowest(count: int, values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda place: (values[place], place))[:count]


def _check_scores(samples: Sequence[Sample], score: str) -> None:
    without = [sample.name for sample in samples if score not in sample.scores]
    if without:
        known = sorted({name for sample in samples for name in sample.scores})
        raise SelectionError(
            f"{len(without)} pictures have no score {score!r} ({without[0]}{', …' if len(without) > 1 else ''}); there "
            f"is {', '.join(known) or 'none'}. Put Measure Dataset before this node, or name another score."
        )


def _plain(tag: str) -> str:
    return " ".join(tag.replace("_", " ").split()).casefold()


def _numbered(name: str) -> Iterable[str]:
    path = PurePosixPath(name)
    return (path.with_name(stem + path.suffix).as_posix() for stem in names.numbered(path.stem))
