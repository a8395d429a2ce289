import dataclasses
from collections import Counter
from typing import NamedTuple

import pytest
import torch

from isengard.trainers import adapters, loop
from isengard.trainers.config import TrainConfig
from isengard.trainers.errors import TrainingError

from .tiny import TinyBase, examples


@pytest.fixture(autouse=True)
def one_thread():
    """The network is so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CONFIG = TrainConfig(steps=30, learning_rate=1e-2, rank=4, alpha=4, batch_size=2, seed=11)


def train(config=CONFIG, base=None, pictures=None, report=lambda progress: None):
    return loop.train(base or TinyBase(), pictures or examples(), config, report)


def weights(trained):
    return {path: (layer.down, layer.up) for path, layer in trained.layers.items()}


def same(first, second):
    return all(
        torch.equal(a, b)
        for path in first
        for a, b in zip(weights_of(first, path), weights_of(second, path), strict=True)
    )


def weights_of(layers, path):
    return layers[path].down, layers[path].up


def test_training_lowers_the_loss_on_the_same_noise():
    """Measured with noise of its own, not with the steps' own losses, which differ by their noise."""
    base, config = TinyBase(), dataclasses.replace(CONFIG, steps=200)

    def measured():
        with torch.no_grad():
            noisy = [loop.add_noise(base, examples(), config, 10_000 + k) for k in range(20)]
            return sum(loop.native_loss(base, each, examples()).item() for each in noisy) / 20

    before, after = measured(), None

    def last(progress):
        nonlocal after
        if progress.step == config.steps:
            after = measured()

    train(config, base, report=last)
    assert after < 0.8 * before


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others():
    first, second = train(), train()
    assert same(first.layers, second.layers)
    assert [m.loss for m in first.metrics] == [m.loss for m in second.metrics]
    other = train(dataclasses.replace(CONFIG, seed=12))
    assert not same(first.layers, other.layers)


def test_the_global_random_state_changes_nothing():
    torch.manual_seed(1)
    first = train()
    torch.manual_seed(2)
    assert same(first.layers, train().layers)


