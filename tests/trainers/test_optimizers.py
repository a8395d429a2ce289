import math

import pytest
import torch

from isengard.trainers import optimizers
from isengard.trainers.config import OptimizerConfig


def rates(steps, **settings):
    """The learning rate of every step."""
    config = OptimizerConfig(learning_rate=1.0, **settings)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = optimizers.adamw([parameter], config)
    schedule = optimizers.schedule(optimizer, config, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.ones(1)
        optimizer.step()
        schedule.step()
    return seen


def test_constant():
    assert rates(steps=5, lr_schedule="constant") == [1.0] * 5


def test_linear_falls_evenly():
    assert rates(steps=4, lr_schedule="linear") == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_cosine_is_half_a_wave():
    expected = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates(steps=8, lr_schedule="cosine") == pytest.approx(expected)


def test_restarts_are_so_many_half_waves():
    wave = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates(steps=12, lr_schedule="restarts", restarts=3) == pytest.approx(wave * 3)
    uneven = rates(steps=10, lr_schedule="restarts", restarts=3)
    assert [step for step, rate in enumerate(uneven) if rate == 1.0] == [0, 4, 8]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "restarts"])
def test_warmup_rises_evenly_and_then_the_schedule_starts_at_its_peak(schedule):
    seen = rates(steps=12, lr_schedule=schedule, warmup_steps=4)
    assert seen[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert seen[4:] == pytest.approx(rates(steps=8, lr_schedule=schedule))
