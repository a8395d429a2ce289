import dataclasses

import pytest

from isengard.trainers import setting
from isengard.trainers.config import (
    AdapterConfig,
    ConfigError,
    DataConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PriorConfig,
    TrainConfig,
    ValidationConfig,
)


def test_yaml_gives_back_an_equal_value():
    config = TrainConfig(
        steps=7,
        seed=2**64 - 1,
        adapter=AdapterConfig(kind="lokr", rank=4, alpha=2.5, include=("attn", r"\.q$"), ranks=("mlp=8",)),
        optimizer=OptimizerConfig(learning_rate=3e-5, lr_schedule="linear"),
        data=DataConfig(shuffle=True),
        prior=PriorConfig(1.0, "ohwx: é"),
    )
    assert TrainConfig.from_yaml(config.to_yaml()) == config


def test_what_yaml_leaves_out_has_its_default():
    expected = TrainConfig(steps=5, adapter=AdapterConfig(rank=2))
    assert TrainConfig.from_yaml("steps: 5\nadapter: {rank: 2}\n") == expected


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TrainConfig(steps=0), ["steps is 0", "from 1"]),
        (lambda: TrainConfig(steps=2.5), ["steps is 2.5", "whole number"]),
        (lambda: TrainConfig(steps=True), ["steps is True"]),
        (lambda: OptimizerConfig(learning_rate=float("nan")), ["learning_rate is nan"]),
        (lambda: OptimizerConfig(learning_rate="1e-4"), ["learning_rate is '1e-4'", "a number"]),
        (lambda: OptimizerConfig(lr_schedule="step"), ["lr_schedule", "cosine"]),
        (lambda: OptimizerConfig(ema_decay=1.0), ["ema_decay is 1.0", "to 0.99999"]),
        (lambda: AdapterConfig(rank=-1), ["rank is -1"]),
        (lambda: AdapterConfig(alpha=-1.0), ["alpha is -1"]),
        (lambda: AdapterConfig(targets="everything"), ["targets is 'everything'", "all_linear"]),
        (lambda: AdapterConfig(include="attn"), ["include is 'attn'", "list of texts"]),
        (lambda: AdapterConfig(include=("(",)), ["'('", "no regular expression"]),
        (lambda: AdapterConfig(ranks=("attn",)), ["ranks has 'attn'", "expression=rank"]),
        (lambda: AdapterConfig(ranks=("attn=0",)), ["ranks has 'attn=0'"]),
        (lambda: AdapterConfig(ranks=("(=4",)), ["'('", "no regular expression"]),
        (lambda: AdapterConfig(kind="dora", initialisation="pissa"), ["pissa", "kind is dora"]),
        (lambda: ObjectiveConfig(timestep_sampling="sometimes"), ["timestep_sampling", "logit_normal"]),
        (lambda: DataConfig(resolution=130), ["resolution is 130", "multiple of 8", "128"]),
        (lambda: DataConfig(bucket_step=12), ["bucket_step is 12", "multiple of 8"]),
        (lambda: DataConfig(shuffle=1), ["shuffle is 1", "true or false"]),
        (lambda: PriorConfig(1.0, " "), ["weight of prior preservation is 1", "trigger is empty"]),
        (lambda: PriorConfig(trigger=None), ["trigger is None", "text"]),
        (lambda: PriorConfig(class_noun=5), ["class_noun is 5", "text"]),
        (lambda: ValidationConfig(patience=3), ["patience", "validation is off"]),
        (lambda: TrainConfig(adapter={"rank": 2}), ["adapter is {'rank': 2}", "AdapterConfig"]),
        (
            lambda: TrainConfig(steps=5, optimizer=OptimizerConfig(warmup_steps=5)).check_warmup(),
            ["warmup_steps is 5", "steps is 5"],
        ),
    ],
)
def test_a_bad_setting_is_named_with_what_to_do(make, words):
    with pytest.raises(ConfigError) as raised:
        make()
    assert all(word in str(raised.value) for word in words), str(raised.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("steps: 5\nstepps: 6\n", ["unknown setting stepps", "steps"]),
        ("adapter: {rnk: 5}\n", ["unknown setting rnk in adapter", "rank"]),
        ("adapter: 5\n", ["adapter holds a int", "mapping"]),
        ("- 1\n- 2\n", ["list", "mapping"]),
        ("steps: [1\n", ["not valid YAML"]),
    ],
)
def test_bad_yaml_is_refused(text, words):
    with pytest.raises(ConfigError) as raised:
        TrainConfig.from_yaml(text)
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().steps = 2


@pytest.mark.parametrize("group", [TrainConfig, AdapterConfig, ObjectiveConfig, OptimizerConfig, DataConfig,
                                   PriorConfig, ValidationConfig])  # fmt: skip
def test_every_setting_says_what_it_may_be_and_its_default_is_that(group):
    for field in dataclasses.fields(group):
        if not dataclasses.is_dataclass(getattr(group(), field.name)):
            assert setting.limits(group, field.name).default == getattr(group(), field.name)
