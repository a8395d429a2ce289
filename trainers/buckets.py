"""The size that a picture is trained at."""

from __future__ import annotations

import torch
from torch import Tensor


def square(pixels: Tensor, resolution: int) -> Tensor:
    """Scale a picture (H,W,3 in 0..1) to cover a square of `resolution` pixels and cut its middle out."""
    height, width, _ = pixels.shape
    scale = resolution / min(height, width)
    size = (max(resolution, round(height * scale)), max(resolution, round(width * scale)))
    if size != (height, width):  # a picture of the right size is left alone
        pixels = _scaled(pixels, size)
    top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    return pixels[top : top + resolution, left : left + resolution].clamp(0, 1)


def _scaled(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    channels_first = pixels.movedim(-1, 0)[None]  # H,W,3 -> 1,3,H,W
    scaled = torch.nn.functional.interpolate(channels_first, size=size, mode="bicubic", antialias=True)
    return scaled[0].movedim(0, -1)
