"""The pictures of a grid seen by an image encoder, for `choosing`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..dataset import images
from . import choosing, grid_pictures
from .choosing import Choice, Weights
from .records import BASE, Cell, Grid, GridError

Progress = Callable[[int, int], None]  # told how many of how many pictures are done


@dataclass(frozen=True)
class Judge:
    """embed: a picture 1,H,W,3 in 0..1 to 1,D. references: M,D of unit length, of real pictures of the character.
    scores: the likeness of each of several pictures, 1: as real ones, nan where it cannot be told; none: by `likeness`.
    """

    embed: Callable[[Tensor], Tensor]
    references: Tensor
    scores: Callable[[Sequence[Tensor]], Sequence[float]] | None = None


def pick(grid: Grid, judge: Judge, weights: Weights, progress: Progress = lambda done, of: None) -> Choice:
    """Raises GridError where a picture is gone by now, or there is nothing to choose from."""
    cells = [cell for cell in grid.cells if cell.picture]
    pictures = {}
    vectors: dict[Cell, np.ndarray] = {}
    for done, cell in enumerate(cells, 1):
        pictures[cell] = picture_of(cell)
        found = judge.embed(pictures[cell]).float().cpu().flatten()
        vectors[cell] = torch.nn.functional.normalize(found, dim=0).double().numpy()
        progress(done, len(cells))
    references = judge.references.double().cpu().numpy()
    if judge.scores:
        identities = dict(zip(cells, judge.scores(list(pictures.values())), strict=True))
    else:
        identities = likeness(vectors, references)
    return choosing.choose(choosing.arranged(grid, vectors, identities), references, weights)


def picture_of(cell: Cell) -> Tensor:
    """1,H,W,3 in 0..1. Raises GridError where its file is gone."""
    found = grid_pictures.read(cell.picture)
    if found is None:
        raise GridError(f"the picture of {cell.column.label} is gone ({cell.picture.name}). Queue the grid again.")
    return images.pixels(found)


def likeness(vectors: Mapping[Cell, np.ndarray], references: np.ndarray) -> dict[Cell, float]:
    """The mean cosine with the references, on the scale from the base's pictures (0) to the references among each other
    (1); nan for all where the grid has no base, or its pictures are as alike to the references as these are.

    vectors: D, of unit length. references: M,D. As in tests/benchmarks/likeness.py, whose pictures of a look are never
    compared with that look; here the prompts' looks are not known.
    """
    if len(references) < 2:
        return {}
    among = ((references @ references.T).sum() - len(references)) / (len(references) * (len(references) - 1))
    alike = {cell: float((references @ vector).mean()) for cell, vector in vectors.items()}
    of_base = [value for cell, value in alike.items() if cell.column.candidate.source == BASE]
    base = sum(of_base) / len(of_base) if of_base else math.nan
    if not among - base > _LEAST:
        return {}
    return {cell: (value - base) / (among - base) for cell, value in alike.items()}


_LEAST = 1e-3


def pictures_of_best(grid: Grid, choice: Choice) -> Tensor:
    """Of the best column: B,H,W,3 in 0..1."""
    return torch.cat([picture_of(cell) for cell in grid.cells if cell.column == choice.best.column and cell.picture])
