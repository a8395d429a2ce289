import dataclasses

import pytest

from isengard.trainers.config import ConfigError, TrainConfig


def test_yaml_gives_back_an_equal_value():
    config = TrainConfig(
        steps=7, learning_rate=3e-5, rank=4, alpha=2.5, seed=2**64 - 1, lr_schedule="linear", trigger="ohwx: é"
    )
    assert TrainConfig.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize(
    "change, words",
    [
        ({"steps": 0}, ["steps is 0", "from 1"]),
        ({"steps": 2.5}, ["steps is 2.5", "whole number"]),
        ({"steps": True}, ["steps is True"]),
        ({"learning_rate": float("nan")}, ["learning_rate is nan"]),
        ({"learning_rate": "1e-4"}, ["learning_rate is '1e-4'", "a number"]),
        ({"rank": -1}, ["rank is -1"]),
        ({"alpha": 0}, ["alpha is 0"]),
        ({"resolution": 130}, ["resolution is 130", "multiple of 8", "128"]),
        ({"targets": "everything"}, ["targets is 'everything'", "all_linear"]),
        ({"timestep_sampling": "beta"}, ["timestep_sampling", "logit_normal"]),
        ({"lr_schedule": "step"}, ["lr_schedule", "cosine"]),
        ({"prior_loss_weight": 1.0, "trigger": " "}, ["prior_loss_weight is 1", "trigger is empty"]),
        ({"trigger": None}, ["trigger is None", "text"]),
        ({"class_noun": 5}, ["class_noun is 5", "text"]),
        ({"steps": 5, "warmup_steps": 5}, ["warmup_steps is 5", "steps is 5"]),
    ],
)
def test_a_bad_setting_is_named_with_what_to_do(change, words):
    with pytest.raises(ConfigError) as raised:
        TrainConfig(**change)
    assert all(word in str(raised.value) for word in words), str(raised.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("steps: 5\nstepps: 6\n", ["unknown setting stepps", "steps"]),
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
