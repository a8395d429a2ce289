"""The sheet of a grid: LoRAs at strengths side by side, prompts and seeds below each other, on pages of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..lettering import Lettering
from ..style import BACKGROUND, INK, LINE, MUTED, PALE, WARNING
from .records import BASE, Cell, Column, Row

_COLUMNS, _ROWS = 12, 12  # of pictures on a page, at most
_PROMPT_LINES = 4
_TILE_WIDTHS = {4: 384, 8: 320, _COLUMNS: 256}  # pixels at most, by the most columns that they are for


class Sheet:
    """Filled cell by cell, in any order. size: of a picture, in pixels."""

    def __init__(self, title: str, cells: Sequence[Cell], size: tuple[int, int]):
        columns = _column_pages(list(dict.fromkeys(cell.column for cell in cells)))
        rows = _row_pages(list(dict.fromkeys(cell.row for cell in cells)))
        most = max(map(len, columns))
        tile = _tile(size, most)
        plans = [_Plan(each, some, tile, most) for some in rows for each in columns]
        self._height = max(plan.height for plan in plans)
        self._pages = [_Page(plan, self._height) for plan in plans]
        for number, page in enumerate(self._pages, 1):
            page.label(title, f"page {number} of {len(plans)}" if len(plans) > 1 else "")
        self._last = self._pages[0]

    def show(self, cell: Cell, picture: Image.Image) -> None:
        for page in self._holding(cell):
            page.paste(cell, picture)

    def fail(self, cell: Cell, reason: str) -> None:
        """A grey tile with the reason in words."""
        for page in self._holding(cell):
            page.fail(cell, reason)

    def tensor(self) -> Tensor:
        """The pages as one batch: B,H,W,3 float32 in 0..1."""
        pages = np.stack([np.asarray(page.image) for page in self._pages])
        return torch.from_numpy(pages).float().div_(255)

    def preview(self, most: int) -> Image.Image:
        """The page that was filled last, small: at most so many pixels a side."""
        image = self._last.image
        return image.reduce(max(1, math.ceil(max(image.size) / most)))

    def _holding(self, cell: Cell) -> list[_Page]:
        """The base is on every page of its rows."""
        found = [page for page in self._pages if cell.column in page.plan.columns and cell.row in page.plan.rows]
        self._last = found[-1]
        return found


def _column_pages(columns: list[Column]) -> list[list[Column]]:
    """About equally many LoRAs on each, with the base in front on all. All of a LoRA's strengths where they fit."""
    base = [column for column in columns if column.candidate.source == BASE]
    others = [column for column in columns if column.candidate.source != BASE]
    strengths = len({column.strength for column in others}) or 1
    together = strengths if strengths <= _COLUMNS - len(base) else 1
    groups = math.ceil(len(others) / together)
    count = math.ceil(groups / ((_COLUMNS - len(base)) // together)) or 1
    each = math.ceil(groups / count) * together
    return [base + others[page * each : (page + 1) * each] for page in range(count)]


def _row_pages(rows: list[Row]) -> list[list[Row]]:
    """The seeds of a prompt stay together where they fit."""
    pages: list[list[Row]] = [[]]
    for _, group in groupby(rows, key=lambda row: row.prompt):
        seeds = list(group)
        if pages[-1] and len(pages[-1]) + len(seeds) > _ROWS:
            pages.append([])
        while len(pages[-1]) + len(seeds) > _ROWS:
            pages[-1] += seeds[:_ROWS]
            seeds = seeds[_ROWS:]
            pages.append([])
        pages[-1] += seeds
    return [page for page in pages if page]


def _tile(size: tuple[int, int], columns: int) -> tuple[int, int]:
    """What a picture is scaled to; small ones stay as they are."""
    width = next(width for most, width in _TILE_WIDTHS.items() if columns <= most)
    scale = min(1.0, width / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@dataclass(frozen=True)
class _Plan:
    """Where everything is on a page, in pixels. most: columns of the page that has the most."""

    columns: list[Column]
    rows: list[Row]
    tile: tuple[int, int]
    most: int

    @property
    def text(self) -> int:
        return max(13, min(18, self.tile[0] // 16))

    @property
    def gap(self) -> int:
        return max(6, self.text // 2)

    @property
    def plain(self) -> Lettering:
        return Lettering(self.text)

    @property
    def small(self) -> Lettering:
        return Lettering(max(11, round(0.85 * self.text)))

    @property
    def title(self) -> Lettering:
        return Lettering(round(1.5 * self.text), bold=True)

    @property
    def top(self) -> int:
        """Of the first prompt: below title, headings and strengths."""
        return 2 * self.gap + self.title.line + 2 * self.plain.line + self.gap

    @cached_property
    def left(self) -> int:
        """Of the first column: right of the seeds."""
        return 2 * self.gap + math.ceil(max(self.small.width(f"seed {row.seed}") for row in self.rows)) + self.gap

    @property
    def width(self) -> int:
        return max(self.left + self.most * (self.tile[0] + self.gap) + self.gap, 36 * self.text)

    def x(self, column: Column) -> int:
        return self.left + self.columns.index(column) * (self.tile[0] + self.gap)

    @cached_property
    def prompts(self) -> dict[str, tuple[int, list[str]]]:
        """Where each begins, and its lines."""
        return self._placed[0]

    @cached_property
    def tops(self) -> dict[Row, int]:
        """Of each row of pictures."""
        return self._placed[1]

    @cached_property
    def _placed(self) -> tuple[dict[str, tuple[int, list[str]]], dict[Row, int], int]:
        prompts, tops, y = {}, {}, self.top
        for row in self.rows:
            if row.prompt not in prompts:
                lines = self.plain.wrapped(row.prompt, self.width - 4 * self.gap, _PROMPT_LINES) or [""]
                prompts[row.prompt] = (y, lines)
                y += len(lines) * self.plain.line + self.gap // 2
            tops[row] = y
            y += self.tile[1] + self.gap
            if row == self.rows[-1] or self.rows[self.rows.index(row) + 1].prompt != row.prompt:
                y += self.gap
        return prompts, tops, y

    @property
    def height(self) -> int:
        return self._placed[2] + self.gap


class _Page:
    """A page that is being filled."""

    def __init__(self, plan: _Plan, height: int):
        self.plan = plan
        self.image = Image.new("RGB", (plan.width, height), BACKGROUND)
        self._pen = ImageDraw.Draw(self.image)

    def label(self, title: str, number: str) -> None:
        """All but the pictures."""
        plan, pen = self.plan, self._pen
        at, room = 2 * plan.gap, plan.width - 4 * plan.gap
        width = plan.small.width(number)
        plan.title.write(pen, (at, plan.gap), plan.title.cut(title, room - width - 2 * plan.gap), INK)
        plan.small.write(pen, (plan.width - 2 * plan.gap - width, 2 * plan.gap), number, MUTED)
        self._label_columns()
        for y, lines in plan.prompts.values():
            for place, line in enumerate(lines):
                plan.plain.write(pen, (at, y + place * plan.plain.line), line, INK)
        for row, y in plan.tops.items():
            plan.small.write(pen, (at, y), f"seed {row.seed}", MUTED)
            for column in plan.columns:
                pen.rectangle(self._box(column, y), fill=PALE)

    def _label_columns(self) -> None:
        plan, pen, y = self.plan, self._pen, 2 * self.plan.gap + self.plan.title.line
        for candidate, group in groupby(plan.columns, key=lambda column: column.candidate):
            columns = list(group)
            left, right = plan.x(columns[0]), plan.x(columns[-1]) + plan.tile[0]
            heading = plan.plain.cut(candidate.label, right - left, middle=True)
            plan.plain.write(pen, (left, y), heading, INK)
            pen.line((left, y + plan.plain.line - 1, right, y + plan.plain.line - 1), fill=LINE)
            for column in columns if candidate.source != BASE else ():
                said = f"strength {column.strength:g}"
                plan.small.write(pen, (plan.x(column), y + plan.plain.line + 3), said, MUTED)

    def paste(self, cell: Cell, picture: Image.Image) -> None:
        if picture.size != self.plan.tile:
            picture = picture.resize(self.plan.tile, Image.Resampling.LANCZOS, reducing_gap=3.0)
        self.image.paste(picture, self._box(cell.column, self.plan.tops[cell.row])[:2])

    def fail(self, cell: Cell, reason: str) -> None:
        plan, pen = self.plan, self._pen
        left, top, right, bottom = box = self._box(cell.column, plan.tops[cell.row])
        pen.rectangle(box, fill=LINE)
        lines = max(0, (bottom - top - 2 * plan.gap) // plan.small.line - 1)
        plan.small.write(pen, (left + plan.gap, top + plan.gap), "failed", WARNING)
        for place, line in enumerate(plan.small.wrapped(reason, right - left - 2 * plan.gap, lines) if lines else ()):
            plan.small.write(pen, (left + plan.gap, top + plan.gap + (place + 1) * plan.small.line), line, INK)

    def _box(self, column: Column, top: int) -> tuple[int, int, int, int]:
        left = self.plan.x(column)
        return left, top, left + self.plan.tile[0] - 1, top + self.plan.tile[1] - 1
