"""How a group of settings becomes the inputs of a node, and comes back from them."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...trainers.config import TrainConfig


def with_group(config: TrainConfig | None, name: str, kind: type, settings: dict[str, Any]) -> TrainConfig:
    """The config with some settings of a group changed, as a node has them; without a config, over the defaults.

    kind: the group's class. Settings that hold several texts come as one text with one a line.
    """
    before = config or TrainConfig()
    own = {
        key: lines(value) if isinstance(value, str) and isinstance(getattr(kind(), key), tuple) else value
        for key, value in settings.items()
    }
    return dataclasses.replace(before, **{name: dataclasses.replace(getattr(before, name), **own)})


def with_settings(config: TrainConfig | None, settings: dict[str, Any]) -> TrainConfig:
    """The config with some of the settings changed that belong to no group."""
    return dataclasses.replace(config or TrainConfig(), **settings)


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
    """The config with what the Train node itself asks for; 0 leaves a setting as the config has it."""
    before = config or TrainConfig()
    adapter = before.adapter
    if rank:  # another rank keeps the strength: alpha / rank stays
        adapter = dataclasses.replace(adapter, rank=rank, alpha=adapter.alpha * rank / adapter.rank)
    return dataclasses.replace(
        before,
        steps=steps or before.steps,
        seed=seed,
        adapter=adapter,
        optimizer=dataclasses.replace(before.optimizer, learning_rate=learning_rate or before.optimizer.learning_rate),
    )
