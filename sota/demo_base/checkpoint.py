"""What both trainings of the demo base share: steps for a while, then a state on disk from which they go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ...trainers import state_file

SAVE_SECONDS = 120
REPORT_STEPS = 100
FALL = 0.2  # share of the steps over which the rate falls


class CannotGoOn(ValueError):
    """A training cannot go on as it was asked to; the message says why, and what to do."""


class State:
    """Named things with `state_dict`, kept in one file with the steps done and those planned.

    Raises CannotGoOn where the file's plan had come to its fall and `steps` is another.
    """

    def __init__(self, file: Path, steps: int, **parts: Any):
        self.file, self.steps, self.parts, self.step = file, steps, parts, 0
        if file.exists():
            saved = state_file.load(file)
            self.step, planned = saved["step"], saved["steps"]
            if self.step < steps != planned and self.step > (1 - FALL) * planned:
                raise CannotGoOn(
                    f"{file} is at step {self.step} of {planned}, where the rate falls to 0; it cannot go on to "
                    f"{steps}. Ask for {planned} steps, or move the file away to begin anew."
                )
            for name, part in parts.items():
                part.load_state_dict(saved[name])

    def save(self) -> None:
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        state_file.save(self.file, parts | {"step": self.step, "steps": self.steps})


def run(state: State, seconds: float, advance: Callable[[int], Tensor]) -> Iterator[dict[str, float]]:
    """Calls `advance(step)` until the planned steps or the seconds are over; saves at intervals and at the end.

    Yields step, mean loss and seconds a step every REPORT_STEPS. Raises CannotGoOn, with the last good state on disk,
    when the loss is not finite.
    """
    if state.step >= state.steps:
        return  # a state that has more steps than were asked for keeps its own plan
    began = saved = marked = time.monotonic()
    losses: list[Tensor] = []
    while state.step < state.steps and time.monotonic() - began < seconds:
        losses.append(advance(state.step))
        state.step += 1
        if len(losses) == REPORT_STEPS or state.step == state.steps:
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
        raise CannotGoOn(
            f"the loss was not finite before step {state.step}; {state.file} is from before. The same settings would "
            "come to the same end: lower the learning rate in the training's settings, and begin anew."
        )
    return mean


def warmup_hold_decay(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> LambdaLR:
    """Linear warm-up, the full rate, and a linear fall to 0 over the last share of the steps (arXiv 2405.18392): unlike
    with a cosine, a run can be prolonged as long as its fall has not begun."""
    return LambdaLR(optimizer, lambda step: max(0.0, min((step + 1) / warmup, (steps - step) / (FALL * steps), 1.0)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for kept, new in pairs:
        kept.lerp_(new, 1 - decay)
