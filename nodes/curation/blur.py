"""How sharp a picture is where it is sharpest."""

from __future__ import annotations

import numpy as np

_TILES = 6  # each way: a portrait's background may be blurred, and should not count
_WINDOW = 9  # pixels, of the blur that a blurred picture hardly notices
_ROUNDING = 1  # of 255: neighbours that differ by no more differ by chance
_FLAT = 1.0  # mean step between neighbours (of 255) in a tile, below which there is nothing to be sharp
_SMEARED = 0.5  # mean step along one direction of such a tile, below which it is blurred along it
_PLAIN = 32  # of 255, between the darkest and the brightest pixel of a picture that shows nothing
_SHARPEST = 20  # percent of the tiles


def sharpness(grey: np.ndarray) -> float:
    """1 minus the blur effect of the sharpest tiles of a picture (H,W uint8), 0..1: how much of what neighbours differ
    by is lost when it is blurred once more (Crete et al., "The Blur Effect: Perception and Estimation with a New
    No-Reference Perceptual Blur Metric", 2007, section 3), in the direction in which that is less. 1 where there is
    nothing to be sharp."""
    if min(grey.shape) < 2 * _WINDOW:
        return 1.0
    steps, kept = (np.stack(parts) for parts in zip(*(_steps(grey, axis) for axis in (0, 1)), strict=True))
    textured = steps.max(0) > _FLAT
    if not textured.any():
        return 1.0 if np.ptp(grey) < _PLAIN else 0.0
    blur = np.where(steps > _SMEARED, kept / np.maximum(steps, 1e-6), 1.0).max(0)
    return float(1 - np.percentile(blur[textured], _SHARPEST))


def _steps(grey: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """For each tile the mean step between neighbours along an axis, and what a blur along it leaves of them."""
    values = np.moveaxis(grey, axis, 0).astype(np.int16)
    steps = np.maximum(np.abs(np.diff(values, axis=0)) - _ROUNDING, 0)
    padded = np.pad(values, [(_WINDOW // 2, _WINDOW // 2), (0, 0)], "edge")
    blurred = np.abs(padded[_WINDOW:] - padded[:-_WINDOW])  # a running mean's step: what enters less what leaves
    kept = np.minimum(_WINDOW * steps, blurred)
    return tuple(np.moveaxis(_tiled(each), 0, axis) for each in (steps, kept / _WINDOW))


def _tiled(values: np.ndarray) -> np.ndarray:
    """The mean of each tile."""
    edges = [np.linspace(0, side, _TILES + 1).astype(int) for side in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, edges[0][:-1], 0, dtype=np.float32), edges[1][:-1], 1)
    return sums / np.outer(*(np.diff(each) for each in edges))
