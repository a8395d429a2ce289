"""A data set in numbers: sizes, aspect ratios, buckets, captions, what an epoch shows."""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...trainers import buckets, captions
from ..dataset.records import HELD_OUT, TRAIN, Dataset, Sample

Size = tuple[int, int]  # width, height in pixels

_SHAPES = ((1, 2), (9, 16), (2, 3), (3, 4), (4, 5), (1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1))
_TAG_WORDS = 3.0  # captions whose parts between commas are no longer than this on average are lists of tags

# A word; each Han or kana sign counts as one, since nothing parts words there.
_SINGLE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+(?:['’][^\W_]+)?")
_FILLERS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "her", "his", "in", "is", "it", "its", "of",
    "on", "or", "she", "he", "that", "the", "their", "there", "they", "this", "to", "was", "while", "with",
    "who", "which",
})  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A named aspect ratio. width, height: of the ratio, as in 2:3; count: of pictures that are nearest to it."""

    width: int
    height: int
    count: int

    @property
    def ratio(self) -> str:
        return f"{self.width}:{self.height}"

    @property
    def name(self) -> str:
        """As in "portrait 2:3"."""
        if self.width == self.height:
            return "square"
        return f"{'portrait' if self.width < self.height else 'landscape'} {self.ratio}"


@dataclass(frozen=True)
class Fit:
    """How a picture gets into its bucket. lost: share of its area that is cut off; scale: above 1 it is enlarged."""

    name: str
    size: Size
    bucket: Size
    lost: float
    scale: float


@dataclass(frozen=True)
class Bucket:
    """A size that pictures are trained at. shown: how often an epoch shows one of it."""

    size: Size
    fits: tuple[Fit, ...]
    shown: int

    @property
    def enlarged(self) -> int:
        return sum(fit.scale > 1 for fit in self.fits)

    @property
    def lost(self) -> float:
        """Mean share that is cut off."""
        return statistics.fmean(fit.lost for fit in self.fits)


@dataclass(frozen=True)
class Captions:
    """count: of all pictures together. without: names of pictures that have none. lengths: of each in words. words,
    tags: in how many captions each is, the most frequent first; tags are the parts between commas. doubled: captions
    that several pictures have, with their names."""

    count: int
    without: tuple[str, ...]
    lengths: tuple[int, ...]
    words: Mapping[str, int]
    tags: Mapping[str, int]
    doubled: Mapping[str, tuple[str, ...]]

    @property
    def are_tags(self) -> bool:
        """Whether they are lists of short parts, and not sentences."""
        parts = sum(self.tags.values())
        return bool(parts) and sum(self.lengths) / parts <= _TAG_WORDS

    @property
    def in_all(self) -> tuple[str, ...]:
        """Words that no caption lacks."""
        return tuple(word for word, count in self.words.items() if count == self.count)


@dataclass(frozen=True)
class Statistics:
    """resolution, step: of the buckets. fits: of each picture in order. shown: pictures an epoch of training shows,
    repeats included; weighted: the same, each counted by its weight."""

    name: str
    resolution: int
    step: int
    fits: tuple[Fit, ...]
    shapes: tuple[Shape, ...]
    buckets: tuple[Bucket, ...]
    captions: Captions
    held_out: int
    shown: int
    weighted: float

    @property
    def enlarged(self) -> tuple[Fit, ...]:
        """Of the pictures that are smaller than their bucket, the one that is enlarged most first."""
        return tuple(sorted((fit for fit in self.fits if fit.scale > 1), key=lambda fit: (-fit.scale, fit.name)))

    def losing(self, share: float) -> tuple[Fit, ...]:
        """Pictures that lose more than this share of their area, the one that loses most first."""
        return tuple(sorted((fit for fit in self.fits if fit.lost > share), key=lambda fit: (-fit.lost, fit.name)))


def measured(dataset: Dataset, resolution: int, step: int) -> Statistics:
    """Of a data set trained at this resolution with aspect ratio buckets; resolution and step in pixels."""
    samples = dataset.samples
    fits = tuple(fit(sample, resolution, step) for sample in samples)
    trained = [sample for sample in samples if sample.split == TRAIN]
    return Statistics(
        dataset.name,
        resolution,
        step,
        fits,
        shapes(sample.size for sample in samples),
        _buckets(samples, fits),
        of_captions(samples),
        sum(sample.split == HELD_OUT for sample in samples),
        sum(sample.repeats for sample in trained),
        sum(sample.repeats * sample.weight for sample in trained),
    )


def fit(sample: Sample, resolution: int, step: int) -> Fit:
    """Into the bucket that `trainers.buckets` puts it in, cut as it cuts."""
    width, height = sample.size
    bucket = _bucket(sample.size, resolution, step)
    scale = max(bucket[0] / width, bucket[1] / height)
    lost = 1 - bucket[0] * bucket[1] / (width * height * scale**2)
    return Fit(sample.name, sample.size, bucket, max(0.0, lost), scale)


@functools.lru_cache(maxsize=4096)
def _bucket(size: Size, resolution: int, step: int) -> Size:
    height, width = buckets.size_of(size[1], size[0], resolution, step)
    return width, height


def _buckets(samples: Sequence[Sample], fits: Sequence[Fit]) -> tuple[Bucket, ...]:
    """The one with the most pictures first."""
    inside: dict[Size, list[Fit]] = defaultdict(list)
    shown: Counter[Size] = Counter()
    for sample, each in zip(samples, fits, strict=True):
        inside[each.bucket].append(each)
        shown[each.bucket] += sample.repeats if sample.split == TRAIN else 0
    found = (Bucket(size, tuple(all_in), shown[size]) for size, all_in in inside.items())
    return tuple(sorted(found, key=lambda bucket: (-len(bucket.fits), bucket.size)))


def shapes(sizes: Iterable[Size]) -> tuple[Shape, ...]:
    """Every named aspect ratio, the narrowest first, with the pictures nearest to it (by the ratio of ratios)."""
    counted = Counter(
        min(_SHAPES, key=lambda shape: abs(math.log(size[0] / size[1] * shape[1] / shape[0]))) for size in sizes
    )
    return tuple(Shape(*shape, counted[shape]) for shape in _SHAPES)


def of_captions(samples: Sequence[Sample]) -> Captions:
    """Words in small letters, without the fillers that are in most sentences ("the", "with")."""
    texts = [text for sample in samples for text in sample.captions]
    split = [words(text) for text in texts]
    bearers: dict[str, dict[str, None]] = defaultdict(dict)
    for sample in samples:
        for text in sample.captions:
            bearers[text][sample.name] = None
    return Captions(
        len(texts),
        tuple(sample.name for sample in samples if not sample.captions),
        tuple(map(len, split)),
        _frequency(split),
        captions.tag_frequency(texts),
        {text: tuple(names) for text, names in bearers.items() if len(names) > 1},
    )


def words(text: str) -> list[str]:
    """The words of a text, as they are written."""
    return _WORD.findall(text)


def _frequency(split: Iterable[Sequence[str]]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for each in split:
        counted.update({word.casefold() for word in each if _is_telling(word)})
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _is_telling(word: str) -> bool:
    """Not a filler, and not a single sign: of scripts without spaces that is a part of a word, of others as of ":d"."""
    return word.casefold() not in _FILLERS and len(word) > 1
