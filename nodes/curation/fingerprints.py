"""What pictures look like in a few numbers, and which pairs of them may be one picture twice."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

WHOLE = (0.0, 0.0, 1.0, 1.0)
SIDE = 32  # pixels of the thumbnails, whatever the aspect ratio
_FREQUENCIES = 8  # of the cosine transform, each way; the mean is left out
_NEIGHBOURS = 8  # that each picture is compared with closely
_NEAR = 0.35  # squared distance of two fingerprints up to which they may be of one picture; 2 is nothing in common
_FLAT = 0.01  # contrast below which a picture counts as plain
_ROWS = 512  # compared at once with all others


@dataclass(frozen=True)
class Candidate:
    """Two pictures by their places, and the part of the first (left, top, right, bottom in 0..1) that the second may
    be."""

    whole: int
    part: int
    window: tuple[float, float, float, float]


def thumbnail(image: Image.Image) -> np.ndarray:
    """SIDE,SIDE,3 uint8."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))


def candidates(thumbnails: np.ndarray) -> list[Candidate]:
    """Pairs that may be one picture, or a part of it, by their low frequencies; for each picture the nearest few.

    thumbnails: N,SIDE,SIDE,3 uint8. The frequencies are those of Zauner, "Implementation and Benchmarking of Perceptual
    Image Hash Functions" (2010), section 3.2.1, as numbers and not as their signs; a picture is compared with others
    whole, and with slightly smaller windows of them, since cutting an edge off moves every frequency.
    """
    grey = torch.from_numpy(thumbnails).float().mean(-1) / 255
    windowed = [_fingerprints(grey, window) for window in _windows()]
    found: dict[tuple[int, int], None] = {}
    for start in range(0, len(grey), _ROWS):
        for place, other in _nearest(windowed, start):
            found.setdefault((place, other))
    return [_oriented(windowed, *pair) for pair in sorted({tuple(sorted(pair)) for pair in found})]


def _nearest(windowed: Sequence[Tensor], start: int) -> Iterator[tuple[int, int]]:
    """Pairs of the rows from `start` on with the others that are nearest to them, by whichever window."""
    whole = windowed[0][start : start + _ROWS]
    nearest = torch.full((len(whole), len(windowed[0])), math.inf)
    for other in windowed:
        nearest = torch.minimum(nearest, _distances(whole, other))
    nearest[torch.arange(len(whole)), torch.arange(start, start + len(whole))] = math.inf  # itself
    distances, places = nearest.topk(min(_NEIGHBOURS, len(windowed[0])), dim=1, largest=False)
    for row, column in (distances <= _NEAR).nonzero().tolist():
        yield start + row, int(places[row, column])


def _distances(some: Tensor, others: Tensor) -> Tensor:
    """Squared, N,M."""
    return (some.square().sum(1)[:, None] + others.square().sum(1)[None]).addmm(some, others.T, alpha=-2)


def _oriented(windowed: Sequence[Tensor], first: int, second: int) -> Candidate:
    """Which of the two is rather a part of the other, and which part."""
    best, found = math.inf, Candidate(first, second, WHOLE)
    for window, prints in zip(_windows(), windowed, strict=True):
        for whole, part in ((first, second), (second, first)):
            distance = float((prints[whole] - windowed[0][part]).square().sum())
            if distance < best:
                best, found = distance, Candidate(whole, part, window)
    return found


def _windows() -> list[tuple[float, float, float, float]]:
    """The whole picture first, then what is left when up to an eighth is cut off at edges and corners."""
    windows = [WHOLE]
    for cut in (0.06, 0.12):
        lefts, end = (0.0, cut / 2, cut), 1 - cut
        windows += [(x, y, x + end, y + end) for x in lefts for y in lefts if (x == cut / 2) == (y == cut / 2)]
    return [*windows, (0.1, 0.0, 1.0, 1.0), (0.0, 0.1, 1.0, 1.0), (0.0, 0.0, 0.9, 1.0), (0.0, 0.0, 1.0, 0.9)]


def _fingerprints(grey: Tensor, window: tuple[float, float, float, float]) -> Tensor:
    """Of that window of each picture: N,63, of unit length where the picture has any contrast."""
    left, top, right, bottom = window
    frequencies = _cosines(top, bottom) @ grey @ _cosines(left, right).T
    flat = frequencies.flatten(1)[:, 1:]
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(_FLAT)


@functools.cache
def _cosines(start: float, end: float) -> Tensor:
    """_FREQUENCIES,SIDE: the cosine transform (DCT-II) of the part of a line from start to end, scaled to unit mean."""
    fine = 8  # samples a pixel
    place = (torch.arange(SIDE * fine, dtype=torch.float64) + 0.5) / (SIDE * fine)
    inside = ((place >= start) & (place < end)).double()
    within = (place - start) / (end - start)
    waves = torch.cos(math.pi * torch.arange(_FREQUENCIES, dtype=torch.float64)[:, None] * within) * inside
    return (waves / inside.sum()).unflatten(1, (SIDE, fine)).sum(2).float()
