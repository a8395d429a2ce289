"""The values that cross rooms: a picture with what is known of it, and an ordered set of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from. source: a name below ComfyUI's input folder; sha256: of the file's bytes."""

    source: str
    sha256: str


@dataclass(frozen=True)
class Mask:
    """What of a picture is learned: white where it is. image: a file of the picture's size; sha256: of its bytes."""

    image: Path
    sha256: str


@dataclass(frozen=True)
class Sample:
    """One picture of a data set.

    name: of the file, unique in its data set. image: a file, or a tensor B=1,H,W,3 float32 in 0..1 (sRGB).
    size: width, height in pixels, upright. captions: one or more, of which training shows one at a time.
    mask: none where all of it is learned.
    """

    name: str
    image: Path | Tensor
    size: tuple[int, int]
    captions: tuple[str, ...]
    origin: Origin
    mask: Mask | None = None

    @property
    def caption(self) -> str:
        """The first caption: what the picture is called where one is enough."""
        return self.captions[0]


@dataclass(frozen=True)
class Dataset:
    """An ordered set of samples. Operations on it return a new one."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def hash(self) -> str:
        """sha256 over every picture's bytes, captions and mask, in order."""
        digest = hashlib.sha256()
        for sample in self.samples:
            masked = [f"mask {sample.mask.sha256}"] if sample.mask else []
            digest.update("\0".join([sample.origin.sha256, *sample.captions, *masked, ""]).encode())
        return digest.hexdigest()
