"""How strongly a picture was compressed as JPEG, in its file or before it was saved anew."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_START = b"\xff\xd8"  # of a JPEG file (ITU-T T.81, table B.1: SOI)
_BLOCK = 8  # pixels (ITU-T T.81, section A.1)
_STANDARD = 3688  # the sum of the luminance table at quality 50 (ITU-T T.81, table K.1)


def quality_of_file(data: bytes) -> float:
    """The quality, 0..100, that libjpeg would have been asked for to write the file, by the sum of its luminance table
    (jcparam.c, jpeg_quality_scaling). 100 for what is no JPEG."""
    if not data.startswith(_START):
        return 100.0
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        tables = image.quantization
    percent = 100 * sum(tables[min(tables)]) / _STANDARD
    return float(np.clip((200 - percent) / 2 if percent <= 100 else 5000 / percent, 0, 100))


def blockiness(grey: np.ndarray) -> float:
    """How much more neighbours (H,W uint8) differ across the borders of a grid of 8 pixels than within it; about 1 for
    what was never compressed (after Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG
    compressed images", 2002, section 2). The grid may begin anywhere, as after a crop."""
    return max(_across(grey.astype(np.int16), axis) for axis in (0, 1))


def _across(grey: np.ndarray, axis: int) -> float:
    steps = np.abs(np.diff(grey, axis=axis)).mean(1 - axis)
    if len(steps) < 4 * _BLOCK:
        return 1.0
    whole = steps[: len(steps) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    by_place = np.median(whole, 0) + 1e-3
    return float(by_place.max() / np.median(by_place))
