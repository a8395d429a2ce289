"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    SequentialLR,
)

from .config import OptimizerConfig


class Flat:
    """Trained parameters as one tensor, `value`, which is clipped and optimized in one operation instead of one for
    each of many small matrices. Every parameter, and its gradient, becomes a view of a part of it; a parameter that no
    backward pass reached has the gradient 0."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        parts = list(parameters)
        self.value = nn.Parameter(torch.cat([part.detach().flatten() for part in parts]))
        self.value.grad = torch.zeros_like(self.value)
        sizes = [part.numel() for part in parts]
        views = zip(parts, self.value.detach().split(sizes), self.value.grad.split(sizes), strict=True)
        for part, value, gradient in views:
            part.data, part.grad = value.view(part.shape), gradient.view(part.shape)


def adamw(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101), fused, with state in the dtype of the parameters (float32)."""
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def schedule(optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int) -> LRScheduler:
    """Linear warm-up over `warmup_steps`, then the schedule of the config over the steps that are left."""
    main = _after_warmup(optimizer, config, steps - config.warmup_steps)
    if not config.warmup_steps:
        return main
    warmup = LinearLR(optimizer, start_factor=1 / (config.warmup_steps + 1), total_iters=config.warmup_steps)
    return SequentialLR(optimizer, [warmup, main], milestones=[config.warmup_steps])


def _after_warmup(optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int) -> LRScheduler:
    if config.lr_schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if config.lr_schedule == "restarts":
        return CosineAnnealingWarmRestarts(optimizer, T_0=math.ceil(steps / config.restarts))
    if config.lr_schedule == "linear":
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    return ConstantLR(optimizer, factor=1.0)
