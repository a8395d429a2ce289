"""A contact sheet: pictures in rows and columns with a label on each row and column."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_BACKGROUND, _INK, _MUTED = "#ffffff", "#1c1c1e", "#6b6b70"


@dataclass(frozen=True)
class Group:
    """Rows that belong together under one heading: a prompt, say. rows: label and pictures from left to right."""

    heading: str
    rows: tuple[tuple[str, tuple[Image.Image, ...]], ...]


def draw(title: str, columns: Sequence[str], groups: Sequence[Group]) -> Image.Image:
    """The sheet as one picture. All pictures are of one size; columns: a label for each."""
    cell = groups[0].rows[0][1][0].size
    layout = _Layout.of(cell, len(columns), groups)
    sheet = Image.new("RGB", layout.size(groups), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)

    pen.text((layout.gap, layout.gap), title, font=layout.font(1.5), fill=_INK)
    y = layout.top
    for place, label in enumerate(columns):
        pen.text((layout.x(place) + cell[0] / 2, y), label, font=layout.font(0.9), fill=_MUTED, anchor="ma")
    y += round(1.6 * layout.text)
    for group in groups:
        for line in layout.wrap(group.heading):
            pen.text((layout.gap, y), line, font=layout.font(1), fill=_INK)
            y += layout.line
        y += layout.gap // 2
        for label, pictures in group.rows:
            pen.text((layout.gap, y + cell[1] / 2), label, font=layout.font(1), fill=_MUTED, anchor="lm")
            for place, picture in enumerate(pictures):
                sheet.paste(picture, (layout.x(place), y))
            y += cell[1] + layout.gap
        y += layout.gap
    return sheet


@dataclass(frozen=True)
class _Layout:
    """Measures in pixels, all from the size of a picture."""

    cell: tuple[int, int]
    columns: int
    text: int
    margin: int  # width of the row labels

    @classmethod
    def of(cls, cell: tuple[int, int], columns: int, groups: Sequence[Group]) -> _Layout:
        text = max(13, min(cell) // 14)
        longest = max((label for group in groups for label, _ in group.rows), key=len)
        return cls(cell, columns, text, margin=round(ImageFont.load_default(text).getlength(longest)))

    @property
    def gap(self) -> int:
        return max(6, self.text // 2)

    @property
    def line(self) -> int:
        return round(1.35 * self.text)

    @property
    def top(self) -> int:
        return 2 * self.gap + round(2 * self.text)

    @property
    def width(self) -> int:
        return max(self.x(self.columns), 24 * self.text)

    def x(self, place: int) -> int:
        return 3 * self.gap + self.margin + place * (self.cell[0] + self.gap)

    def font(self, scale: float):
        return ImageFont.load_default(round(scale * self.text))

    def wrap(self, text: str) -> list[str]:
        """Lines that fit: as many letters as the text's own mean width allows, and a little less."""
        letter = self.font(1).getlength(text) / max(1, len(text)) or self.text
        return textwrap.wrap(text, max(8, int(0.93 * (self.width - 2 * self.gap) / letter))) or [""]

    def size(self, groups: Sequence[Group]) -> tuple[int, int]:
        height = self.top + round(1.6 * self.text)
        for group in groups:
            height += len(self.wrap(group.heading)) * self.line + self.gap // 2 + self.gap
            height += len(group.rows) * (self.cell[1] + self.gap)
        return self.width, height
