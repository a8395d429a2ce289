"""What a data set's captions and tags say that its pictures show, and what they say too little of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..dataset.records import Dataset, Sample
from .vocabulary import Aspect, Feature, Value, Vocabulary, vocabulary

_FEWEST = 5  # pictures that tell of an aspect; of fewer nothing is concluded
_ONE_SIDED = 0.8  # of them
_RARE = 0.05  # of them
_MOSTLY_UNSAID = 0.5  # of all


@dataclass(frozen=True)
class AspectCoverage:
    """shown: names of the pictures that show each value, by its key. unsaid: of those whose words tell nothing of the
    aspect: what they show is not known."""

    aspect: Aspect
    shown: Mapping[str, tuple[str, ...]]
    unsaid: tuple[str, ...]
    total: int

    @property
    def said(self) -> int:
        """How many pictures tell of it."""
        return self.total - len(self.unsaid)

    def count(self, value: Value) -> int:
        return len(self.shown[value.key])


@dataclass(frozen=True)
class Finding:
    """What is worth a look in one aspect. dominant: a value that nearly all pictures have that tell of it. lacking:
    wanted values that no picture is known to have; rare: those that few have."""

    coverage: AspectCoverage
    dominant: Value | None = None
    lacking: tuple[Value, ...] = ()
    rare: tuple[Value, ...] = ()

    @property
    def features(self) -> tuple[Feature, ...]:
        """What more pictures should show, the most lacking first."""
        return tuple(Feature(self.coverage.aspect.key, value.key) for value in (*self.lacking, *self.rare))

    def __str__(self) -> str:
        """As a sentence, and another one where something is not known."""
        aspect, said, unsaid = self.coverage.aspect, self.coverage.said, len(self.coverage.unsaid)
        facts = [f"{value.name} in only {self.coverage.count(value)}" for value in self.rare]
        if self.dominant:
            count = self.coverage.count(self.dominant)
            facts.insert(0, f"{self.dominant.name} in {'all' if count == said else count}")
        if self.lacking:
            facts.append(f"{_listed([value.name for value in self.lacking])} in none")
        known = f"{_capital(aspect.name)}, by the words of {said} {_pictures(said)}: {'; '.join(facts)}."
        return known + (f" The words of {unsaid} more tell nothing of it." if unsaid else "")


@dataclass(frozen=True)
class Coverage:
    """By aspect, in the vocabulary's order. total: pictures in all."""

    aspects: tuple[AspectCoverage, ...]
    total: int

    def of(self, feature: Feature) -> tuple[str, ...]:
        """Names of the pictures that show it. Raises KeyError for a feature that the vocabulary has not."""
        found = next((each for each in self.aspects if each.aspect.key == feature.aspect), None)
        if found is None:
            raise KeyError(feature)
        return found.shown[feature.value]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the aspects that enough pictures tell of."""
        found = (_finding(each) for each in self.aspects if each.said >= min(_FEWEST, self.total) and each.said)
        return tuple(each for each in found if each.dominant or each.lacking or each.rare)

    @property
    def mostly_unsaid(self) -> tuple[AspectCoverage, ...]:
        """Aspects of which most pictures tell nothing."""
        return tuple(each for each in self.aspects if len(each.unsaid) > _MOSTLY_UNSAID * self.total)


def measured(dataset: Dataset, words: Vocabulary | None = None) -> Coverage:
    """By captions and tags alone: the pictures are not looked at. words: the pack's own vocabulary where none is
    given."""
    words = words or vocabulary()
    named = [shown(sample, words) for sample in dataset.samples]
    names = [sample.name for sample in dataset.samples]
    return Coverage(tuple(_of_aspect(aspect, names, named) for aspect in words.aspects), len(names))


def shown(sample: Sample, words: Vocabulary) -> frozenset[Feature]:
    """What a picture shows by any of its captions and tags."""
    return frozenset().union(*map(words.named, (*sample.captions, *sample.tags)))


def _of_aspect(aspect: Aspect, names: Sequence[str], named: Sequence[frozenset[Feature]]) -> AspectCoverage:
    pairs = list(zip(names, named, strict=True))
    by_value = {
        value.key: tuple(name for name, features in pairs if Feature(aspect.key, value.key) in features)
        for value in aspect.values
    }
    told = set().union(*by_value.values())
    return AspectCoverage(aspect, by_value, tuple(name for name in names if name not in told), len(names))


def _finding(each: AspectCoverage) -> Finding:
    """A value that others imply is not called dominant: it says little."""
    implied = {value.implies for value in each.aspect.values}
    counts = {value: each.count(value) for value in each.aspect.values}
    most = max(counts, key=counts.__getitem__)
    is_dominant = each.said >= _FEWEST and counts[most] >= _ONE_SIDED * each.said and most.key not in implied
    few = max(1, math.floor(_RARE * each.said)) if each.said >= 2 * _FEWEST else 0
    wanted = [value for value in each.aspect.values if value.wanted]
    return Finding(
        each,
        most if is_dominant else None,
        tuple(value for value in wanted if counts[value] == 0),
        tuple(value for value in wanted if 0 < counts[value] <= few),
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pictures(number: int) -> str:
    return "picture" if number == 1 else "pictures"
