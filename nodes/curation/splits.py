"""Which pictures are held out of training, to measure it by."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..dataset.records import HELD_OUT, TRAIN, Dataset, Sample
from .selection import SelectionError, drawn, listed, tags_of


def split(dataset: Dataset, share: float, tags: str = "", seed: int = 0, keep: bool = True) -> Dataset:
    """The same with about this share of its pictures held out.

    A picture's file and the seed decide whether it is held out, so it stays on its side when others come or go, and
    copies of one picture, and what was cut from it, are on one side. Of each tag (between commas) that has pictures
    enough for one of them to be held out, one is; where chance held none out, it is the nearest to it, and that one
    picture may change sides when others come. keep: what is held out already stays so. Raises SelectionError where
    there is nothing to part.
    """
    if len({sample.source for sample in dataset.samples}) < 2:
        raise SelectionError(
            f"{len(dataset.samples)} different pictures cannot be split: it takes one to train on and one to hold out. "
            "Add pictures, or leave this node out."
        )
    held = {each.source for each in dataset.samples if keep and each.split == HELD_OUT}
    draws = {sample.source: drawn(sample.source, seed) for sample in dataset.samples}
    held |= {source for source, draw in draws.items() if draw < share}
    for some in _strata(dataset.samples, tags):
        if held.isdisjoint(some) and len(some) * share >= 1:
            held.add(min(some, key=draws.__getitem__))
    held = held or ({min(draws, key=draws.__getitem__)} if share else set())
    if len(held) == len(draws):
        held.discard(max(draws, key=draws.__getitem__))
    return dataset.of(replace(each, split=HELD_OUT if each.source in held else TRAIN) for each in dataset.samples)


def sides(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """What is trained on, and what is held out."""
    return tuple(dataset.of(each for each in dataset.samples if each.split == side) for side in (TRAIN, HELD_OUT))


def described(dataset: Dataset, tags: str = "") -> str:
    """How many pictures are held out, of all and of each tag."""
    every = dataset.samples
    by_tag = (_line(tag, [sample for sample in every if tag in tags_of(sample)]) for tag in listed(tags))
    return "\n".join([_line("all", every), *by_tag])


def _strata(samples: Sequence[Sample], tags: str) -> Iterable[set[str]]:
    """The sources of the pictures of each tag, and by those without any; each picture counts for its first."""
    strata = defaultdict(set)
    wanted = listed(tags)
    for sample in samples:
        found = tags_of(sample)
        strata[next((tag for tag in wanted if tag in found), "")].add(sample.source)
    return strata.values()


def _line(name: str, samples: Sequence[Sample]) -> str:
    held = sum(sample.split == HELD_OUT for sample in samples)
    percent = math.floor(100 * held / max(1, len(samples)) + 0.5)
    return f"{name}: {held} of {len(samples)} held out ({percent} %)"
