import math

import pytest
import torch

from isengard.trainers.config import TIMESTEP_SAMPLINGS
from isengard.trainers.timesteps import draw_positions


def positions(sampling, seed=0):
    return draw_positions(sampling, 20_000, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sampling", TIMESTEP_SAMPLINGS)
def test_positions_are_inside_the_schedule_and_seeded(sampling):
    drawn = positions(sampling)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert torch.equal(drawn, positions(sampling))
    assert not torch.equal(drawn, positions(sampling, seed=1))


@pytest.mark.parametrize("sampling", TIMESTEP_SAMPLINGS)
def test_densities_match_their_distribution_functions(sampling):
    """Kolmogorov's distance to the distribution function, written out here; 1.95/sqrt(n) is passed once in 1000."""

    def distribution(u):
        return u if sampling == "uniform" else 0.5 * (1 + math.erf(math.log(u / (1 - u)) / math.sqrt(2)))

    drawn = positions(sampling).sort().values
    expected = torch.tensor([distribution(float(u)) for u in drawn], dtype=torch.float64)
    observed = torch.arange(1, len(drawn) + 1, dtype=torch.float64) / len(drawn)
    assert (observed - expected).abs().max() < 1.95 / math.sqrt(len(drawn))
