"""The values of the evaluation room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...trainers.run import Run

BASE, RUN, FILE, CHARACTER = "base", "run", "file", "character"  # where a LoRA comes from


class GridError(ValueError):
    """A grid that cannot be drawn; the message says what to do."""


@dataclass(frozen=True)
class Candidate:
    """A LoRA that is tried. label: for people. source: BASE, RUN, FILE or CHARACTER. file: none for the base alone.
    step, validation_loss: of a run's checkpoint."""

    label: str
    source: str
    file: Path | None = None
    step: int | None = None
    validation_loss: float | None = None


THE_BASE = Candidate("base", BASE)


class Column(NamedTuple):
    """A LoRA at a strength."""

    candidate: Candidate
    strength: float

    @property
    def label(self) -> str:
        """For people."""
        return self.candidate.label if self.candidate.source == BASE else f"{self.candidate.label} @ {self.strength:g}"


class Row(NamedTuple):
    """What every column is asked for."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """One picture of a grid. picture: its PNG file; none where it failed, for the reason in `failed`."""

    column: Column
    row: Row
    picture: Path | None = None
    failed: str = ""


@dataclass(frozen=True)
class Grid:
    """LoRAs at strengths by prompts and seeds. cells: column by column. run: whose checkpoints are among the LoRAs."""

    title: str
    cells: tuple[Cell, ...]
    run: Run | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(cell.column for cell in self.cells))

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.prompt for row in self.rows))
