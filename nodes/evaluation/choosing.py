"""Which checkpoint to keep, and at which strength, by a score that does not reward learning by heart.

A checkpoint that draws its training pictures whatever it is asked for has the highest likeness of all. So likeness
counts no further than that of real pictures of the character, and beside it stand three terms that fall when a LoRA
learns by heart. All terms are from 0 to 1; what is above 1 counts as 1:

- identity: mean score of the pictures (identity.py); 0: as other people, 1: as real pictures of the character.
- adherence: whether pictures change from prompt to prompt as the base's own do: the cosine of the differences between
  picture vectors, over all pairs of prompts together, with the LoRA and without it. 1: as the base with another seed.
- diversity: how far pictures of different prompts are apart; 1: as far as real pictures of the character, or further.
- validation: the run's lowest loss on held-out pictures over that of the checkpoint; 1: the lowest.

A few pictures tell a total less surely than neighbouring checkpoints differ. So those of a run count for each other: a
total is the mean of a checkpoint's own, twice, and its neighbours' (Nadaraya and Watson's kernel regression, 1964).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .records import BASE, RUN, Column, Grid, GridError

IDENTITY, ADHERENCE, DIVERSITY, VALIDATION = TERMS = ("identity", "adherence", "diversity", "validation")
_LEAST = 1e-6  # of a scale: below it, nothing can be measured on it


@dataclass(frozen=True)
class Weights:
    """How much each term counts; 0: not at all."""

    identity: float = 1.0
    adherence: float = 0.5
    diversity: float = 0.5
    validation: float = 0.25


@dataclass(frozen=True)
class Pictures:
    """The pictures of one column. vectors: P,S,D of unit length, by prompt and seed, as an image encoder gives them.
    identity: P,S, the likeness of each; 1: as real pictures, nan where it cannot be told. Of pictures that are missing
    both are nan."""

    vectors: np.ndarray
    identity: np.ndarray

    @property
    def count(self) -> int:
        return int(np.isfinite(self.vectors[..., 0]).sum())


@dataclass(frozen=True)
class Entry:
    """A LoRA at a strength. terms: those that were scored, by name. total: their weighted mean, with its neighbours'.
    rank: 1 is the best. count: pictures."""

    column: Column
    terms: Mapping[str, float]
    total: float
    rank: int
    count: int


@dataclass(frozen=True)
class Choice:
    """entries: the best first. notes: what could not be scored, and why."""

    entries: tuple[Entry, ...]
    weights: Weights
    notes: tuple[str, ...]

    @property
    def best(self) -> Entry:
        return self.entries[0]

    @property
    def scores(self) -> dict[str, float]:
        """The best one's, for the character library."""
        rounded = {name: round(value, 4) for name, value in self.best.terms.items()}
        return rounded | {"total": round(self.best.total, 4), "strength": self.best.column.strength}


def choose(pictures: Mapping[Column, Pictures], references: np.ndarray, weights: Weights) -> Choice:
    """Rank all columns but the base's.

    references: M,D of unit length, real pictures of the character. A term counts only where every column has it, else
    their totals were not of the same; it is left out, and the others' weights are scaled up. Raises GridError where
    there is nothing to choose from, or no term is left.
    """
    columns = {column: each for column, each in pictures.items() if column.candidate.source != BASE and each.count}
    if not columns:
        raise GridError("there is no LoRA with a picture in this grid. Look at the grid's report for what failed.")
    base = next((each for column, each in pictures.items() if column.candidate.source == BASE), None)
    scored = _scored(columns, base, references)
    used = {name: terms for name, terms in scored.items() if getattr(weights, name) > 0 and len(terms) == len(columns)}
    if not used:
        raise GridError(
            "none of the terms with a weight could be scored. " + " ".join(_notes(scored, weights, columns))
        )
    totals = _smoothed({column: _weighted({name: used[name][column] for name in used}, weights) for column in columns})
    order = sorted(columns, key=lambda column: -totals[column])
    entries = tuple(
        Entry(column, {name: scored[name][column] for name in TERMS if column in scored[name]}, totals[column], rank,
              columns[column].count)
        for rank, column in enumerate(order, 1)
    )  # fmt: skip
    return Choice(entries, weights, tuple(_notes(scored, weights, columns)))


def _weighted(terms: Mapping[str, float], weights: Weights) -> float:
    shares = {name: getattr(weights, name) for name in terms}
    return sum(shares[name] * value for name, value in terms.items()) / sum(shares.values())


def _smoothed(totals: Mapping[Column, float]) -> dict[Column, float]:
    """Those of a run at one strength with their neighbours'; others as they are."""
    found = dict(totals)
    for strength in {column.strength for column in totals}:
        row = sorted(
            (column for column in totals if column.strength == strength and column.candidate.source == RUN),
            key=lambda column: column.candidate.step,
        )
        for place, column in enumerate(row):
            around = [column, column, *row[max(0, place - 1) : place], *row[place + 1 : place + 2]]
            found[column] = sum(totals[each] for each in around) / len(around)
    return found


