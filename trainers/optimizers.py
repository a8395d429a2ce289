"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

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
    """Trained parameters as one tensor, `value`, for what treats all of them alike: clipping and the optimizer are one
    operation instead of one for each of hundreds of small matrices. Each parameter becomes a view of its part."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self._parts: Sequence[nn.Parameter] = list(parameters)
        self.value = nn.Parameter(torch.cat([part.detach().flatten() for part in self._parts]))
        values = self.value.detach().split([part.numel() for part in self._parts])
        for part, value in zip(self._parts, values, strict=True):
            part.data = value.view(part.shape)

    def gather_gradients(self) -> None:
        """Move the parts' gradients to the whole; 0 for a part that has none."""
        gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in self._parts]
        self.value.grad = torch.cat([gradient.flatten() for gradient in gradients])
        for part in self._parts:
            part.grad = None


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
