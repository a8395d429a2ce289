from __future__ import annotations

import random

import pytest

from isengard.trainers.run import divergence


def noisy(level: float, steps: int, seed: int = 0) -> list[float]:
    """As training's losses are: most of their spread is the noise levels'."""
    draw = random.Random(seed)
    return [level * draw.uniform(0.1, 1.9) for _ in range(steps)]


def test_a_loss_that_grows_is_told_with_how_much():
    assert divergence(noisy(0.1, 200) + noisy(0.35, 50)) == pytest.approx(3.5, rel=0.4)
    assert divergence(noisy(0.1, 200) + noisy(1e6, 50)) > 1000


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_stays_or_falls_is_not(seed):
    assert divergence(noisy(0.1, 1000, seed)) is None
    assert divergence(noisy(0.3, 100, seed) + noisy(0.1, 500, seed)) is None


def test_nothing_is_said_too_early():
    assert divergence([]) is None
    assert divergence(noisy(0.1, 99)) is None
    assert divergence([0.0] * 200) is None
