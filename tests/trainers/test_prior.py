"""Prior preservation in the loop: others are held as the base draws them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch

from isengard.trainers import batch, draws, loop
from isengard.trainers.batch import Examples
from isengard.trainers.config import (
    ObjectiveConfig,
    PriorConfig,
    TrainConfig,
)
from isengard.trainers.errors import TrainingError

from .runs import changed, same, train
from .tiny import TinyBase, pictures


class WithPrior(NamedTuple):
    native: float
    prior: float


def with_class_conditions() -> Examples:
    generator = torch.Generator().manual_seed(8)
    return Examples(
        tuple(
            dataclasses.replace(each, class_conditions=(torch.randn(16, generator=generator),)) for each in pictures()
        )
    )


def with_prior(weight: float, **changes) -> TrainConfig:
    return changed(prior=PriorConfig(weight, "mira"), **changes)


def trained_with_prior(weight: float) -> WithPrior:
    """Both losses after training, over ten fresh draws of noise."""
    examples, base = with_class_conditions(), TinyBase()
    config = with_prior(weight, steps=300, optimizer={"learning_rate": 5e-3})
    measured = []

    def measure(progress):
        if progress.step == 300:
            layers = dict(measured_layers(base))
            drawn = [[draws.Draw(place, 0, 10_000 + n) for place in range(5)] for n in range(10)]
            noisy = [examples.batch(each, base, with_prior(1.0)) for each in drawn]
            with torch.no_grad():
                native = sum(batch.native_loss(base, each, ObjectiveConfig()).item() for each in noisy)
                prior = sum(loop.prior_loss(base, layers, each).item() for each in noisy)
            measured.append(WithPrior(native, prior))

    train(config, base, examples, report=measure)
    return measured[0]


def measured_layers(base):
    return [(path, module) for path, module in base.network.named_modules() if hasattr(module, "base_layer")]


def test_prior_preservation_holds_what_the_base_answers_without_the_trigger():
    """Measured on noise of its own; without preservation the answers to the class's captions move with the others."""
    free, held = trained_with_prior(0.0), trained_with_prior(3.0)
    assert held.prior < 0.3 * free.prior
    assert held.native < 1.2 * free.native


def test_the_prior_loss_is_reported_and_begins_at_zero():
    """The adapters start with nothing; a step without prior preservation has none to report."""
    first, *_, last = train(with_prior(1.0), examples=with_class_conditions()).metrics
    assert first.prior_loss == 0.0
    assert last.prior_loss > 0.0
    assert all(entry.prior_loss is None for entry in train(examples=with_class_conditions()).metrics)


def test_pissa_with_averages_and_prior_preservation_trains_its_own_parameters_alone():
    """What takes its beginning off again is no parameter, before and after the base was asked."""
    config = with_prior(1.0, steps=4, adapter={"initialisation": "pissa"}, optimizer={"ema_decay": 0.9})
    frozen = []

    def look(progress):
        layers = dict(measured_layers(base))
        frozen.append(
            {
                name: each.clone()
                for path, layer in layers.items()
                for name, each in layer.named_parameters()
                if "initial" in name
            }
        )
        assert not any(each.grad is not None for layer in layers.values() for name, each in layer.named_parameters()
                       if "initial" in name)  # fmt: skip

    base = TinyBase()
    train(config, base, with_class_conditions(), look)
    assert all(torch.equal(frozen[0][name], frozen[-1][name]) for name in frozen[0])
    assert frozen[0]


def test_prior_preservation_that_is_off_changes_nothing():
    assert same(train(with_prior(0.0), examples=with_class_conditions()).weights, train().weights)
    assert not same(train(with_prior(1.0), examples=with_class_conditions()).weights, train().weights)


def test_a_prior_loss_that_is_not_finite_stops_the_run():
    examples = with_class_conditions()
    examples.trained[0].class_conditions[0][0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1, on picture 0"):
        train(with_prior(1.0), examples=Examples(examples.trained[:1]))


def test_a_gradient_scaled_for_float16_is_not_lost():
    """Scaled down by 1e-6, the gradients of a float16 network are all zero unless the loss is scaled up."""
    base = TinyBase()
    base.network.half()
    base.network.out.weight.mul_(1e-6)
    base.dtype = torch.float16
    base.predict = lambda x, sigma, conditions: base.network(x.half(), sigma.half(), torch.stack(conditions).half())
    trained = train(with_prior(1.0), base, with_class_conditions())
    ups = [ends["lora_up.weight"] for ends in trained.weights.values()]
    assert all(up.any() and torch.isfinite(up).all() for up in ups)
