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


SHAPES = ((2, 3), (4,), (3, 1, 2))


def parts() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(5)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_parameters_move_in_one_piece_as_they_would_alone():
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.3)
    alone, together = parts(), parts()
    flat = optimizers.Flat(together)
    of_alone, of_flat = optimizers.adamw(alone, config), optimizers.adamw([flat.value], config)
    for step in range(3):
        for one, other, gradient in zip(alone, together, gradients(step), strict=True):
            one.grad = gradient
            (other * gradient).sum().backward()
        of_alone.step()
        of_flat.step()
        of_flat.zero_grad(set_to_none=False)
    assert not torch.equal(alone[0], parts()[0])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_what_is_written_into_a_part_is_in_the_whole():
    together = parts()
    flat = optimizers.Flat(together)
    with torch.no_grad():
        together[1].fill_(7.0)
    assert (flat.value == 7.0).sum() == 4


def test_a_part_that_no_backward_pass_reached_has_the_gradient_0():
    together = parts()
    flat = optimizers.Flat(together)
    for _ in range(2):  # as with accumulation
        together[0].sum().backward()
    assert flat.value.grad.tolist() == [2.0] * 6 + [0.0] * 10
