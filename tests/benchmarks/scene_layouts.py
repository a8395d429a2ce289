"""The layouts of the scene benchmark: canvases, boxes and words for two characters or four."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isengard.sota.demo_base import people

CANVASES = ((256, 128), (128, 256), (256, 256), (384, 192), (320, 256))  # pixels
SIDES = (128,)  # of a region: the demo base has seen no other size
STEP = 16  # pixels
_SEED = 17


@dataclass(frozen=True)
class Place:
    """A region in pixels, and who stands there looking how. who: a place in the benchmark's list of people."""

    left: int
    top: int
    width: int
    height: int
    who: int
    look: people.Look


@dataclass(frozen=True)
class Layout:
    """One scene; both characters before the same background."""

    width: int
    height: int
    places: tuple[Place, ...]
    background: str

    @property
    def boxes(self) -> str:
        """As the Scene node reads them."""
        sides = ((p.left / self.width, p.top / self.height, p.width / self.width, p.height / self.height)
                 for p in self.places)  # fmt: skip
        return "\n".join(" ".join(f"{100 * side:.6g}" for side in box) for box in sides)


def layouts(count: int, people_count: int) -> list[Layout]:
    """Two of so many people each, in regions that do not overlap: the canvases in turn, the rest drawn from a seed."""
    generator = np.random.default_rng(_SEED)
    return [_layout(generator, CANVASES[number % len(CANVASES)], people_count) for number in range(count)]


def _layout(generator: np.random.Generator, canvas: tuple[int, int], people_count: int) -> Layout:
    who = generator.choice(people_count, 2, replace=False)
    background = str(generator.choice(list(people.BACKGROUND)))
    boxes = _boxes(generator, *canvas)
    return Layout(*canvas, tuple(
        Place(*box, int(each), _look(generator, background)) for box, each in zip(boxes, who, strict=True)
    ), background)  # fmt: skip


def _look(generator: np.random.Generator, background: str) -> people.Look:
    while True:
        look = replace(people.level(people.random_look(generator)), background=background)
        if look.clothing != background:
            return look


def _boxes(generator: np.random.Generator, width: int, height: int) -> list[tuple[int, int, int, int]]:
    while True:
        boxes = []
        for _ in range(2):
            sides = [int(generator.choice([side for side in SIDES if side <= limit])) for limit in (width, height)]
            corner = [STEP * int(generator.integers((limit - side) // STEP + 1))
                      for limit, side in zip((width, height), sides, strict=True)]  # fmt: skip
            boxes.append((*corner, *sides))
        if not _overlap(*boxes):
            return boxes


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))
