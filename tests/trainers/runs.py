"""Short runs of the loop on a small real network."""

from __future__ import annotations

import dataclasses

import torch

from isengard.trainers import loop
from isengard.trainers.batch import Examples
from isengard.trainers.config import (
    AdapterConfig,
    DataConfig,
    OptimizerConfig,
    TrainConfig,
)

from .tiny import TinyBase, pictures

CONFIG = TrainConfig(
    steps=30,
    seed=11,
    adapter=AdapterConfig(rank=4),
    optimizer=OptimizerConfig(learning_rate=1e-2),
    data=DataConfig(batch_size=2),
)


def changed(config=CONFIG, **groups) -> TrainConfig:
    """The config with some settings changed: of a group by a dictionary, else by value."""
    values = {
        name: dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
        for name, value in groups.items()
    }
    return dataclasses.replace(config, **values)


def train(config=CONFIG, base=None, examples=None, report=lambda progress: None, saved=None, **watched):
    watch = loop.Watch(report, **watched)
    return loop.train(base or TinyBase(), examples or Examples(pictures()), config, watch, saved)


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[path][end], second[path][end]) for path in first for end in first[path]
    )


class Stop(Exception):
    pass


def stopped_at(step: int, error=Stop):
    def report(progress):
        if progress.step == step:
            raise error

    return report
