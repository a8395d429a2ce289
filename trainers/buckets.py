"""The size that a picture is trained at, and cutting it to that size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MOST_OBLONG = 2.5  # longest side over the shortest; more oblong pictures are cut


def size_of(height: int, width: int, resolution: int, step: int) -> tuple[int, int]:
    """The bucket of a picture: height and width in pixels, multiples of `step`, of about `resolution`² pixels.

    Of the sizes whose area is the largest that is not above `resolution`², the one with the aspect ratio nearest to the
    picture's, by the ratio of ratios (aspect ratio bucketing, github.com/NovelAI/novelai-aspect-ratio-bucketing).
    """
    aspect = math.log(width / height)
    return min(bucket_sizes(resolution, step), key=lambda size: (abs(math.log(size[1] / size[0]) - aspect), size))


def bucket_sizes(resolution: int, step: int) -> list[tuple[int, int]]:
    """Every bucket, narrow ones first: for each width the greatest height that keeps within the area."""
    area, sizes = resolution * resolution, set()
    for side in range(step, math.floor(resolution * math.sqrt(_MOST_OBLONG)) + 1, step):
        other = area // side // step * step
        if max(side, other) <= _MOST_OBLONG * min(side, other):
            sizes |= {(side, other), (other, side)}
    return sorted(sizes, key=lambda size: size[1] / size[0]) or [(resolution, resolution)]


def cut(pixels: Tensor, height: int, width: int) -> Tensor:
    """Scale a picture (H,W,C in 0..1) to cover height x width pixels, and cut the middle out."""
    before = pixels.shape[:2]
    scale = max(height / before[0], width / before[1])
    size = (max(height, round(before[0] * scale)), max(width, round(before[1] * scale)))
    if size != tuple(before):  # a picture of the right size is left alone
        pixels = _scaled(pixels, size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return pixels[top : top + height, left : left + width].clamp(0, 1)


def _scaled(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    channels_first = pixels.movedim(-1, 0)[None]  # H,W,C -> 1,C,H,W
    scaled = torch.nn.functional.interpolate(channels_first, size=size, mode="bicubic", antialias=True)
    return scaled[0].movedim(0, -1)
