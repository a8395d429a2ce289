"""Trainings of the demo base that stop and go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isengard.sota.demo_base import autoencoder, checkpoint, diffusion, drawing
from isengard.trainers import state_file

STEPS = 4


def autoencoder_steps(file):
    pictures = np.random.default_rng(0).integers(0, 256, (8, drawing.SIZE, drawing.SIZE, 3), np.uint8)
    config = autoencoder.AutoencoderConfig(steps=STEPS, batch=2, crop=16, warmup=2)
    return autoencoder.train(pictures, config, file, torch.device("cpu"), float("inf"))


def diffusion_steps(file):
    generator = np.random.default_rng(0)
    shapes = (8, 16, 4, 4), (9, 77, 768), (9, 768)
    examples = diffusion.Examples(*(generator.standard_normal(shape, np.float32) for shape in shapes))
    config = diffusion.DiffusionConfig(steps=STEPS, batch=2, warmup=2)
    return diffusion.train(examples, config, file, torch.device("cpu"), float("inf"), compiled=False)


@pytest.mark.comfyui
@pytest.mark.parametrize("training", [autoencoder_steps, diffusion_steps])
def test_a_training_cut_off_goes_on_to_the_same_weights(training, comfy_model, tmp_path, monkeypatch):
    """Model, average, optimizers and schedules: all that is in the state file."""
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 2)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    torch.manual_seed(0)
    list(training(whole))
    torch.manual_seed(0)
    first = training(halves)
    assert next(first)["step"] == 2
    first.close()
    torch.manual_seed(1)  # fresh weights that must not be used
    assert [row["step"] for row in training(halves)] == [STEPS]
    states = [state_file.load(file) for file in (whole, halves)]
    for name, weight in states[0]["ema"].items():
        assert torch.equal(weight, states[1]["ema"][name]), name
    for name, weight in states[0]["model"].items():
        assert torch.equal(weight, states[1]["model"][name]), name


def test_a_training_that_diverges_keeps_the_last_good_state(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 1)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    model = torch.nn.Linear(1, 1)
    state = checkpoint.State(tmp_path / "state", 5, model=model)
    with pytest.raises(checkpoint.CannotGoOn, match="before step 3.*lower the learning rate"):
        list(checkpoint.run(state, float("inf"), lambda step: torch.tensor(float("nan") if step == 2 else 1.0)))
    assert state_file.load(state.file)["step"] == 2


def test_a_training_is_prolonged_before_its_rate_falls_and_refused_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 10)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    model = torch.nn.Linear(1, 1)

    def training(steps: int, made: list[float]):
        """Notes the rate of every step it makes."""
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        schedule = checkpoint.warmup_hold_decay(optimizer, 2, steps)
        state = checkpoint.State(tmp_path / "state", steps, model=model, optimizer=optimizer, schedule=schedule)

        def advance(step: int) -> torch.Tensor:
            made.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
            return torch.tensor(1.0)

        return checkpoint.run(state, float("inf"), advance)

    first, rest, nothing = [], [], []
    assert next(training(20, first))["step"] == 10
    list(training(5, nothing))
    assert nothing == [], "asked for fewer steps than were made; the plan stays as it was"
    assert first == [0.5] + [1.0] * 9
    list(training(40, rest))
    assert rest == pytest.approx([1.0] * 23 + [step / 8 for step in range(7, 0, -1)])
    with pytest.raises(checkpoint.CannotGoOn, match="at step 40 of 40.*cannot go on to 50.*Ask for 40"):
        training(50, nothing)
    list(training(40, nothing))
    assert nothing == []


def rates(schedule_of, steps: int) -> list[float]:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), 1.0)
    schedule = schedule_of(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_schedule_rises_and_falls_as_it_says():
    held = rates(lambda optimizer: checkpoint.warmup_hold_decay(optimizer, 10, 100), 101)
    assert held[0] == pytest.approx(0.1)
    assert held[9] == held[50] == held[80] == pytest.approx(1)
    assert held[90] == pytest.approx(0.5)
    assert held[100] == 0