def _scored(
    columns: Mapping[Column, Pictures], base: Pictures | None, references: np.ndarray
) -> dict[str, dict[Column, float]]:
    """Each term by column, where it can be told."""
    losses = [column.candidate.validation_loss for column in columns if column.candidate.validation_loss]
    can_tell = any(np.isfinite(each.identity).any() for each in columns.values())
    reach = _spread(references[:, None])

    def term(score: Callable[[Column, Pictures], float]) -> dict[Column, float]:
        found = {column: score(column, each) for column, each in columns.items()}
        return {column: float(np.clip(value, 0, 1)) for column, value in found.items() if math.isfinite(value)}

    return {
        IDENTITY: term(lambda _, each: identity(each) if can_tell else math.nan),
        ADHERENCE: term(lambda _, each: adherence(each.vectors, base.vectors) if base else math.nan),
        DIVERSITY: term(lambda _, each: _over(_spread(each.vectors), reach)),
        VALIDATION: term(lambda column, _: _over(min(losses, default=math.nan), column.candidate.validation_loss)),
    }


def identity(pictures: Pictures) -> float:
    """The mean over all pictures that there are, 0 for those that cannot be told."""
    there = np.isfinite(pictures.vectors[..., 0])
    return float(np.nan_to_num(pictures.identity[there]).mean())


def adherence(vectors: np.ndarray, base: np.ndarray) -> float:
    """How much of the base's changes between prompts there is in those of other pictures: both P,S,D, nan where a
    picture is missing. With several seeds only pictures of different seeds are compared, on the scale of the base with
    itself; else the seed's noise, which both share, would count. nan with one prompt, or where the base's pictures do
    not follow prompts themselves."""
    seeds = vectors.shape[1]
    pairs = [(one, other) for one in range(seeds) for other in range(seeds) if one != other or seeds == 1]
    own = _together(base, base, pairs) if seeds > 1 else 1.0
    return _over(_together(vectors, base, pairs), own)


def _together(some: np.ndarray, others: np.ndarray, seeds: Sequence[tuple[int, int]]) -> float:
    """The cosine of the differences between prompts, of all pairs of prompts as one long vector."""
    products, squares, other_squares = 0.0, 0.0, 0.0
    for one, other in seeds:
        for first, second in itertools.combinations(range(len(some)), 2):
            change, wanted = some[first, one] - some[second, one], others[first, other] - others[second, other]
            if np.isfinite(change).all() and np.isfinite(wanted).all():
                products += float(change @ wanted)
                squares += float(change @ change)
                other_squares += float(wanted @ wanted)
    return _over(products, math.sqrt(squares * other_squares))


def _spread(vectors: np.ndarray) -> float:
    """The mean cosine distance of pictures of different prompts: P,S,D; nan where there are no two."""
    means = [each[np.isfinite(each[:, 0])].mean(0) for each in vectors if np.isfinite(each[:, 0]).any()]
    distances = [1 - float(one @ other) for one, other in itertools.combinations(means, 2)]
    return sum(distances) / len(distances) if distances else math.nan


def _over(value: float, scale: float | None) -> float:
    return value / scale if scale is not None and scale > _LEAST else math.nan


def _notes(
    scored: Mapping[str, Mapping[Column, float]], weights: Weights, columns: Mapping[Column, Pictures]
) -> Iterator[str]:
    for name in TERMS:
        missing = [column.label for column in columns if column not in scored[name]]
        if missing and getattr(weights, name) > 0:
            where = "" if len(missing) == len(columns) else f" for {', '.join(missing[:3])}{', …' * (len(missing) > 3)}"
            yield f"{name} is unscored{where} ({_WHY[name]}): it is left out, and the other terms count for more."
    most = max(each.count for each in columns.values())
    fewer = [f"{column.label} ({each.count})" for column, each in columns.items() if each.count < most]
    if fewer:
        yield f"pictures are missing of {', '.join(fewer[:5])}; the others have {most}."


_WHY = {
    IDENTITY: "the identity cannot tell the character from others",
    ADHERENCE: "it takes two prompts or more, and the base's own pictures of them, which have to follow them",
    DIVERSITY: "it takes two prompts or more, and two real pictures",
    VALIDATION: "the run measured no loss on held-out pictures then",
}


def table(choice: Choice) -> str:
    """For people: a line for each entry, the best first; then the notes."""
    width = max(len(entry.column.label) for entry in choice.entries)
    head = f"{'':3} {'':{width}}  total  " + "  ".join(f"{name:>{_WIDTH}}" for name in TERMS) + "  pictures"
    lines = [
        f"{entry.rank:2}. {entry.column.label:{width}}  {entry.total:5.3f}  "
        + "  ".join(f"{entry.terms[name]:{_WIDTH}.3f}" if name in entry.terms else f"{'–':>{_WIDTH}}" for name in TERMS)
        + f"  {entry.count:8}"
        for entry in choice.entries
    ]
    shares = ", ".join(f"{name} {getattr(choice.weights, name):g}" for name in TERMS)
    return "\n".join([head, *lines, "", f"weights: {shares}; checkpoints next to each other share", *choice.notes])


_WIDTH = 10


def arranged(grid: Grid, vectors: Mapping, identities: Mapping) -> dict[Column, Pictures]:
    """The pictures of each column by prompt and seed. vectors: D by cell; identities: by cell, nan where unknown."""
    prompts, seeds = grid.prompts, tuple(dict.fromkeys(row.seed for row in grid.rows))
    length = len(next(iter(vectors.values()))) if vectors else 1
    found = {}
    for column in grid.columns:
        found[column] = Pictures(
            np.full((len(prompts), len(seeds), length), np.nan), np.full((len(prompts), len(seeds)), np.nan)
        )
    for cell, vector in vectors.items():
        place = prompts.index(cell.row.prompt), seeds.index(cell.row.seed)
        found[cell.column].vectors[place] = vector
        found[cell.column].identity[place] = identities.get(cell, math.nan)
    return found
