"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from .config import TrainConfig


def adamw(parameters: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101), fused, with state in the dtype of the parameters (float32)."""
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def schedule(optimizer: torch.optim.Optimizer, config: TrainConfig) -> LRScheduler:
    """Linear warm-up over `warmup_steps`, then constant, cosine or linear to zero over the steps that are left."""
    main = _after_warmup(optimizer, config.lr_schedule, config.steps - config.warmup_steps)
    if not config.warmup_steps:
        return main
    warmup = LinearLR(optimizer, start_factor=1 / (config.warmup_steps + 1), total_iters=config.warmup_steps)
    return SequentialLR(optimizer, [warmup, main], milestones=[config.warmup_steps])


def _after_warmup(optimizer: torch.optim.Optimizer, name: str, steps: int) -> LRScheduler:
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if name == "linear":
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    return ConstantLR(optimizer, factor=1.0)
