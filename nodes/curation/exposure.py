"""How bright a picture is, whatever plain background it stands before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

_SIDE = 128  # longest side that the background is looked for at, in pixels
_SAME = 6  # levels of brightness that a plain colour may differ by
_OF_BORDER = 0.5  # of the border, that a plain background has at least
_LEAST = 0.02  # of the picture, that has to be left beside the background


def brightness(picture: Image.Image) -> float:
    """The middle between the darkest and the brightest tenth, 0..1, of a picture ("L") without a plain background: that
    says nothing of how a figure before it is lit, and a drawing may stand on any paper. The median would be black for
    people with much black hair, and white for drawings of lines."""
    small = picture.resize(_shape(picture.size), Image.Resampling.BOX, reducing_gap=2.0)
    levels = np.asarray(small, np.int16)
    rest = levels[~background(levels)]
    tenths = np.percentile(rest if rest.size >= _LEAST * levels.size else levels, (10, 90))
    return float(tenths.mean()) / 255


def contrast(picture: Image.Image) -> float:
    """What is between the darkest and the brightest percent of a picture ("L"), 0..1."""
    darkest, brightest = _percentiles(picture, (1, 99))
    return brightest - darkest


def background(levels: np.ndarray) -> np.ndarray:
    """What hangs together with the border in the colour that most of it has: bool, as `levels` (rows,columns of
    0..255). Nothing where the border is of many."""
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    level = np.bincount(border, minlength=256).argmax()
    alike = np.abs(levels - level) <= _SAME
    if np.mean(np.abs(border - level) <= _SAME) < _OF_BORDER:
        return np.zeros_like(alike)
    edge = np.zeros_like(alike)
    edge[[0, -1]], edge[:, [0, -1]] = True, True
    return _spread(alike & edge, alike)


def _spread(seeds: np.ndarray, room: np.ndarray) -> np.ndarray:
    """What can be reached from the seeds through the room, up, down and sideways."""
    reached, before = seeds, -1
    while (count := np.count_nonzero(reached)) != before:
        before = count
        for turn in range(4):
            reached = np.rot90(_swept(np.rot90(reached, turn), np.rot90(room, turn)), -turn)
    return reached


def _swept(reached: np.ndarray, room: np.ndarray) -> np.ndarray:
    """What can be reached to the right."""
    column = np.arange(room.shape[1])
    last_reached = np.maximum.accumulate(np.where(reached, column, -1), axis=1)
    last_wall = np.maximum.accumulate(np.where(room, -1, column), axis=1)
    return room & (last_reached > last_wall)


def _shape(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _percentiles(picture: Image.Image, percents: Sequence[float]) -> list[float]:
    """Of the brightness (of a picture in "L"), 0..1."""
    below = np.cumsum(picture.histogram())
    return [float(np.searchsorted(below, percent / 100 * below[-1])) / 255 for percent in percents]
