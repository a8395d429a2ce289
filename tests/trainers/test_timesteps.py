"""Densities against their distribution functions, shifts against their papers."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from isengard.trainers import timesteps
from isengard.trainers.config import TIMESTEP_SAMPLINGS, ObjectiveConfig

SETTINGS = {
    "uniform": ObjectiveConfig(timestep_sampling="uniform"),
    "logit_normal": ObjectiveConfig(timestep_sampling="logit_normal"),
    "logit_normal moved": ObjectiveConfig(timestep_sampling="logit_normal", logit_mean=-0.5, logit_std=1.7),
    "mode": ObjectiveConfig(timestep_sampling="mode", mode_scale=1.29),
    "mode negative": ObjectiveConfig(timestep_sampling="mode", mode_scale=-0.5),
    "beta": ObjectiveConfig(timestep_sampling="beta", beta_a=0.6, beta_b=2.0),
}
every_density = pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)


def positions(config, seed=0, count=20_000):
    return timesteps.draw_positions(config, count, torch.Generator().manual_seed(seed))


def test_every_density_is_here():
    assert {config.timestep_sampling for config in SETTINGS.values()} == set(TIMESTEP_SAMPLINGS)


@every_density
def test_positions_are_inside_the_schedule_and_seeded(config):
    drawn = positions(config)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert torch.equal(drawn, positions(config))
    assert not torch.equal(drawn, positions(config, seed=1))


@every_density
def test_densities_match_their_distribution_functions(config):
    """Kolmogorov's test against distribution functions that are not ours; 0.001 of good samples would fail."""
    assert scipy.stats.kstest(positions(config).numpy(), distribution(config)).pvalue > 0.001


def distribution(config: ObjectiveConfig):
    if config.timestep_sampling == "beta":
        return scipy.stats.beta(config.beta_a, config.beta_b).cdf
    if config.timestep_sampling == "logit_normal":
        return lambda u: scipy.stats.norm.cdf(scipy.special.logit(u), config.logit_mean, config.logit_std)
    if config.timestep_sampling == "mode":
        return lambda t: _mode_distribution(t, config.mode_scale)
    return scipy.stats.uniform.cdf


def _mode_distribution(t, scale: float):
    """Of t = f(u) with u uniform and f falling: P(t < T) = 1 - f^-1(T), inverted by bisection. f as in the paper."""
    low, high = torch.zeros(len(t), dtype=torch.float64), torch.ones(len(t), dtype=torch.float64)
    for _ in range(60):
        middle = (low + high) / 2
        value = 1 - middle - scale * (torch.cos(math.pi * middle / 2) ** 2 - 1 + middle)
        above = value > torch.from_numpy(t)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (1 - low).numpy()


def test_a_shift_is_the_papers():
    """t' = s t / (1 + (s - 1) t), arXiv 2403.03206, equation 23 with sqrt(m / n) = s."""
    moved = timesteps.shifted(torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64), 3.0)
    assert moved.tolist() == pytest.approx([0, 0.5, 0.75, 1])
    assert timesteps.shifted(torch.tensor([0.3]), 1.0).item() == pytest.approx(0.3)


@pytest.mark.parametrize("side, mu", [(32, 0.5), (128, 1.15), (64, 0.5 + 0.65 * 768 / 3840)])
def test_the_shift_of_a_size_is_fluxs(side, mu):
    """256, 4096 and 1024 tokens: pictures of 256, 1024 and 512 pixels."""
    assert timesteps.shift_of_size(side, side) == pytest.approx(math.exp(mu))
