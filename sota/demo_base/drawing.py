"""Draws portraits with DiceBear's open-peeps style (CC0).

Needs dicebear-core, dicebear-styles, resvg-py and Pillow, in the versions that the sample character is drawn with.
"""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..sample_character import draw as sample_character
from . import people

SIZE = 128  # pixels, both ways


def options(identity: people.Identity, look: people.Look) -> dict[str, Any]:
    """DiceBear's options; every choice is fixed, so its own random numbers decide nothing."""
    return sample_character.options(look) | {
        "seed": "person",
        "size": SIZE,
        "headVariant": identity.head,
        "headContrastColor": people.HAIR.get(identity.hair, look_colour(look)),
        "skinColor": people.SKIN[identity.skin],
    }


def look_colour(look: people.Look) -> str:
    """Hats and headscarves are of the shirt's colour."""
    return sample_character.CLOTHING[look.clothing]


def pixels(identity: people.Identity, look: people.Look, size: int = SIZE, dye: str | None = None) -> np.ndarray:
    """One picture: size,size,3 uint8, sRGB. dye: "#rrggbb", in the place of the identity's hair colour."""
    import resvg_py
    from dicebear import Avatar
    from PIL import Image

    dyed = {"headContrastColor": dye} if dye else {}
    drawing = Avatar(sample_character.style(), options(identity, look) | dyed).to_string()
    rgba = resvg_py.svg_to_bytes(svg_string=drawing, width=size, height=size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(rgba)).convert("RGB"))


def training_pixels(seed: int, index: int) -> np.ndarray:
    """Picture `index` of the training set: SIZE,SIZE,3 uint8."""
    return portrait_pixels(people.training_portrait(seed, index))


def portrait_pixels(portrait: people.Portrait) -> np.ndarray:
    return pixels(portrait.identity, portrait.look, dye=portrait.dye)


def draw_training_set(file: Path, seed: int, count: int, workers: int) -> None:
    """Writes the training pictures as one array, count,SIZE,SIZE,3 uint8, unless the file is there."""
    if file.exists():
        return
    partial = file.with_suffix(".partial")
    array = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, SIZE, SIZE, 3))
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(training_pixels, [seed] * count, range(count), chunksize=64)
        for index, picture in enumerate(drawn):
            array[index] = picture
    array.flush()
    partial.replace(file)
