"""What of a picture stands out from its border, without a network."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..dataset.records import Box

_SIDE = 112  # longest side of the map, in cells
_BORDER = 0.08  # how deep the border is, of the map's longest side
_NOISE = 4.0  # CIELAB units; colours of one surface differ by so much
_FAR = 3.0  # standard deviations at which a colour begins to be another than the border's
_LEAST = 0.25  # of 1; where nothing is so unlike the border there is no subject
_STRICTNESS = 0.9  # of Otsu's threshold: a part that is missed costs more than one too many
_EMPTY = 0.1  # what a cell beside the subject costs, where one of the subject is worth 1
_REACH = 0.25  # how far limbs may stretch from the box on every side, of its width or height


def find(image: Image.Image) -> tuple[Box, np.ndarray] | None:
    """The box of what stands out, in pixels, and its shape: bool, over all the picture, at most 112 rows and columns.
    None for a picture that is the same all over."""
    scale = min(1.0, _SIDE / max(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    cells = np.asarray(image.resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    values = unlike_border(lab(cells))
    if values.max() < _LEAST:
        return None
    shape = values > _STRICTNESS * otsu(values)
    box = stretched(densest(shape), shape)
    return _scaled(box, size, image.size), shape & _inside(box, shape.shape)


def unlike_border(colours: np.ndarray) -> np.ndarray:
    """How much each part differs from the picture's border, 0 to 1. colours: rows,columns,3 in CIELAB.

    The four sides are compared one by one, each as a normal distribution of colours, and the likest and the least alike
    count less: a subject that is cut by one side is like that one, and the middle of a gradient is unlike two.
    """
    depth = max(1, round(_BORDER * max(colours.shape[:2])))
    sides = (colours[:depth], colours[-depth:], colours[:, :depth], colours[:, -depth:])
    ranked = np.sort([_unlike(colours, side.reshape(-1, 3)) for side in sides], axis=0)
    return (ranked[1] + ranked[:3].mean(0)) / 2


def _unlike(colours: np.ndarray, of: np.ndarray) -> np.ndarray:
    """By the Mahalanobis distance, 0 to 1; what is far is as good as what is farther."""
    spread = np.cov(of, rowvar=False, bias=True) + _NOISE**2 * np.eye(3)
    apart = colours - of.mean(0)
    squares = ((apart @ np.linalg.inv(spread)) * apart).sum(-1)
    return 1 - np.exp(-squares / (2 * _FAR**2))


def lab(pixels: np.ndarray) -> np.ndarray:
    """CIELAB (CIE 15:2004, D65) of sRGB (IEC 61966-2-1): ...,3 uint8 to ...,3 float32."""
    values = pixels.astype(np.float32) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    cubic = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(cubic, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


_TO_XYZ = np.array(  # over the white point
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
) / np.array([[0.9505], [1.0], [1.089]], np.float32)


def otsu(values: np.ndarray) -> float:
    """The threshold between two classes of values in 0..1 that differ most (Otsu, A Threshold Selection Method from
    Gray-Level Histograms, 1979)."""
    counts, edges = np.histogram(values, 64, (0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts.sum() - counts.cumsum()
    sums = (counts * centres).cumsum()
    mean_below = sums / np.maximum(below, 1)
    mean_above = (sums[-1] - sums) / np.maximum(above, 1)
    return float(edges[1 + int((below * above * (mean_below - mean_above) ** 2).argmax())])


def densest(shape: np.ndarray) -> Box:
    """The box with the greatest sum, where a cell counts 1 if it belongs to the shape and a little less than nothing if
    not: all that is large and near, without far specks (maximum sum of a subarray: Bentley, Programming Pearls, 1984).
    """
    gain = np.where(shape, 1.0, -_EMPTY)
    rows, columns = gain.shape
    sums = np.concatenate([np.zeros((1, columns)), gain.cumsum(0)])
    best, found = 0.0, Box(0, 0, columns, rows)
    for top in range(rows):
        strips = (sums[top + 1 :] - sums[top]).cumsum(1)  # a row for each bottom, summed from the left
        running = np.concatenate([np.zeros((len(strips), 1)), strips], 1)
        totals = running[:, 1:] - np.minimum.accumulate(running, 1)[:, :-1]
        place = int(totals.argmax())
        if totals.flat[place] > best:
            bottom, right = divmod(place, columns)
            left = int(running[bottom, : right + 1].argmin())
            best, found = float(totals.flat[place]), Box(left, top, right + 1, top + bottom + 1)
    return found


def stretched(box: Box, shape: np.ndarray) -> Box:
    """The box with the thin ends of the shape that begin at its edges, such as arms and feet."""
    left, top, right, bottom = box
    across, down = (int(_REACH * side) for side in box.size)
    lowest, highest = (max(0, left - across), max(0, top - down)), (right + across, bottom + down)
    while True:
        before = left, top, right, bottom
        left -= left > lowest[0] and shape[top:bottom, left - 1].any()
        right += right < min(shape.shape[1], highest[0]) and shape[top:bottom, right].any()
        top -= top > lowest[1] and shape[top - 1, left:right].any()
        bottom += bottom < min(shape.shape[0], highest[1]) and shape[bottom, left:right].any()
        if before == (left, top, right, bottom):
            return Box(*map(int, before))


def _inside(box: Box, shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    return inside


def _scaled(box: Box, before: tuple[int, ...], size: tuple[int, int]) -> Box:
    """The same box in a picture of another size; it never becomes smaller."""
    across, down = (now / then for now, then in zip(size, before, strict=True))
    return Box(
        math.floor(box.left * across),
        math.floor(box.top * down),
        min(size[0], math.ceil(box.right * across)),
        min(size[1], math.ceil(box.bottom * down)),
    )
