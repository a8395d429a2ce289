"""The size that a picture is trained at."""

from __future__ import annotations

import torch
from torch import Tensor


def square(pixels: Tensor, resolution: int) -> Tensor:
    """Scale a picture (H,W,3 in 0..1) to cover a square of `resolution` pixels and cut its middle out."""
    height, width, _ = pixels.shape
    scale = resolution / min(height, width)
    size = (max(resolution, round(height * scale)), max(resolution, round(width * scale)))
    scaled = torch.nn.functional.interpolate(pixels.movedim(-1, 0)[None], size=size, mode="bicubic", antialias=True)[
        0
    ].movedim(0, -1)  # 3,H,W -> H,W,3
    top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    return scaled[top : top + resolution, left : left + resolution].clamp(0, 1)
