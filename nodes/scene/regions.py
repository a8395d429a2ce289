"""Where each character of a scene stands: boxes, masks and drawn layouts, as masks of the picture's size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW_STEP = 16  # pixels; windows begin and end at multiples: a token of most models
SMALLEST = 64  # pixels of a side of a window
_MOST_SHARED = 0.02  # of the smaller region: soft edges and rounding
_SHAPE_TOLERANCE = 0.02  # of the ratio of a mask's sides to the picture's
_FAINTEST = 0.5  # of a mask, that is inside
_BACKGROUND = 0.1  # as bright, and darker: no region in a drawn layout
_SAME_COLOUR = 0.12  # of a channel's range: one colour, with its soft edges
_SMALLEST_SHARE = 0.005  # of a drawn layout; less is a slip of the pen
_EDGE = 0.003  # of the longer side: half of how wide a soft edge may be
REFUSE, IN_FRONT = "refuse", "the first is in front"
OVERLAPS = (REFUSE, IN_FRONT)


class RegionError(ValueError):
    """A region that cannot be; the message says whose and what to do."""


@dataclass(frozen=True)
class Box:
    """In shares of the picture's sides, from its top left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Window:
    """A part of the picture in pixels, at multiples of WINDOW_STEP where the picture's sides are."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Region:
    """Where somebody stands. mask: H,W float32, 1 inside; window: the part of the picture that holds it."""

    name: str
    mask: Tensor
    window: Window


def boxes(text: str, count: int) -> tuple[Box, ...]:
    """A box for each line "left top width height", in percent of the picture; without lines, `count` columns side by
    side. Raises RegionError."""
    lines = [line for line in re.split(r"[\n;]", text) if line.strip()]
    if not lines:
        return tuple(Box(place / count, 0.0, 1 / count, 1.0) for place in range(count))
    return tuple(_box(line) for line in lines)


def _box(line: str) -> Box:
    numbers = re.split(r"[\s,]+", line.strip().replace("%", " ").strip())
    try:
        left, top, width, height = (float(number) / 100 for number in numbers)
    except ValueError:
        raise RegionError(
            f"'{line.strip()}' is no box. Write left, top, width and height in percent, as in 0 0 50 100."
        ) from None
    if not (left >= 0 and top >= 0 and width > 0 and height > 0 and left + width <= 1.0001 and top + height <= 1.0001):
        raise RegionError(
            f"the box '{line.strip()}' reaches out of the picture or is empty. Left and width together, and top and "
            "height, are at most 100."
        )
    return Box(left, top, width, height)


def filled(box: Box, width: int, height: int) -> Tensor:
    """The mask H,W of a box in a picture of these pixels."""
    mask = torch.zeros(height, width)
    top, left = round(box.top * height), round(box.left * width)
    mask[top : round((box.top + box.height) * height), left : round((box.left + box.width) * width)] = 1
    return mask


def drawn(layout: Tensor) -> tuple[Tensor, ...]:
    """The masks H,W of a drawn layout H,W,3 in 0..1: one for each colour on black, from left to right (by the middle
    of each). Raises RegionError where nothing is drawn."""
    left, masks = layout.amax(2) > _BACKGROUND, []
    fewest = max(1, round(_SMALLEST_SHARE * left.numel()))
    while left.sum() >= fewest:
        colour = _commonest(layout[left])
        mask = left & ((layout - colour).abs().amax(2) < _SAME_COLOUR)
        left = left & ~mask
        if mask.sum() >= fewest and _is_solid(mask):
            masks.append(mask.float())
    if not masks:
        raise RegionError(
            "the drawn layout has no regions. Draw each on black in a colour of its own; 0.5 % of the picture is the "
            "least that counts."
        )
    return tuple(sorted(masks, key=lambda mask: float(mask.nonzero()[:, 1].float().mean())))


def _is_solid(mask: Tensor) -> bool:
    """Whether it is more than the soft edge of something."""
    edge = max(1, round(_EDGE * max(mask.shape)))
    return bool(_grown(mask.float()[None, None], -edge).any())


def _commonest(colours: Tensor) -> Tensor:
    """Of N,3: the median of those that round to the most frequent one of 16 levels a channel: 3."""
    levels = (colours * 15).round().long()
    keys = levels[:, 0] * 256 + levels[:, 1] * 16 + levels[:, 2]
    return colours[keys == keys.mode().values].median(0).values


def of_masks(names: Sequence[str], masks: Sequence[Tensor], width: int, height: int, overlap: str) -> list[Region]:
    """The regions of masks H,W (in 0..1, of the picture's shape at any size), checked. overlap: of OVERLAPS; what is
    in front takes the pixels. Raises RegionError for masks of another shape, empty ones, and overlaps."""
    fitted = [_fitted(name, mask, width, height) for name, mask in zip(names, masks, strict=True)]
    if overlap == REFUSE:
        _refuse_overlaps(names, fitted)
    taken, regions = torch.zeros(height, width), []
    for name, mask in zip(names, fitted, strict=True):
        own = (mask - taken).clamp_min(0) if overlap == IN_FRONT else mask
        if not (own > _FAINTEST).any():
            raise RegionError(f"nothing is left of {name}'s region behind the others. Move it, or change the order.")
        taken = torch.maximum(taken, mask)
        regions.append(Region(name, own, window(own)))
    return regions


def _fitted(name: str, mask: Tensor, width: int, height: int) -> Tensor:
    if mask.dim() == 3:
        mask = mask[0]
    rows, columns = mask.shape
    if abs(columns * height / (rows * width) - 1) > _SHAPE_TOLERANCE:
        raise RegionError(
            f"{name}'s mask has {columns} x {rows} pixels and the scene {width} x {height}: another shape. Draw it on "
            "a picture of the scene's size."
        )
    if (rows, columns) != (height, width):
        mask = torch.nn.functional.interpolate(mask[None, None].float(), (height, width), mode="bilinear")[0, 0]
    mask = mask.float().clamp(0, 1)
    if not (mask > _FAINTEST).any():
        raise RegionError(f"{name}'s mask is empty. Paint where {name} is to stand (white), or disconnect it.")
    return mask


def _refuse_overlaps(names: Sequence[str], masks: Sequence[Tensor]) -> None:
    inside = [mask > _FAINTEST for mask in masks]
    for second, name in enumerate(names):
        for first in range(second):
            shared = int((inside[first] & inside[second]).sum())
            smaller = min(int(inside[first].sum()), int(inside[second].sum()))
            if shared > _MOST_SHARED * smaller:
                raise RegionError(
                    f"the regions of {names[first]} and {name} overlap by {shared / smaller:.0%} of the smaller one. "
                    f"Move them apart, or set overlap to '{IN_FRONT}'."
                )


def window(mask: Tensor) -> Window:
    """The smallest part of the picture that holds a mask H,W, at multiples of WINDOW_STEP, and not smaller than
    SMALLEST where the picture is not."""
    height, width = mask.shape
    rows, columns = (mask > 0).any(1).nonzero(), (mask > 0).any(0).nonzero()
    left, right = _span(int(columns[0]), int(columns[-1]) + 1, width)
    top, bottom = _span(int(rows[0]), int(rows[-1]) + 1, height)
    return Window(left, top, right - left, bottom - top)


def _span(start: int, end: int, of: int) -> tuple[int, int]:
    start -= start % WINDOW_STEP
    end = min(of, end + -end % WINDOW_STEP)
    short = max(0, min(SMALLEST, of) - (end - start))
    grown = short // 2 // WINDOW_STEP * WINDOW_STEP
    start = max(0, min(start - grown, of - max(SMALLEST, end - start)))
    return start, min(of, max(end, start + min(SMALLEST, of)))


def feathered(mask: Tensor, pixels: int) -> Tensor:
    """The mask H,W with edges that rise from 0 outside it over so many pixels; where it reaches the picture's border it
    stays 1."""
    if pixels < 1:
        return mask
    left = (mask > _FAINTEST).float()[None, None]
    depth = torch.zeros_like(left)
    for _ in range(pixels):  # a pixel is taken off the edge at each turn; beyond the border nothing is
        depth += left
        left = _grown(left, -1)
    return (depth / pixels)[0, 0]


def outside(masks: Sequence[Tensor], pixels: int) -> Tensor:
    """H,W: where no region is, 1, falling to 0 over so many pixels within those that border on it. Regions that touch
    leave nothing between them."""
    free = (torch.stack(list(masks)).amax(0) <= _FAINTEST).float()
    if pixels < 1:
        return free
    near = _grown(free[None, None], pixels)[0, 0]
    inside = torch.stack([feathered(mask, pixels) for mask in masks]).amax(0)
    return near * (1 - inside)


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """1,1,H,W: with so many pixels more around it, or less."""
    size = 2 * abs(pixels) + 1
    if pixels < 0:
        return -torch.nn.functional.max_pool2d(-mask, size, 1, size // 2)
    return torch.nn.functional.max_pool2d(mask, size, 1, size // 2)
