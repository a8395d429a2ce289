"""How a group of settings becomes the inputs of a node, and comes back from them."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...trainers import setting
from ...trainers.config import TrainConfig

KEEP = "as before"  # of a choice: the setting stays as the config has it
FLAGS = {"on": True, "off": False}


def kept(kind: type, name: str) -> Any:
    """The value of an input that leaves a setting as it is: of numbers 0, or one below all where that may be meant."""
    limits = setting.limits(kind, name)
    if limits.kind in ("choice", "flag"):
        return KEEP
    if limits.kind in ("text", "texts"):
        return ""
    below = 0 if limits.low > 0 else limits.low - 1
    return int(below) if limits.kind == "whole" else float(below)


def with_group(config: TrainConfig | None, name: str, kind: type, inputs: dict[str, Any]) -> TrainConfig:
    """The config with those settings of a group changed that a node was given; without a config, over the defaults.

    kind: the group's class. Settings that hold several texts come as one text with one a line.
    """
    before = config or TrainConfig()
    group = dataclasses.replace(getattr(before, name), **given(kind, inputs))
    return dataclasses.replace(before, **{name: group})


def with_settings(config: TrainConfig | None, inputs: dict[str, Any]) -> TrainConfig:
    """The config with those settings changed that belong to no group and that a node was given."""
    return dataclasses.replace(config or TrainConfig(), **given(TrainConfig, inputs))


def given(kind: type, inputs: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not kept, as the config has them."""
    return {
        name: _value(setting.limits(kind, name).kind, value)
        for name, value in inputs.items()
        if value != kept(kind, name)
    }


def _value(kind: str, value: Any) -> Any:
    if kind == "flag":
        return FLAGS[value]
    return lines(value) if kind == "texts" else value


def lines(text: str) -> tuple[str, ...]:
    """The lines of a text that have anything in them."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def with_preset(preset: TrainConfig, batch_size: int, resolution: int) -> TrainConfig:
    """The preset with a batch size and a resolution of one's own, where they are not 0."""
    own = {name: value for name, value in (("batch_size", batch_size), ("resolution", resolution)) if value}
    return dataclasses.replace(preset, data=dataclasses.replace(preset.data, **own))


def with_train_inputs(
    config: TrainConfig | None, steps: int, learning_rate: float, rank: int, seed: int
) -> TrainConfig:
    """The config with what the Train node itself asks for; 0 leaves a setting as the config has it. Raises ConfigError
    for a warm-up of all its steps."""
    before = config or TrainConfig()
    adapter = before.adapter
    if rank:  # another rank keeps the strength: alpha / rank stays, or alpha / sqrt(rank)
        power = 0.5 if adapter.scaling == "rslora" else 1.0
        adapter = dataclasses.replace(adapter, rank=rank, alpha=adapter.alpha * (rank / adapter.rank) ** power)
    config = dataclasses.replace(
        before,
        steps=steps or before.steps,
        seed=seed,
        adapter=adapter,
        optimizer=dataclasses.replace(before.optimizer, learning_rate=learning_rate or before.optimizer.learning_rate),
    )
    config.check_warmup()
    return config