def test_every_epoch_takes_every_picture_once_in_an_order_of_its_own():
    pictures, config = examples(6), dataclasses.replace(CONFIG, batch_size=4)
    drawn = [example.name for step in range(9) for example in loop.draw_batch(pictures, config, step)]
    epochs = [drawn[start : start + 6] for start in range(0, 36, 6)]
    assert all(Counter(epoch) == Counter(example.name for example in pictures) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_noise_and_timesteps_differ_from_step_to_step_and_picture_to_picture():
    drawn = [torch.randn(2, 8, generator=loop.step_generator(3, step)) for step in (0, 1)]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_every_step_is_reported_with_its_numbers():
    seen = []
    trained = train(report=seen.append)
    assert tuple(seen) == trained.metrics
    assert [progress.step for progress in seen] == list(range(1, 31))
    assert seen[0].learning_rate == CONFIG.learning_rate
    assert seen[-1].learning_rate < 0.01 * CONFIG.learning_rate


def test_what_the_report_raises_ends_the_run_at_that_step_and_leaves_the_base_as_it_was():
    base, steps = TinyBase(), []
    before = {key: value.clone() for key, value in base.network.state_dict().items()}

    def stop(progress):
        steps.append(progress.step)
        if progress.step == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(base=base, report=stop)
    assert steps == [1, 2, 3]
    after = base.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_learning_rate_of_zero_learns_nothing():
    trained = train(dataclasses.replace(CONFIG, learning_rate=0.0))
    assert all(not layer.up.any() for layer in trained.layers.values())


def test_prior_preservation_holds_what_the_base_answers_without_the_trigger():
    """Measured on noise of its own; without preservation the answers to the class's captions move with the others."""
    free, held = trained_with_prior(0.0), trained_with_prior(3.0)
    assert held.prior < 0.3 * free.prior
    assert held.native < 1.2 * free.native


class WithPrior(NamedTuple):
    native: float
    prior: float


def with_class_conditions():
    generator = torch.Generator().manual_seed(8)
    return [dataclasses.replace(each, class_condition=torch.randn(16, generator=generator)) for each in examples()]


def with_prior(weight: float, **changes) -> TrainConfig:
    return dataclasses.replace(CONFIG, trigger="mira", prior_loss_weight=weight, **changes)


def trained_with_prior(weight: float) -> WithPrior:
    """Both losses after training, over ten fresh draws of noise."""
    pictures, config, base = with_class_conditions(), with_prior(weight, steps=300, learning_rate=5e-3), TinyBase()
    trained = train(config, base, pictures)
    noisy = [loop.add_noise(base, pictures, config, 10_000 + k) for k in range(10)]
    with adapters.attached(base.network, config) as layers:
        for path, (down, up, _) in trained.layers.items():
            layers[path].lora_A[adapters.ADAPTER].weight.data.copy_(down)
            layers[path].lora_B[adapters.ADAPTER].weight.data.copy_(up)
        return WithPrior(
            native=sum(loop.native_loss(base, each, pictures).item() for each in noisy),
            prior=sum(loop.prior_loss(base, layers, each, pictures).item() for each in noisy),
        )


def test_the_prior_loss_is_reported_and_begins_at_zero():
    """The adapters start with nothing; a step without prior preservation has none to report."""
    first, *_, last = train(with_prior(1.0), pictures=with_class_conditions()).metrics
    assert first.prior_loss == 0.0
    assert last.prior_loss > 0.0
    assert all(entry.prior_loss is None for entry in train(pictures=with_class_conditions()).metrics)


def test_prior_preservation_that_is_off_changes_nothing():
    assert same(train(with_prior(0.0), pictures=with_class_conditions()).layers, train().layers)
    assert not same(train(with_prior(1.0), pictures=with_class_conditions()).layers, train().layers)


def test_a_prior_loss_that_is_not_finite_stops_the_run():
    pictures = with_class_conditions()
    pictures[0].class_condition[0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1, on picture 0"):
        train(with_prior(1.0), pictures=pictures[:1])


def test_gradients_too_small_for_float16_are_not_lost():
    """Scaled down by 1e-6, the gradients of a float16 network are all zero unless the loss is scaled up."""
    base = TinyBase()
    base.network.half()
    base.network.out.weight.mul_(1e-6)
    base.dtype = torch.float16
    base.predict = lambda x, sigma, conditions: base.network(x.half(), sigma.half(), torch.stack(conditions).half())
    trained = train(with_prior(1.0), base, with_class_conditions())
    assert all(layer.up.any() for layer in trained.layers.values())
    assert all(torch.isfinite(layer.up).all() for layer in trained.layers.values())


def test_gradients_are_clipped():
    """With the norm near zero, Adam still takes steps of the same size; plain gradients show the clipping."""
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 10.0)
    loop.clip_gradients([parameter], 1.0, examples(1), 0)
    assert parameter.grad.norm() == pytest.approx(1.0, rel=1e-4)
    parameter.grad = torch.full((4,), 10.0)
    loop.clip_gradients([parameter], 0.0, examples(1), 0)
    assert parameter.grad.norm() == 20.0


def test_no_pictures():
    with pytest.raises(TrainingError, match="data set is empty"):
        loop.train(TinyBase(), [], CONFIG, lambda progress: None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_latent_that_is_not_finite_names_its_picture(value):
    pictures = examples()
    pictures[3].latent[0, 0, 0] = value
    with pytest.raises(TrainingError, match=r"1 of 5 pictures \(picture 3\)"):
        train(pictures=pictures)


def test_a_loss_that_is_not_finite_names_the_step_and_the_pictures():
    pictures = examples(1)
    pictures[0].condition[0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1, on picture 0, picture 0"):
        train(pictures=pictures)


def test_a_gradient_that_is_not_finite_names_the_step():
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([float("inf")])
    with pytest.raises(TrainingError, match="gradient is inf at step 8, on picture 0"):
        loop.clip_gradients([parameter], 1.0, examples(1), 7)
    loop.clip_gradients([parameter], 1.0, examples(1), 7, may_overflow=True)
