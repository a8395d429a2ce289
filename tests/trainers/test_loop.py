"""The loop on a small real network: it learns, and repeats itself exactly."""

from __future__ import annotations

import pytest
import torch

from isengard.trainers import adapters, batch, draws, loop, session
from isengard.trainers.adapters import LowRank
from isengard.trainers.batch import Examples
from isengard.trainers.config import (
    ObjectiveConfig,
)
from isengard.trainers.errors import TrainingError

from .runs import CONFIG, changed, same, train
from .tiny import TinyBase, pictures

pytestmark = pytest.mark.usefixtures("one_thread")


def held_out_loss(base, count: int = 20) -> float:
    """With noise of its own, not that of the steps."""
    examples = Examples(pictures())
    draw = [[draws.Draw(place, 0, 10_000 + n) for place in range(5)] for n in range(count)]
    with torch.no_grad():
        noisy = [examples.batch(each, base, CONFIG) for each in draw]
        return sum(batch.native_loss(base, each, ObjectiveConfig()).item() for each in noisy) / count


def test_training_lowers_the_loss_on_the_same_noise():
    base, config = TinyBase(), changed(steps=200)
    before, after = held_out_loss(base), None

    def last(progress):
        nonlocal after
        if progress.step == config.steps:
            after = held_out_loss(base)

    train(config, base, report=last)
    assert after < 0.8 * before


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others():
    first, second = train(), train()
    assert same(first.weights, second.weights)
    assert [m.loss for m in first.metrics] == [m.loss for m in second.metrics]
    assert not same(first.weights, train(changed(seed=12)).weights)


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_global_random_state_changes_nothing_and_is_not_changed(kind, dropout):
    config, bases = changed(adapter={"dropout": dropout, "kind": kind}), (TinyBase(), TinyBase())
    torch.manual_seed(1)
    first = train(config, bases[0])
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert same(first.weights, train(config, bases[1]).weights)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_changes_what_is_learned():
    assert not same(train(changed(adapter={"dropout": 0.3})).weights, train().weights)


def test_accumulated_batches_are_one_large_batch():
    """Equal but for the order of the sums; what is accumulated too often or not divided is far off."""
    large = train(changed(data={"batch_size": 4}))
    small = train(changed(data={"batch_size": 1}, optimizer={"accumulation": 4}))
    for path, ends in large.weights.items():
        for end, weight in ends.items():
            torch.testing.assert_close(small.weights[path][end], weight, rtol=1e-5, atol=1e-6)
    assert [m.loss for m in small.metrics] == pytest.approx([m.loss for m in large.metrics], rel=1e-5)


def test_every_step_is_reported_with_its_numbers():
    seen = []
    trained = train(report=seen.append)
    assert tuple(seen) == trained.metrics
    assert [progress.step for progress in seen] == list(range(1, 31))
    assert seen[0].learning_rate == CONFIG.optimizer.learning_rate
    assert seen[-1].learning_rate < 0.01 * CONFIG.optimizer.learning_rate


def test_a_learning_rate_of_zero_learns_nothing():
    trained = train(changed(optimizer={"learning_rate": 0.0}))
    assert all(not ends["lora_up.weight"].any() for ends in trained.weights.values())


def test_the_average_follows_the_parameters():
    """Written out: e <- d e + (1 - d) p with a decay that is smaller while the average is young."""
    seen = []
    original = session.Session.update_average

    def noted(self):
        original(self)
        seen.append(adapters.state(self.layers))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Session, "update_average", noted)
        trained = train(changed(optimizer={"ema_decay": 0.9}))
    name = next(name for name in seen[0] if "lora_B" in name)
    average = torch.zeros_like(seen[0][name])
    for step, each in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * each[name]
    path = name.split(".lora_B")[0]
    torch.testing.assert_close(trained.weights[path]["lora_up.weight"], average)


def test_gradients_are_clipped():
    """With the norm near zero, Adam still takes steps of the same size; plain gradients show the clipping."""
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 10.0)
    loop.clip_gradients([parameter], 1.0, ["a"], 0)
    assert parameter.grad.norm() == pytest.approx(1.0, rel=1e-4)
    parameter.grad = torch.full((4,), 10.0)
    loop.clip_gradients([parameter], 0.0, ["a"], 0)
    assert parameter.grad.norm() == 20.0


