"""What both trainings of the demo base share: steps for a while, then a state on disk from which they go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR

SAVE_SECONDS = 120
REPORT_STEPS = 100


class State:
    """Named things with `state_dict`, and the number of steps done; kept in one file."""

    def __init__(self, file: Path, **parts: Any):
        self.file, self.parts, self.step = file, parts, 0
        if file.exists():
            saved = torch.load(file, map_location="cpu", weights_only=True)
            self.step = saved.pop("step")
            for name, part in parts.items():
                part.load_state_dict(saved[name])

    def save(self) -> None:
        """Writes beside the file and moves into place."""
        partial = self.file.with_suffix(".partial")
        torch.save({name: part.state_dict() for name, part in self.parts.items()} | {"step": self.step}, partial)
        partial.replace(self.file)


def run(state: State, steps: int, seconds: float, advance: Callable[[int], Tensor]) -> Iterator[dict[str, float]]:
    """Calls `advance(step)` until `steps` are done or the seconds are over; saves at intervals and at the end.

    Yields step, mean loss and seconds a step every REPORT_STEPS. Raises FloatingPointError, with the last good state on
    disk, when the loss is not finite.
    """
    began = saved = marked = time.monotonic()
    losses: list[Tensor] = []
    while state.step < steps and time.monotonic() - began < seconds:
        losses.append(advance(state.step))
        state.step += 1
        if len(losses) == REPORT_STEPS or state.step == steps:
            now, mean, count = time.monotonic(), _finite_mean(losses, state), len(losses)
            if now - saved > SAVE_SECONDS:
                state.save()
                saved = now
            yield {"step": state.step, "loss": mean, "seconds_per_step": (now - marked) / count}
            losses, marked = [], now
    _finite_mean(losses, state)
    state.save()


def _finite_mean(losses: list[Tensor], state: State) -> float:
    mean = float(torch.stack(losses).mean()) if losses else 0.0
    if not math.isfinite(mean):
        raise FloatingPointError(f"The loss was not finite before step {state.step}; {state.file} is from before.")
    return mean


def warmup_cosine(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> SequentialLR:
    """Linear warm-up, then a cosine to a hundredth of the rate."""
    lowest = min(group["lr"] for group in optimizer.param_groups) * 0.01  # before LinearLR, which sets them at once
    rise = LinearLR(optimizer, 0.01, 1.0, warmup)
    fall = CosineAnnealingLR(optimizer, steps - warmup, lowest)
    return SequentialLR(optimizer, [rise, fall], [warmup])


def warmup_hold_decay(optimizer: torch.optim.Optimizer, warmup: int, steps: int, decay_share: float = 0.2) -> LambdaLR:
    """Linear warm-up, the full rate, and a linear fall to 0 over the last share of the steps (arXiv 2405.18392): unlike
    with a cosine, a run can be prolonged as long as its fall has not begun."""
    return LambdaLR(
        optimizer, lambda step: max(0.0, min((step + 1) / warmup, (steps - step) / (decay_share * steps), 1.0))
    )


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for kept, new in pairs:
        kept.lerp_(new, 1 - decay)
