"""Hashes of whatever nodes leave on a model."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch

from isengard.trainers.fingerprints import of_anything


def scaled(by, of=None):
    def scale(x):
        return x * by

    return scale


class Holder:
    def __init__(self, **values):
        self.__dict__ |= values

    def method(self):
        return self.value


def looped(value):
    made = [value]
    made.append(made)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n,
        lambda n: float(n),
        lambda n: f"{n}",
        lambda n: {"a": [n, None], 2: (True,)},
        lambda n: {"a", n},
        lambda n: torch.full((3, 2), float(n)),
        lambda n: scaled(n),
        lambda n: functools.partial(scaled, n),
        lambda n: functools.partial(scaled, of=n),
        lambda n: Holder(value=n).method,
        lambda n: SimpleNamespace(inside=Holder(value=[n])),
        lambda n: [lambda x: x + 1, lambda x: x + 2][n],
        lambda n: [lambda x, y=1: x, lambda x, y=2: x][n],
        lambda n: torch.nn.Linear(1, 1, bias=False).requires_grad_(False).apply(lambda m: m.weight.fill_(n)),
        looped,
    ],
)
def test_what_is_the_same_is_found_again_and_what_is_not_is_not(make):
    assert of_anything(make(0)) == of_anything(make(0))
    assert of_anything(make(0)) != of_anything(make(1))


def test_kinds_are_told_apart():
    values = [0, 0.0, False, None, "0", b"0", [0], (0,), {0: None}, {0}, [], (), Holder(), SimpleNamespace(), Holder]
    assert len({of_anything(value) for value in values}) == len(values)


def test_what_cannot_be_looked_into_is_always_new():
    for value in (object(), iter([1]), SimpleNamespace(patches_uuid=1), [object()], scaled(object())):
        assert of_anything(value) != of_anything(value)
    deep = []
    for _ in range(100):
        deep = [deep]
    assert of_anything(deep) != of_anything(deep)
