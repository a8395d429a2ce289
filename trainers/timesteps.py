"""Where in the noise schedule a training step looks.

A position u in (0, 1) runs from clean (0) to pure noise (1). Every density here is a free function with
the same arguments: the number of positions and a torch Generator on the CPU.
"""

from __future__ import annotations

import torch


def uniform(count: int, generator: torch.Generator) -> torch.Tensor:
    """Every position equally likely, as in DDPM (arXiv 2006.11239, algorithm 1)."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


def logit_normal(count: int, generator: torch.Generator) -> torch.Tensor:
    """sigmoid of a standard normal: the middle of the schedule more often (arXiv 2403.03206, section 3.1)."""
    return torch.sigmoid(torch.randn(count, generator=generator, dtype=torch.float64))


SHIFTED = "shifted"  # logit-normal, at the noise levels that the model's sampler would take for these positions
_DENSITIES = {"uniform": uniform, "logit_normal": logit_normal, SHIFTED: logit_normal}


def draw_positions(sampling: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` positions in the noise schedule, float64, by the density named `sampling`."""
    return _DENSITIES[sampling](count, generator)
