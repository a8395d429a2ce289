"""A contact sheet of a data set: its pictures on pages, each with what is known of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .. import lettering
from ..dataset.records import Dataset, Sample
from ..lettering import Lettering
from ..style import BACKGROUND, INK, LINE, MUTED, WARNING
from . import cell
from .cell import Cell, Frame

_AT_ONCE = 4  # pictures that are decoded; each may take some hundred megabytes
_NARROWEST, _LOWEST = 480, 240  # pixels, of a page
_FLATTEST, _TALLEST = 0.6, 1.5  # a frame's height over its width

Progress = Callable[[int, int], None]  # told how many of how many pictures are drawn


@dataclass(frozen=True)
class Options:
    """picture: width of a picture's frame in pixels. per_page: pictures a page, at most. most: of all pages together.
    show_masks: tint what masks leave out."""

    columns: int = 6
    picture: int = 256
    per_page: int = 60
    most: int = 240
    show_masks: bool = False


def tensor(dataset: Dataset, options: Options = Options(), progress: Progress = lambda done, of: None) -> Tensor:
    """The pages as one batch: B,H,W,3 float32 in 0..1. Raises images.UnreadableImage."""
    drawn = np.stack([np.asarray(page) for page in pages(dataset, options, progress)])
    return torch.from_numpy(drawn).float().div_(255)


def pages(
    dataset: Dataset, options: Options = Options(), progress: Progress = lambda done, of: None
) -> Iterator[Image.Image]:
    """The pages one after the other, all of one size; a single one that says so where the data set is empty.

    Raises images.UnreadableImage.
    """
    samples = dataset.samples[: options.most]
    frame = Frame(options.picture, round(options.picture * _oblong(samples)))
    layout = _Layout(dataset, options, tuple(cell.measured(sample, frame) for sample in samples), frame)
    if not samples:
        yield _empty(layout)
    drawn = 0
    for number, place in enumerate(range(0, len(samples), max(1, layout.on_page)), 1):
        sheet = layout.blank(number)
        on_page = samples[place : place + layout.on_page]
        pictures = _thumbnails(on_page, frame, options.show_masks)
        for picture, at, below in zip(pictures, layout.places, layout.cells[place:]):  # noqa: B905, fewer on the last
            below.draw(sheet, at, picture)
            drawn += 1
            progress(drawn, len(samples))
        yield sheet


def _thumbnails(samples: Sequence[Sample], frame: Frame, with_masks: bool) -> Iterator[Image.Image]:
    """In order, a few at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(samples), _AT_ONCE):  # an interrupt waits for no more than these
            some = samples[start : start + _AT_ONCE]
            yield from pool.map(lambda sample: cell.thumbnail(sample, frame, with_masks), some)


def _oblong(samples: Sequence[Sample]) -> float:
    """Height over width of the frame that the pictures fill best."""
    shapes = Counter(sample.size[1] / sample.size[0] for sample in samples)
    frames = sorted({min(_TALLEST, max(_FLATTEST, shape)) for shape in shapes}, reverse=True) or [1.0]

    def filled(frame: float) -> float:
        return sum(count * min(shape / frame, frame / shape) for shape, count in shapes.items())

    return max(frames, key=filled)


@dataclass(frozen=True)
class _Layout:
    """Where everything is on a page, in pixels."""

    dataset: Dataset
    options: Options
    cells: tuple[Cell, ...]
    frame: Frame

    @property
    def margin(self) -> int:
        return 2 * self.frame.text

    @property
    def gaps(self) -> tuple[int, int]:
        """Between columns, and between rows."""
        return round(1.5 * self.frame.text), 2 * self.frame.text

    @property
    def columns(self) -> int:
        return max(1, min(self.options.columns, self.options.per_page, len(self.cells)))

    @property
    def count(self) -> int:
        return max(1, math.ceil(len(self.cells) / max(1, self.options.per_page)))

    @property
    def on_page(self) -> int:
        """Full rows, so that the pages are about equally full, and never more than asked for."""
        even = math.ceil(len(self.cells) / self.count / self.columns) * self.columns
        return min(even, self.options.per_page)

    @cached_property
    def cell_height(self) -> int:
        return max((below.height for below in self.cells), default=0)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Top left corners of the cells of a page."""
        across, down = self.frame.width + self.gaps[0], self.cell_height + self.gaps[1]
        return [
            (self.margin + place % self.columns * across, self.top + place // self.columns * down)
            for place in range(self.on_page)
        ]

    @property
    def title(self) -> Lettering:
        return Lettering(round(1.5 * self.frame.text), bold=True)

    @cached_property
    def note(self) -> list[str]:
        """Says so where texts have signs that cannot be drawn."""
        signs = lettering.lacking(chain.from_iterable(map(cell.texts, self.dataset.samples[: len(self.cells)])))
        if not signs:
            return []
        text = (
            f"{lettering.UNKNOWN} stands for signs that no font of this machine has ({len(signs)}: "
            f"{lettering.unicode_names(signs)}). Install one that has them, such as Noto Sans CJK, and start ComfyUI "
            "again."
        )
        return self.frame.plain.wrapped(text, self.width - 2 * self.margin, 4)

    @property
    def top(self) -> int:
        """Of the first row: below the title, the facts and the note."""
        lines = (1 + len(self.note)) * self.frame.plain.line
        return self.margin + self.title.line + lines + round(1.5 * self.frame.text)

    @property
    def width(self) -> int:
        cells = self.columns * (self.frame.width + self.gaps[0]) - self.gaps[0]
        return max(_NARROWEST, 2 * self.margin + cells)

    @property
    def height(self) -> int:
        bottom = self.places[-1][1] + self.cell_height + self.margin if self.cells else 0
        return max(_LOWEST, bottom)

    def blank(self, number: int) -> Image.Image:
        """Page `number`, from 1, with what stands above the pictures."""
        page = Image.new("RGB", (self.width, self.height), BACKGROUND)
        pen, inner, y = ImageDraw.Draw(page), self.width - 2 * self.margin, self.margin
        self.title.write(pen, (self.margin, y), self.title.cut(self.dataset.name, inner), INK)
        y += self.title.line
        self.frame.plain.write(pen, (self.margin, y), self.frame.plain.cut(self._facts(number), inner), MUTED)
        for line in self.note:
            y += self.frame.plain.line
            self.frame.plain.write(pen, (self.margin, y), line, WARNING)
        y = self.top - round(0.9 * self.frame.text)
        pen.line((self.margin, y, self.width - self.margin - 1, y), fill=LINE)
        return page

    def _facts(self, number: int) -> str:
        """How many pictures there are, how many of them are drawn, and which page this is."""
        there, drawn = len(self.dataset.samples), len(self.cells)
        pictures = f"{there:,} picture" + ("" if there == 1 else "s")
        shown = f", the first {drawn:,} are shown" if drawn < there else ""
        return pictures + shown + (f" · page {number} of {self.count}" if self.count > 1 else "")


def _empty(layout: _Layout) -> Image.Image:
    """A page that says that there is nothing."""
    page, text = layout.blank(1), "Nothing here: this data set has no pictures."
    x, y = (layout.width - layout.frame.plain.width(text)) // 2, (layout.top + layout.height) // 2
    layout.frame.plain.write(ImageDraw.Draw(page), (x, y - layout.frame.plain.line), text, MUTED)
    return page
