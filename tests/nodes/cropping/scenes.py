"""Pictures whose subject's place is known."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from isengard.nodes.dataset.records import Box
from isengard.sota.demo_base import drawing, people
from isengard.sota.sample_character import draw

PLAIN = ("white", "plain", "gradient", "room")
TEXTURED = ("noise", "clouds", "stripes", "checker")


@dataclass(frozen=True)
class Scene:
    background: str
    picture: Image.Image
    box: Box


def scenes(backgrounds: tuple[str, ...], count: int, seed: int = 0) -> Iterator[Scene]:
    """Figures of all sizes anywhere: DiceBear's busts, most of which the lower border cuts, and standing ones."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        size = [(512, 512), (416, 608), (608, 416)][generator.integers(3)]
        side = int(min(size) * generator.uniform(0.3, 0.75))
        stands = generator.random() < 0.5
        figure = standing(generator, side) if stands else bust(generator, side)
        left = int(generator.integers(0, size[0] - figure.width + 1))
        top = int(generator.integers(0, size[1] - figure.height + 1))
        if not stands and generator.random() < 0.6:
            top = size[1] - figure.height
        kind = backgrounds[number % len(backgrounds)]
        picture = Image.fromarray(background(generator, kind, *size).clip(0, 255).astype(np.uint8))
        picture.paste(figure, (left, top), figure)
        yield Scene(kind, picture, Box(left, top, left + figure.width, top + figure.height))


def bust(generator: np.random.Generator, size: int) -> Image.Image:
    """RGBA, no larger than what is opaque."""
    import resvg_py
    from dicebear import Avatar

    identities = people.training_identities()[generator.integers(2)]
    identity = identities[generator.integers(len(identities))]
    look = people.level(people.random_look(generator))
    options = drawing.options(identity, look) | {"size": size}
    del options["backgroundColor"]
    drawn = Avatar(draw.style(), options).to_string()
    rgba = resvg_py.svg_to_bytes(svg_string=drawn, width=size, height=size, skip_system_fonts=True)
    return cut_out(Image.open(io.BytesIO(rgba)).convert("RGBA"))


def standing(generator: np.random.Generator, height: int) -> Image.Image:
    """A figure of seven and a half heads, RGBA, no larger than what is opaque."""
    image = Image.new("RGBA", (height, height))
    pen, head, middle = ImageDraw.Draw(image), height / 7.5, height / 2
    skin, shirt, legs = (tuple(int(value) for value in generator.integers(20, 236, 3)) for _ in range(3))
    for left, top, right, bottom, colour in [
        (-0.2, 0.9, 0.2, 1.5, skin), (-1.0, 1.4, 1.0, 4.0, shirt), (-1.4, 1.5, -1.05, 4.0, skin),
        (1.05, 1.5, 1.4, 4.0, skin), (-0.9, 4.0, -0.1, 7.5, legs), (0.1, 4.0, 0.9, 7.5, legs),
    ]:  # fmt: skip
        pen.rectangle([middle + left * head, top * head, middle + right * head, bottom * head], fill=colour)
    pen.ellipse([middle - 0.4 * head, 0, middle + 0.4 * head, head], fill=skin)
    return cut_out(image)


def cut_out(image: Image.Image) -> Image.Image:
    return image.crop(image.getchannel("A").getbbox())


def background(generator: np.random.Generator, kind: str, width: int, height: int) -> np.ndarray:
    """height,width,3 in about 0..255."""
    one, other = (np.full((height, width, 3), colour) for colour in generator.uniform(0, 255, (2, 3)))
    down, across = np.mgrid[0:height, 0:width][..., None]
    period = int(generator.integers(6, 40))
    soft = (Image.fromarray(generator.integers(0, 256, (cells, cells, 3), np.uint8)) for cells in (4, 8, 16, 32))
    clouds = (np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), float) - 127 for image in soft)
    return {
        "white": lambda: np.full((height, width, 3), 255.0),
        "plain": lambda: one,
        "gradient": lambda: one + (other - one) * down / height,
        "room": lambda: np.where(down < height * generator.uniform(0.5, 0.8), one, other),
        "noise": lambda: one + generator.normal(0, 40, one.shape),
        "clouds": lambda: one + sum(cloud * 0.9 / 2**number for number, cloud in enumerate(clouds, 1)),
        "stripes": lambda: np.where(across // period % 2, one, other),
        "checker": lambda: np.where((across // period + down // period) % 2, one, other),
    }[kind]()


def held(box: Box, found: Box) -> float:
    """Which share of a box is in the one that was found."""
    width = min(box.right, found.right) - max(box.left, found.left)
    height = min(box.bottom, found.bottom) - max(box.top, found.top)
    return max(0, width) * max(0, height) / (box.size[0] * box.size[1])
