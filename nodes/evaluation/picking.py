"""The pictures of a grid seen by an image encoder, for `choosing`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..dataset import images
from . import choosing, grid_pictures
from .choosing import Choice, Weights
from .identity import Identity
from .records import Cell, Grid, GridError

Progress = Callable[[int, int], None]  # told how many of how many pictures are done


def pick(grid: Grid, identity: Identity, weights: Weights, progress: Progress = lambda done, of: None) -> Choice:
    """Raises GridError where a picture is gone by now, or there is nothing to choose from."""
    cells = [cell for cell in grid.cells if cell.picture]
    vectors = identity.encoder.vectors(map(picture_of, cells), len(cells), progress)
    scores = [math.nan if score.value is None else score.value for score in identity.scores(vectors)]
    arranged = choosing.arranged(
        grid, dict(zip(cells, vectors.double().numpy(), strict=True)), dict(zip(cells, scores, strict=True))
    )
    choice = choosing.choose(arranged, identity.references.double().numpy(), weights)
    if identity.calibration or not weights.identity:
        return choice
    return dataclasses.replace(choice, notes=(*choice.notes, f"Of the identity: {identity.reason}"))


def picture_of(cell: Cell) -> Tensor:
    """1,H,W,3 in 0..1. Raises GridError where its file is gone."""
    found = grid_pictures.read(cell.picture)
    if found is None:
        raise GridError(f"the picture of {cell.column.label} is gone ({cell.picture.name}). Queue the grid again.")
    return images.pixels(found)


def pictures_of_best(grid: Grid, choice: Choice) -> Tensor:
    """Of the best column: B,H,W,3 in 0..1."""
    return torch.cat([picture_of(cell) for cell in grid.cells if cell.column == choice.best.column and cell.picture])
