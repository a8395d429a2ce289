"""Settings nodes change what they are given, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from isengard.nodes.settings import groups
from isengard.sota import registry
from isengard.trainers import setting
from isengard.trainers.config import (
    AdapterConfig,
    DataConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PriorConfig,
    TrainConfig,
    ValidationConfig,
)

GROUPS = {
    "adapter": AdapterConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
    "prior": PriorConfig,
    "validation": ValidationConfig,
}
PRESETS = [preset for family in registry.families().values() for preset in family.presets.values()]


def untouched(kind: type) -> dict:
    """What a node gives where nothing was set."""
    fields = [field.name for field in dataclasses.fields(kind) if "limits" in field.metadata]
    return {name: groups.kept(kind, name) for name in fields}


@pytest.mark.parametrize("name", GROUPS)
def test_a_node_that_was_not_touched_changes_no_preset(name):
    for preset in PRESETS:
        assert groups.with_group(preset, name, GROUPS[name], untouched(GROUPS[name])) == preset
        assert groups.with_settings(preset, untouched(TrainConfig)) == preset


@pytest.mark.parametrize("name", GROUPS)
def test_what_is_kept_is_no_value_that_could_be_set(name):
    kind = GROUPS[name]
    for field in dataclasses.fields(kind):
        limits, keep = setting.limits(kind, field.name), groups.kept(kind, field.name)
        if limits.kind in ("whole", "number"):
            assert keep < limits.low
        elif limits.kind == "choice":
            assert keep not in limits.choices


def test_one_setting_of_a_group_is_changed_alone():
    preset = registry.families()["sdxl"].presets["standard"]
    changed = groups.with_group(preset, "data", DataConfig, untouched(DataConfig) | {"batch_size": 4, "shuffle": "on"})
    assert changed == dataclasses.replace(preset, data=dataclasses.replace(preset.data, batch_size=4, shuffle=True))
    assert changed.data.crop == "buckets"


def test_zero_is_a_value():
    preset = registry.families()["sdxl"].presets["standard"]
    inputs = untouched(DataConfig) | {"caption_dropout": 0.0}
    assert preset.data.caption_dropout > 0
    assert groups.with_group(preset, "data", DataConfig, inputs).data.caption_dropout == 0


def test_several_texts_come_one_a_line():
    inputs = untouched(AdapterConfig) | {"include": "attn\n\n  mlp \n"}
    assert groups.with_group(None, "adapter", AdapterConfig, inputs).adapter.include == ("attn", "mlp")


def test_the_train_node_leaves_at_0_what_the_config_has():
    preset = registry.families()["sdxl"].presets["standard"]
    assert groups.with_train_inputs(preset, 0, 0.0, 0, 0) == preset
    changed = groups.with_train_inputs(preset, 7, 0.5, 8, 3)
    assert (changed.steps, changed.seed, changed.optimizer.learning_rate) == (7, 3, 0.5)


def test_another_rank_keeps_the_strength():
    preset = registry.families()["sdxl"].presets["standard"]
    changed = groups.with_train_inputs(preset, 0, 0.0, 8, 0).adapter
    assert changed.rank == 8
    assert changed.scaled_by / changed.rank == preset.adapter.scaled_by / preset.adapter.rank


def test_another_rank_keeps_the_strength_of_rslora():
    """alpha over the square root of the rank."""
    config = TrainConfig(adapter=AdapterConfig(rank=32, alpha=16.0, scaling="rslora"))
    assert groups.with_train_inputs(config, 0, 0.0, 128, 0).adapter.alpha == pytest.approx(32.0)
    by_rank = TrainConfig(adapter=AdapterConfig(rank=32, scaling="rslora"))
    assert groups.with_train_inputs(by_rank, 0, 0.0, 128, 0).adapter.alpha == 0.0, "as the rank, whatever it is"


def test_a_warm_up_is_judged_by_the_steps_of_the_run():
    """Not by those of a preset, which the Train node changes."""
    inputs = untouched(OptimizerConfig) | {"warmup_steps": 1000}
    config = groups.with_group(registry.families()["sdxl"].presets["draft"], "optimizer", OptimizerConfig, inputs)
    assert groups.with_train_inputs(config, 5000, 0.0, 0, 0).optimizer.warmup_steps == 1000
    with pytest.raises(setting.ConfigError, match="warmup_steps is 1000 and steps is 600"):
        groups.with_train_inputs(config, 0, 0.0, 0, 0)


def test_a_preset_takes_a_batch_and_a_resolution_of_ones_own():
    preset = registry.families()["sd15"].presets["draft"]
    assert groups.with_preset(preset, 0, 0) == preset
    changed = groups.with_preset(preset, 3, 256).data
    assert (changed.batch_size, changed.resolution, changed.crop) == (3, 256, "buckets")
