"""A contact sheet: a row of pictures for each prompt, in sections side by side, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from PIL import Image, ImageDraw

from ..lettering import Lettering
from ..style import BACKGROUND, INK, LINE, MUTED

_LINES = 12  # of a prompt; what is longer is cut


@dataclass(frozen=True)
class Section:
    """Columns under one heading. labels: one a column."""

    heading: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A prompt and its pictures from left to right: one for each column of all sections, all of one size."""

    prompt: str
    pictures: tuple[Image.Image, ...]


def draw(title: str, sections: Sequence[Section], rows: Sequence[Row]) -> Image.Image:
    """The sheet as one picture."""
    layout = _Layout(rows[0].pictures[0].size, tuple(len(section.labels) for section in sections))
    sheet = Image.new("RGB", (layout.width, layout.height(rows)), BACKGROUND)
    pen = ImageDraw.Draw(sheet)

    layout.letters(1.5).write(pen, (layout.gap, layout.gap), layout.letters(1.5).cut(title, layout.inner), INK)
    _draw_headings(pen, layout, sections)
    y = layout.top
    for row in rows:
        for line in layout.wrap(row.prompt):
            layout.letters(1).write(pen, (layout.gap, y), line, INK)
            y += layout.line
        y += layout.gap // 2
        for x, picture in zip(layout.columns, row.pictures, strict=True):
            sheet.paste(picture, (x, y))
        y += layout.cell[1] + 2 * layout.gap
    return sheet


def _draw_headings(pen: ImageDraw.ImageDraw, layout: _Layout, sections: Sequence[Section]) -> None:
    columns = iter(zip(layout.columns, layout.ends, strict=True))
    large, small = layout.letters(1.1), layout.letters(0.85)
    for section in sections:
        places = [next(columns) for _ in section.labels]
        left, right = places[0][0], places[-1][0] + layout.cell[0]
        y = layout.gap + 2 * layout.text
        large.write(pen, (left, y), large.cut(section.heading, places[-1][1] - left), INK)
        pen.line([(left, y + layout.line), (right, y + layout.line)], fill=LINE, width=max(1, layout.text // 12))
        for (x, end), label in zip(places, section.labels, strict=True):
            small.write(pen, (x, y + round(1.15 * layout.line)), small.cut(label, end - x), MUTED)


@dataclass(frozen=True)
class _Layout:
    """Measures in pixels, all from the size of a picture. sections: columns of each."""

    cell: tuple[int, int]
    sections: tuple[int, ...]

    @property
    def text(self) -> int:
        return max(13, min(self.cell) // 14)

    @property
    def gap(self) -> int:
        return max(6, self.text // 2)

    @property
    def line(self) -> int:
        return round(1.35 * self.text)

    @property
    def top(self) -> int:
        """Of the first row: below title, headings and labels."""
        return self.gap + 2 * self.text + 3 * self.line

    @property
    def columns(self) -> list[int]:
        """The left edge of every column; sections stand further apart than columns."""
        firsts = set(accumulate(self.sections))
        lefts = [self.gap]
        for column in range(1, sum(self.sections)):
            lefts.append(lefts[-1] + self.cell[0] + (4 if column in firsts else 1) * self.gap)
        return lefts

    @property
    def ends(self) -> list[int]:
        """How far the words above every column may reach: to the next, or the border."""
        return [*(left - self.gap for left in self.columns[1:]), self.width - self.gap]

    @property
    def width(self) -> int:
        return max(self.columns[-1] + self.cell[0] + self.gap, 24 * self.text)

    def height(self, rows: Sequence[Row]) -> int:
        words = sum(len(self.wrap(row.prompt)) * self.line + self.gap // 2 for row in rows)
        return self.top + words + len(rows) * (self.cell[1] + 2 * self.gap)

    @property
    def inner(self) -> int:
        return self.width - 2 * self.gap

    def letters(self, scale: float) -> Lettering:
        return Lettering(round(scale * self.text))

    def wrap(self, text: str) -> list[str]:
        return self.letters(1).wrapped(text, self.inner, _LINES) or [""]