def gradients_times(factor: float):
    """A base whose network answers as ever, and whose gradients are multiplied on their way back."""
    base = TinyBase()
    base.network.out.register_full_backward_hook(lambda module, of_input, of_output: (of_input[0] * factor,))
    return base


def test_what_the_optimizer_sees_is_clipped(monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *arguments):
        seen.append(self.param_groups[0]["params"][0].grad.norm().item())
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(changed(steps=3, optimizer={"max_grad_norm": 1e-3}), gradients_times(100.0))
    assert seen == pytest.approx([1e-3] * 3, rel=1e-2)
    train(changed(steps=3, optimizer={"max_grad_norm": 0.0}), gradients_times(100.0))
    assert min(seen[3:]) > 1e-2


def test_a_gradient_that_is_not_finite_ends_the_run_with_its_last_good_state():
    base, kept = TinyBase(), []

    def break_it(progress):
        if progress.step == 4:
            base.network.out.register_full_backward_hook(lambda module, of_input, _: (of_input[0] * float("inf"),))

    with pytest.raises(TrainingError, match=r"the gradient is (inf|nan) at step 5, on picture \d, picture \d"):
        train(base=base, report=break_it, keep=kept.append)
    whole = []
    train(changed(checkpoint_every=4), report=lambda progress: None, keep=whole.append)
    assert kept[-1]["step"] == 4
    assert kept[-1]["parameters"].keys() == whole[0]["parameters"].keys()
    assert all(torch.equal(value, whole[0]["parameters"][name]) for name, value in kept[-1]["parameters"].items())


def test_a_run_begins_with_the_lora_that_it_is_given():
    """At learning rate 0 the result is what it began with."""
    first = train()
    products = {
        path: LowRank(ends["lora_down.weight"], ends["lora_up.weight"] * ends["alpha"] / 4)
        for path, ends in first.weights.items()
    }
    still = changed(steps=2, optimizer={"learning_rate": 0.0})
    again = loop.train(TinyBase(), Examples(pictures()), still, loop.Watch(lambda progress: None), start=products)
    for path, ends in first.weights.items():
        change = ends["lora_up.weight"] @ ends["lora_down.weight"]
        found = again.weights[path]["lora_up.weight"] @ again.weights[path]["lora_down.weight"]
        torch.testing.assert_close(found, change)
        assert change.abs().max() > 1e-3


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_the_order_of_buckets_changes_no_sum(order):
    """Gradients of a step's batches, of pictures of two sizes."""
    shown, base = pictures(4, shapes=((2, 4), (4, 2))), TinyBase()
    examples = Examples(shown)

    def gradients(places):
        with adapters.attached(base.network, CONFIG.adapter, 0) as layers:
            torch.manual_seed(0)
            for parameter in adapters.parameters(layers).values():
                torch.nn.init.normal_(parameter, std=0.1)
            for place in places:
                noisy = examples.batch([draws.Draw(place, 0, 50 + place)], base, CONFIG)
                (batch.native_loss(base, noisy, CONFIG.objective) / 4).backward()
            return {name: parameter.grad for name, parameter in adapters.parameters(layers).items()}

    expected, found = gradients((0, 2, 1, 3)), gradients(order)
    assert all(torch.allclose(found[name], expected[name], rtol=1e-6, atol=1e-6) for name in expected)


def test_no_pictures():
    with pytest.raises(TrainingError, match="data set is empty"):
        train(examples=Examples(()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_latent_that_is_not_finite_names_its_picture(value):
    shown = pictures()
    shown[3].latent[0, 0, 0] = value
    with pytest.raises(TrainingError, match=r"1 of 5 pictures \(picture 3\)"):
        train(examples=Examples(shown))


def test_a_loss_that_is_not_finite_names_the_step_and_the_pictures():
    shown = pictures(1)
    shown[0].conditions[0][0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1, on picture 0, picture 0"):
        train(examples=Examples(shown))


def test_a_gradient_that_is_not_finite_names_the_step():
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([float("inf")])
    with pytest.raises(TrainingError, match="gradient is inf at step 8, on picture 0"):
        loop.clip_gradients([parameter], 1.0, ["picture 0"], 7)
    loop.clip_gradients([parameter], 1.0, ["picture 0"], 7, may_overflow=True)
