"""How good a picture is to train on: sharpness, exposure, compression, size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from torch import Tensor

from ..dataset import images
from ..dataset.records import Dataset, Sample
from . import blur, compression, exposure
from .each import Progress, of_each

SCORES = ("sharpness", "brightness", "contrast", "jpeg_quality", "blockiness")
_SCALES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25)
_RESTORED = (
    0.035  # of a picture's deviation; what is sharp loses more at 0.9, what was enlarged thrice loses less at 0.35
)
_LONGEST = 1024  # pixels of a side that sharpness is measured at: detail beyond that is hardly ever trained


@dataclass(frozen=True)
class Limits:
    """What a picture has to keep within. sharpness, darkest, brightest, contrast: 0..1.
    jpeg_quality: 0..100. blockiness: 1 or more. shortest: pixels of the shorter side."""

    sharpness: float = 0.45
    darkest: float = 0.12
    brightest: float = 0.9
    contrast: float = 0.2
    jpeg_quality: float = 35.0
    blockiness: float = 2.0
    shortest: int = 256


def measured(dataset: Dataset, progress: Progress = lambda done, of: None) -> Dataset:
    """The same with its SCORES; pictures that have them all are not read again. Raises UnreadableImage."""
    return dataset.of(of_each(dataset, _measured, progress))


def sorted_out(dataset: Dataset, limits: Limits, progress: Progress = lambda done, of: None) -> tuple[Dataset, Dataset]:
    """What keeps within the limits and what does not, both with their scores. Raises UnreadableImage."""
    scored = measured(dataset, progress)
    faults = {sample.name: "; ".join(_faults(sample, limits)) for sample in scored.samples}
    return scored.parted({name: found for name, found in faults.items() if found})


def detail(sample: Sample) -> float:
    """How much is to be seen of a picture: the pixels that it needs, less for what compression left of them. To choose
    among copies of one picture. Raises UnreadableImage."""
    picture = images.opened(sample).convert("L")
    pixels = picture.width * picture.height * _needed(picture) ** 3  # an enlarged copy is worse than its original
    return pixels * min(1.0, _jpeg_quality(sample) / 90) / compression.blockiness(np.asarray(picture))


def _needed(picture: Image.Image) -> float:
    """The smallest of _SCALES (each way) that a picture ("L") can be restored from: below 1 it was enlarged."""
    before, found = np.asarray(picture, np.float32), 1.0
    most = _RESTORED * max(float(before.std()), 1.0)
    for scale in _SCALES:
        small = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
        after = np.asarray(small.resize(picture.size, Image.Resampling.LANCZOS), np.float32)
        if float(np.sqrt(np.square(before - after).mean())) >= most:
            break
        found = scale
    return found


def scores_of(sample: Sample) -> dict[str, float]:
    """By the names of SCORES: blur.sharpness, exposure.brightness and contrast, compression.quality_of_file and
    blockiness."""
    picture = images.opened(sample).convert("L")
    return {
        "sharpness": blur.sharpness(np.asarray(_at_most(picture, _LONGEST))),
        "brightness": exposure.brightness(picture),
        "contrast": exposure.contrast(picture),
        "jpeg_quality": _jpeg_quality(sample),
        "blockiness": compression.blockiness(np.asarray(picture)),
    }


def _jpeg_quality(sample: Sample) -> float:
    in_memory = isinstance(sample.image, Tensor)
    return 100.0 if in_memory else compression.quality_of_file(sample.image.read_bytes())


def _measured(sample: Sample) -> Sample:
    if all(name in sample.scores for name in SCORES):
        return sample
    return replace(sample, scores=sample.scores | scores_of(sample))


def _faults(sample: Sample, limits: Limits) -> Iterator[str]:
    scores: Mapping[str, float] = sample.scores
    if min(sample.size) < limits.shortest:
        yield f"too small ({sample.size[0]} x {sample.size[1]} pixels; the shorter side has to be {limits.shortest})"
    if scores["sharpness"] < limits.sharpness:
        yield f"blurred (sharpness {scores['sharpness']:.2f}, at least {limits.sharpness:g})"
    if scores["brightness"] < limits.darkest:
        yield f"too dark (brightness {scores['brightness']:.2f}, at least {limits.darkest:g})"
    if scores["brightness"] > limits.brightest:
        yield f"too bright (brightness {scores['brightness']:.2f}, at most {limits.brightest:g})"
    if scores["contrast"] < limits.contrast:
        yield f"too little contrast ({scores['contrast']:.2f}, at least {limits.contrast:g})"
    if scores["jpeg_quality"] < limits.jpeg_quality:
        yield f"compressed too much (JPEG quality {scores['jpeg_quality']:.0f}, at least {limits.jpeg_quality:g})"
    if scores["blockiness"] > limits.blockiness:
        yield f"compressed too much (blockiness {scores['blockiness']:.1f}, at most {limits.blockiness:g})"


def _at_most(picture: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    return picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BOX)
