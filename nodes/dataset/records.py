"""The values that cross rooms: a picture with what is known of it, and an ordered set of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)

# Scores of what a picture shows: of another part of it they say nothing.
MEASURED = frozenset({"sharpness", "brightness", "contrast", "jpeg_quality", "blockiness", "identity"})


class Box(NamedTuple):
    """A part of a picture in pixels: right and bottom are the first that are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from.

    source: a name below ComfyUI's input folder, or what a person calls it. sha256: of the file's bytes, or of the
    pixels where there never was a file. licence: as its owner calls it. parent: sha256 of the picture that it was made
    from. generator: the model or program that made it, with this seed.
    """

    source: str
    sha256: str
    licence: str = ""
    parent: str = ""
    generator: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Mask:
    """What of a picture is learned: white where it is, or opaque where `of_alpha`. image: a file as large as the
    picture's own (before any box), or a tensor H,W float32 in 0..1; sha256: of its bytes or values."""

    image: Path | Tensor
    sha256: str
    of_alpha: bool = False


@dataclass(frozen=True)
class Sample:
    """One picture of a data set. It stays in its file: `images.read` gives its pixels.

    name: unique in its data set, as a path of the folder that it came from. image: a file, or a tensor B=1,H,W,3
    float32 in 0..1 (sRGB). size: width, height in pixels of what is shown, upright. captions: of which training shows
    one at a time. box: what is shown of the picture, where that is not all. background: the colour below transparent
    parts. scores: what was measured, by name. repeats: how often an epoch shows it. weight: of its loss. split: one of
    SPLITS. reason: why it was taken out of a data set; empty where it never was. Raises ValueError for numbers that
    training cannot use.
    """

    name: str
    image: Path | Tensor
    size: tuple[int, int]
    captions: tuple[str, ...]
    origin: Origin
    mask: Mask | None = None
    box: Box | None = None
    background: str = "white"
    scores: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    repeats: int = 1
    weight: float = 1.0
    split: str = TRAIN
    reason: str = ""

    def __post_init__(self):
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))
        if self.repeats < 1:
            raise ValueError(f"{self.name} has repeats {self.repeats}; it has to be 1 or more.")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"{self.name} has weight {self.weight}; it has to be a number above 0.")
        if self.split not in SPLITS:
            raise ValueError(f"{self.name} has split {self.split!r}; it has to be one of {', '.join(SPLITS)}.")

    @property
    def caption(self) -> str:
        """The first caption: what the picture is called where one is enough. Empty where there is none."""
        return self.captions[0] if self.captions else ""

    @property
    def source(self) -> str:
        """sha256 of the picture that it was cut from, or else its own: what cuts of one picture have in common."""
        return self.origin.parent if self.origin.parent and not self.origin.generator else self.origin.sha256

    def showing(self, box: Box | None, size: tuple[int, int]) -> Sample:
        """The same showing this part of its picture (None: all), without what was measured of what it showed."""
        scores = {name: score for name, score in self.scores.items() if name not in MEASURED}
        return replace(self, box=box, size=size, scores=scores)

    @property
    def content(self) -> str:
        """sha256 of what is shown of the picture: of its bytes, box and background."""
        shown = [self.origin.sha256, self.box, self.background]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """An ordered set of samples. Operations on it return a new one."""

    name: str
    samples: tuple[Sample, ...]

    def of(self, samples: Iterable[Sample]) -> Dataset:
        """The same with other samples."""
        return Dataset(self.name, tuple(samples))

    def parted(self, reasons: Mapping[str, str]) -> tuple[Dataset, Dataset]:
        """What stays and what is dropped, which keeps its reason. reasons: by the names of those that are dropped."""
        kept = (sample for sample in self.samples if sample.name not in reasons)
        dropped = (sample for sample in self.samples if sample.name in reasons)
        return self.of(kept), self.of(replace(sample, reason=reasons[sample.name]) for sample in dropped)

    @property
    def hash(self) -> str:
        """sha256 over all of it that training sees, in order: pictures, captions, masks, repeats, weights, splits."""
        digest = hashlib.sha256()
        for sample in self.samples:
            masked = [sample.mask.sha256, sample.mask.of_alpha] if sample.mask else None
            seen = [sample.content, sample.captions, masked, sample.repeats, sample.weight, sample.split]
            digest.update(json.dumps(seen).encode() + b"\0")
        return digest.hexdigest()
