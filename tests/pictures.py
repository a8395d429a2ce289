"""Pictures for tests of data sets: drawn people, photographs, and what happens to pictures on their way."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from isengard.nodes.dataset.records import Dataset, Origin, Sample
from isengard.sota.demo_base import drawing, people

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")  # of scikit-image


def person(number: int, look: int, size: int = 256) -> Image.Image:
    """A held-out person in one of their looks."""
    who = people.held_out()[number % len(people.held_out())]
    return Image.fromarray(drawing.pixels(who, drawn_look(number, look), size))


def drawn_look(number: int, look: int) -> people.Look:
    """That look of that person."""
    return people.random_look(np.random.default_rng([number, look]))


def photograph(name: str) -> Image.Image:
    from skimage import data

    return Image.fromarray(getattr(data, name)()).convert("RGB")


def scene(number: int, size: tuple[int, int] = (1024, 1024)) -> Image.Image:
    """A person somewhere before a soft background; another one for each number."""
    generator = np.random.default_rng([7, number])
    colours = generator.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
    side = int(min(size) * generator.uniform(0.4, 0.9))
    figure, shape = _cut_out(number % 300)
    place = [int(generator.uniform(0, room - side)) for room in size]
    picture.paste(figure.resize((side, side)), place, shape.resize((side, side)))
    return picture


@functools.cache
def _cut_out(number: int) -> tuple[Image.Image, Image.Image]:
    """A person, and where in the picture they are."""
    picture = person(number, number // 20, 384)
    apart = np.abs(np.asarray(picture, int) - np.asarray(picture.getpixel((2, 2)))).sum(-1) > 24
    return picture, Image.fromarray((apart * 255).astype(np.uint8))


def recompressed(picture: Image.Image, quality: int, kind: str = "jpeg") -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(picture: Image.Image, scale: float) -> Image.Image:
    return picture.resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)


def cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of each side."""
    width, height = picture.size
    return picture.crop(
        (round(left * width), round(top * height), round(width * (1 - right)), round(height * (1 - bottom)))
    )


def brightened(picture: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(factor)


def blurred(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def smeared(picture: Image.Image, length: int) -> Image.Image:
    """As by a camera that moved sideways."""
    row = np.asarray(picture, np.float32)
    sums = np.cumsum(np.pad(row, [(0, 0), (length, 0), (0, 0)], "edge"), 1)
    return Image.fromarray(((sums[:, length:] - sums[:, :-length]) / length).astype(np.uint8))


COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {  # by what happened to a picture
    "jpeg 75": lambda picture: recompressed(picture, 75),
    "jpeg 35": lambda picture: recompressed(picture, 35),
    "webp 60": lambda picture: recompressed(picture, 60, "webp"),
    "half as large": lambda picture: resized(picture, 0.5),
    "larger": lambda picture: resized(picture, 1.4),
    "other proportions": lambda picture: picture.resize((picture.width, round(0.95 * picture.height))),
    "cut all around": lambda picture: cropped(picture, 0.04, 0.04, 0.04, 0.04),
    "cut at a corner": lambda picture: cropped(picture, 0.08, 0.08, 0, 0),
    "cut at the bottom": lambda picture: cropped(picture, 0, 0, 0, 0.1),
    "brighter": lambda picture: brightened(picture, 1.25),
    "darker": lambda picture: brightened(picture, 0.75),
    "cut, smaller, darker, jpeg 60": lambda picture: recompressed(
        brightened(resized(cropped(picture, 0.03, 0.05, 0.05, 0), 0.7), 0.85), 60
    ),
}


def saved(picture: Image.Image, file: Path, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, **options)
    return file


def sample(file: Path, *captions: str, **more) -> Sample:
    """Of a picture file, as loading it gives."""
    data = file.read_bytes()
    with Image.open(file) as picture:
        size = picture.size
    return Sample(
        file.name, file, size, captions, Origin(f"test/{file.name}", hashlib.sha256(data).hexdigest()), **more
    )


def dataset(folder: Path, pictures: Mapping[str, Image.Image]) -> Dataset:
    """Of pictures by their file names; each has its name as its caption."""
    files = (saved(picture, folder / name) for name, picture in pictures.items())
    return Dataset("test", tuple(sample(file, file.stem) for file in files))


def random_copy(picture: Image.Image, generator: np.random.Generator) -> tuple[str, Image.Image]:
    """A copy of a picture after one to three of these, with the name of what happened first."""
    low, high = generator.uniform(0, 0.05, 2), generator.uniform(0, 0.05, 2)
    kind = str(generator.choice(["jpeg", "webp"]))
    changes = {
        "recompressed": lambda shown: recompressed(shown, int(generator.integers(30, 90)), kind),
        "resized": lambda shown: resized(shown, float(generator.uniform(0.4, 1.6))),
        "cropped": lambda shown: cropped(shown, *low, *high),
        "brightness": lambda shown: brightened(shown, float(generator.choice([0.7, 0.8, 0.9, 1.1, 1.2, 1.3]))),
    }
    chosen = [str(name) for name in generator.permutation(list(changes))[: generator.integers(1, 4)]]
    for name in chosen:
        picture = changes[name](picture)
    return chosen[0], picture
