"""Which region is whose, and a picture of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from ..lettering import Lettering
from ..style import BACKGROUND, INK, LINE
from . import regions
from .regions import Region, RegionError

COLOURS = ("#4f7ac6", "#d9803b", "#3f9c6c", "#a45bb5")  # of the first region, the second, …
_LONGEST = 768  # pixels of the picture's longer side


def shared_out(
    names: Sequence[str], own: Sequence[Tensor | None], drawn: Tensor | None, boxes: str, width: int, height: int
) -> list[Tensor]:
    """A mask for everybody: their own, else the next region of the drawn layout H,W,3, else the next box, else columns
    side by side. Raises RegionError where there are not as many as are wanted."""
    wanting = [name for name, mask in zip(names, own, strict=True) if mask is None]
    if not wanting:
        return list(own)
    if drawn is not None:
        given = list(regions.drawn(drawn))
    else:
        given = [regions.filled(box, width, height) for box in regions.boxes(boxes, len(names))]
        if len(given) == len(names):  # a line for each, whether it is used or not
            given = [mask for mask, mine in zip(given, own, strict=True) if mine is None]
    if len(given) != len(wanting):
        what = "regions in the drawn layout" if drawn is not None else "boxes"
        raise RegionError(
            f"there are {len(given)} {what}, and {len(wanting)} characters without a mask ({', '.join(wanting)}). Make "
            "it one for each, in their order."
        )
    left = iter(given)
    return [next(left) if mask is None else mask for mask in own]


def picture(where: Sequence[Region]) -> Image.Image:
    """The regions in colours with their names."""
    height, width = where[0].mask.shape
    scale = min(1.0, _LONGEST / max(width, height)) if max(width, height) >= 256 else 256 / max(width, height)
    size = round(width * scale), round(height * scale)
    canvas = Image.new("RGB", size, BACKGROUND)
    for colour, region in zip(COLOURS, where, strict=False):
        mask = Image.fromarray((region.mask.clamp(0, 1).numpy() * 150).astype(np.uint8)).resize(size)
        canvas.paste(Image.new("RGB", size, ImageColor.getrgb(colour)), (0, 0), mask)
    pen, letters = ImageDraw.Draw(canvas), Lettering(max(12, min(size) // 16))
    for region in where:
        part = region.window
        left, top = round(part.left * scale), round(part.top * scale)
        right, bottom = round((part.left + part.width) * scale) - 1, round((part.top + part.height) * scale) - 1
        pen.rectangle((left, top, right, bottom), outline=LINE)
        letters.write(pen, (left + 6, top + 4), letters.cut(region.name, right - left - 10), INK)
    return canvas
