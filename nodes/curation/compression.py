"""How strongly a picture was compressed as JPEG, in its file or before it was saved anew."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image

_START = b"\xff\xd8"  # of a JPEG file (ITU-T T.81, table B.1: SOI)
_BLOCK = 8  # pixels (ITU-T T.81, section A.1)
_LUMINANCE = (  # the table at quality 50 (ITU-T T.81, table K.1)
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_EDGE = 8  # of 255: a larger step between neighbours is the picture's own


def quality_of_file(data: bytes) -> float:
    """The quality, 1..100, that libjpeg would have been asked for to write the file (jcparam.c, jpeg_set_quality): the
    one whose luminance table is nearest to the file's. 100 for what is no JPEG."""
    if not data.startswith(_START):
        return 100.0
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        tables = image.quantization
    if not tables:
        return 100.0
    found = np.sort(tables[min(tables)])
    return float(min(range(100, 0, -1), key=lambda quality: np.abs(np.sort(_table(quality)) - found).sum()))


@functools.cache
def _table(quality: int) -> np.ndarray:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((np.array(_LUMINANCE) * percent + 50) // 100).clip(1, 255)


def blockiness(grey: np.ndarray) -> float:
    """How much more neighbours (H,W uint8) differ across the borders of a grid of 8 pixels than within it; about 1 for
    what was never compressed (after Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG
    compressed images", 2002, section 2). The grid may begin anywhere, as after a crop. Flat drawings show it less."""
    return max(_across(grey.astype(np.int16), axis) for axis in (0, 1))


def _across(grey: np.ndarray, axis: int) -> float:
    steps = np.minimum(np.abs(np.diff(grey, axis=axis)), _EDGE).mean(1 - axis)
    if len(steps) < 4 * _BLOCK:
        return 1.0
    by_place = steps[: len(steps) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(0) + 0.05  # plain ones are 1, too
    return float(by_place.max() / np.median(by_place))
