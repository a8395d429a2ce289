"""Where in the noise schedule a training step looks.

A position u in [0, 1) runs from clean (0) to pure noise (1). A density draws positions; a shift moves them towards the
noise, as samplers do. Every density is a free function with the same arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .config import ObjectiveConfig

_FIRST, _LAST = 1e-5, 1 - 2**-53  # nearer to clean, targets are lost in rounding; the largest float64 below 1

Density = Callable[[int, torch.Generator, ObjectiveConfig], Tensor]


def draw_positions(objective: ObjectiveConfig, count: int, generator: torch.Generator) -> Tensor:
    """`count` positions by the config's density, float64. generator: on the CPU."""
    return _DENSITIES[objective.timestep_sampling](count, generator, objective).clamp(_FIRST, _LAST)


def uniform(count: int, generator: torch.Generator, objective: ObjectiveConfig) -> Tensor:
    """Every position equally likely, as in DDPM (arXiv 2006.11239, algorithm 1)."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


def logit_normal(count: int, generator: torch.Generator, objective: ObjectiveConfig) -> Tensor:
    """sigmoid of a normal variable: the middle of the schedule more often (arXiv 2403.03206, section 3.1)."""
    drawn = torch.randn(count, generator=generator, dtype=torch.float64)
    return torch.sigmoid(objective.logit_mean + objective.logit_std * drawn)


def mode(count: int, generator: torch.Generator, objective: ObjectiveConfig) -> Tensor:
    """Heavy tails, and a mode in the middle for a positive scale (arXiv 2403.03206, equation 20)."""
    u = uniform(count, generator, objective)
    return 1 - u - objective.mode_scale * ((math.pi / 2 * u).cos().square() - 1 + u)


def beta(count: int, generator: torch.Generator, objective: ObjectiveConfig) -> Tensor:
    """A beta distribution: alpha below beta looks at the clean end more often (arXiv 2407.12173 of samplers)."""
    seed = torch.randint(2**63 - 1, (), generator=generator).item()
    return torch.from_numpy(np.random.default_rng(seed).beta(objective.beta_a, objective.beta_b, count))


_DENSITIES: dict[str, Density] = {"uniform": uniform, "logit_normal": logit_normal, "mode": mode, "beta": beta}


def shifted(positions: Tensor, shift: float) -> Tensor:
    """Positions moved towards the noise by a factor (arXiv 2403.03206, equation 23): above 1 more noise, 1 nothing."""
    return shift * positions / (1 + (shift - 1) * positions)


def shift_of_size(height: int, width: int, patch_size: int = 2) -> float:
    """Flux's shift for a latent of that size: its logarithm is linear in the tokens (of patch_size² latent pixels), 0.5
    at 256 of them and 1.15 at 4096 (`get_schedule` in black-forest-labs/flux, src/flux/sampling.py)."""
    tokens = height * width / patch_size**2
    return math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))
