"""Runs that are killed, as when the power fails, and go on: the same numbers bit for bit, whenever it happens."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
import sys

import pytest
import torch

from isengard.trainers import loop, lora_file
from isengard.trainers.config import TrainConfig
from isengard.trainers.run_folder import CHECKPOINTS, METRICS, RESULT, RunFolder

from .runs import same
from .test_resume import EVERYTHING, everything
from .tiny import TinyBase

KEY = "0" * 64
CONFIG = dataclasses.replace(EVERYTHING, steps=24, checkpoint_every=3)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes")


def go_on(root, report=lambda progress: None, config: TrainConfig = CONFIG) -> loop.Trained:
    torch.set_num_threads(1)
    place = RunFolder(root, "mira", KEY, config)
    watch = loop.Watch(report, place.keep, lambda step, weights: place.keep_lora(step, named(weights)))
    trained = loop.train(TinyBase(), everything(), config, watch, place.saved())
    place.finish(trained)
    return trained


def named(weights: loop.Weights) -> dict[str, torch.Tensor]:
    return lora_file.kohya_state_dict(weights, {path: path for path in weights})


def checkpoints(root) -> dict[str, dict[str, torch.Tensor]]:
    return {file.name: lora_file.load(file) for file in sorted(root.glob("*/checkpoints/*"))}


def train_and_tell(root, steps) -> None:
    go_on(root, lambda progress: steps.send(progress.step))


def killed(root, step: int, delay: float) -> int:
    """Train in a process of its own and kill it a moment after a step was told; the step it was at."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=train_and_tell, args=(root, sending))
    process.start()
    told = 0
    while told < step:
        told = receiving.recv()
    process.join(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return told


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    threads = torch.get_num_threads()
    root = tmp_path_factory.mktemp("whole")
    yield go_on(root), checkpoints(root)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("step", range(1, 21))
def test_a_killed_run_goes_on_to_the_same_numbers(step, tmp_path, whole):
    """Dropout, shuffled order, averages, accumulation, validation and checkpoints included."""
    killed(tmp_path, step, random.Random(step).uniform(0, 0.01))
    steps = []
    rest = go_on(tmp_path, lambda progress: steps.append(progress.step))
    assert steps == list(range(steps[0], 25))
    assert steps[0] >= step - CONFIG.checkpoint_every, "more was lost than since the last saved state"
    uninterrupted, kept = whole
    assert same(rest.weights, uninterrupted.weights)
    for ours, theirs in zip(rest.metrics, uninterrupted.metrics, strict=True):
        assert dataclasses.replace(ours, seconds=0) == dataclasses.replace(theirs, seconds=0)
    (place,) = tmp_path.iterdir()
    assert sorted(file.name for file in place.iterdir()) == [CHECKPOINTS, "config.yaml", METRICS, RESULT]
    assert same(checkpoints(tmp_path), kept), "leftovers, or other numbers"
    assert list(kept) == [f"step_{step:06}.safetensors" for step in range(3, 25, 3)]
