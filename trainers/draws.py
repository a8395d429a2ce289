"""Which pictures a step is made of, and which random numbers it uses.

Everything of the n-th picture that a run shows follows from the config's seed and n alone. So no generator has to be
saved to go on later, and the order of events inside a step changes nothing. Where all pictures are of one size, neither
does the size of the batches in which a step's pictures come (a batch is of one bucket).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

_NOISE, _ORDER, _WORDS = range(3)  # streams of random numbers that do not touch


def generator(seed: int, shown: int) -> torch.Generator:
    """The source of the noise and the timestep of one picture, on the CPU so that all devices draw alike. shown: how
    many were shown before it."""
    state = np.random.SeedSequence([seed, _NOISE, shown]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) & (2**63 - 1))


@dataclass(frozen=True)
class Draw:
    """One picture of a batch. example: its index; caption: which of its captions it is shown with, None for no words;
    shown: how many pictures the run has shown before."""

    example: int
    caption: int | None
    shown: int


@dataclass(frozen=True)
class Pool:
    """What is drawn from, in order. shapes: of each example's latent, only equal ones share a batch. repeats: how often
    an epoch shows it. captions: of each, how many orders
    each of its captions has; captions come equally often."""

    shapes: Sequence[tuple[int, ...]]
    repeats: Sequence[int]
    captions: Sequence[Sequence[int]]


class Order:
    """The batches of a run.

    Pictures of one shape are a bucket. Each bucket goes through its pictures, repeats included, in an order of its own
    every time, and the batches of a run come from the buckets in proportion to their pictures, evenly spread.
    """

    def __init__(self, pool: Pool, batch_size: int, caption_dropout: float, seed: int):
        self._pool, self._batch_size, self._dropout, self._seed = pool, batch_size, caption_dropout, seed
        self._buckets = _buckets(pool)
        self._turns = _Turns([len(bucket) for bucket in self._buckets])

    def batch(self, number: int) -> list[Draw]:
        """Batch `number` of the run, counted from 0 over all steps and accumulations."""
        bucket, turn = self._turns[number]
        places = range(self._batch_size)
        return [
            self._draw(self._picture(bucket, turn * self._batch_size + place), number * self._batch_size + place)
            for place in places
        ]

    def _picture(self, bucket: int, position: int) -> int:
        epoch, place = divmod(position, len(self._buckets[bucket]))
        order = np.random.default_rng([self._seed, _ORDER, bucket, epoch]).permutation(len(self._buckets[bucket]))
        return self._buckets[bucket][order[place]]

    def _draw(self, example: int, shown: int) -> Draw:
        random = np.random.default_rng([self._seed, _WORDS, shown])
        orders = self._pool.captions[example]
        dropped, which = random.random() < self._dropout, int(random.integers(len(orders)))
        place = sum(orders[:which]) + int(random.integers(orders[which]))
        return Draw(example, None if dropped else place, shown)


def _buckets(pool: Pool) -> list[list[int]]:
    """Indices by shape, each as often as it is repeated; in the order in which the shapes first occur."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, (shape, repeats) in enumerate(zip(pool.shapes, pool.repeats, strict=True)):
        by_shape.setdefault(tuple(shape), []).extend([index] * repeats)
    return list(by_shape.values())


class _Turns:
    """Whose turn it is, for batch 0, 1, 2, …: the bucket, and how many batches it has had before.

    The next batch is always of the bucket that is furthest behind its share, so that after any number of batches no
    bucket is a whole batch away from it.
    """

    def __init__(self, sizes: Sequence[int]):
        self._shares = np.array(sizes) / sum(sizes)
        self._had = np.zeros(len(sizes), dtype=int)
        self._turns: list[tuple[int, int]] = []

    def __getitem__(self, number: int) -> tuple[int, int]:
        while len(self._turns) <= number:
            behind = self._shares * (len(self._turns) + 1) - self._had
            bucket = int(behind.argmax())
            self._turns.append((bucket, int(self._had[bucket])))
            self._had[bucket] += 1
        return self._turns[number]
