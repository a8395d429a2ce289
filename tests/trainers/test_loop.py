"""The loop on a small real network: it learns, repeats itself exactly, stops well and goes on as if it had not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers import adapters, batch, draws, loop, session, state_file, validation
from isengard.trainers.adapters import LowRank
from isengard.trainers.batch import Examples
from isengard.trainers.config import (
    AdapterConfig,
    DataConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)
from isengard.trainers.errors import TrainingError

from .tiny import TinyBase, pictures


@pytest.fixture(autouse=True)
def one_thread():
    """The network is so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def test_validation_is_without_dropout():
    """Else it would measure the dropout's luck: a run that learns nothing measures the same every time."""
    shown = pictures(6)
    pissa = {"dropout": 0.5, "initialisation": "pissa"}  # begins with weights that dropout can leave out
    config = changed(adapter=pissa, optimizer={"learning_rate": 0.0}, validation={"every": 10})
    measured = [entry.validation_loss for entry in train(config, examples=Examples(shown[:4], shown[4:])).metrics]
    assert len(set(measured) - {None}) == 1


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


# -- stopping and going on


class Stop(Exception):
    pass


def stopped_at(step: int, error=Stop):
    def report(progress):
        if progress.step == step:
            raise error

    return report


EVERYTHING = changed(
    steps=24,
    checkpoint_every=5,
    adapter={"dropout": 0.2},
    optimizer={"accumulation": 2, "ema_decay": 0.9, "lr_schedule": "restarts", "warmup_steps": 3},
    objective={"loss": "huber", "weighting": "min_snr", "timestep_sampling": "beta", "noise_offset": 0.1},
    data={"caption_dropout": 0.3},
    validation={"every": 4, "levels": 2},
)


def everything() -> Examples:
    shown = pictures(8, shapes=((2, 4), (4, 2)))
    return Examples(shown[:6], held_out=shown[6:], empty=torch.zeros(16))


@pytest.mark.parametrize("step", [1, 4, 5, 13, 23])
def test_a_stopped_run_goes_on_to_the_same_numbers(step, tmp_path):
    """Weights, averages, schedules, validation and order, through a file."""
    file, whole = tmp_path / "state", train(EVERYTHING, examples=everything())
    with pytest.raises(Stop):
        train(
            EVERYTHING, examples=everything(), report=stopped_at(step), keep=lambda state: state_file.save(file, state)
        )
    before = []
    rest = train(EVERYTHING, examples=everything(), saved=state_file.load(file), resumed=before.extend)
    assert [entry.step for entry in before] == list(range(1, step + 1))
    assert same(rest.weights, whole.weights)
    for ours, theirs in zip(rest.metrics, whole.metrics, strict=True):
        assert dataclasses.replace(ours, seconds=0) == dataclasses.replace(theirs, seconds=0)


def test_a_state_is_kept_at_intervals_and_before_an_error_leaves():
    kept = []
    with pytest.raises(Stop):
        train(changed(checkpoint_every=4), report=stopped_at(10), keep=lambda state: kept.append(state["step"]))
    assert kept == [4, 8, 10]


def full_disk(state):
    raise OSError(28, "No space left on device")


def test_a_full_disk_ends_no_run_and_hides_no_error():
    """Neither at an interval, nor when a person ends the run, nor where an error does."""
    told = []
    config = changed(steps=6, checkpoint_every=2)
    whole = train(config, keep=full_disk, warn=told.append)
    assert same(whole.weights, train(config).weights)
    assert [text.split(" cannot")[0] for text in told] == [f"the state after step {step}" for step in (2, 4, 6)]

    def finish(progress):
        if progress.step == 3:
            raise loop.FinishEarly

    assert len(train(config, report=finish, keep=full_disk, warn=told.append).metrics) == 3

    def stop(progress):
        raise InterruptedError("asked")

    with pytest.raises(InterruptedError, match="asked"):
        train(config, report=stop, keep=full_disk, warn=told.append)


def test_a_step_that_fails_leaves_the_state_of_the_one_before():
    """What is kept is good: the same as a run of one step less gives."""
    kept, examples = [], Examples(pictures())

    def break_a_picture(progress):
        if progress.step == 6:
            examples.trained[0].conditions[0].fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"loss is nan at step [789], on .*picture 0"):
        train(examples=examples, report=break_a_picture, keep=kept.append)
    (state,) = kept
    assert all(torch.isfinite(tensor).all() for tensor in state["parameters"].values())
    assert state["step"] == len(state["metrics"]) >= 6


def test_a_run_that_is_finished_early_gives_what_it_has_learned():
    early = train(report=stopped_at(7, loop.FinishEarly))
    assert len(early.metrics) == 7
    assert any(ends["lora_up.weight"].any() for ends in early.weights.values())


def test_the_base_is_as_it_was_after_a_stop():
    base = TinyBase()
    before = {key: value.clone() for key, value in base.network.state_dict().items()}
    with pytest.raises(Stop):
        train(base=base, report=stopped_at(3))
    after = base.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


# -- averages and validation


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


def validated(steps: int = 60, **validation):
    shown = pictures(6)
    config = changed(steps=steps, validation={"every": 10, **validation})
    return train(config, examples=Examples(shown[:4], held_out=shown[4:]))


def test_validation_is_measured_when_due_and_repeats_itself():
    first, second = validated(), validated()
    losses = [entry.validation_loss for entry in first.metrics]
    assert [step for step, loss in enumerate(losses, start=1) if loss is not None] == [10, 20, 30, 40, 50, 60]
    assert losses == [entry.validation_loss for entry in second.metrics]


def test_validation_changes_nothing_of_the_training():
    shown = pictures(6)
    plain = train(changed(steps=60), examples=Examples(shown[:4]))
    assert [entry.loss for entry in validated().metrics] == [entry.loss for entry in plain.metrics]


def test_the_result_is_the_best_that_was_measured():
    """The pictures held out are unlike the others, so that the network gets worse on them."""
    trained, shown = validated(), pictures(6)
    losses = {entry.step: entry.validation_loss for entry in trained.metrics if entry.validation_loss is not None}
    best = min(losses, key=losses.__getitem__)
    stopped = train(changed(steps=60), examples=Examples(shown[:4]), report=stopped_at(best, loop.FinishEarly))
    assert same(trained.weights, stopped.weights)


def test_the_last_step_is_measured_whatever_the_interval():
    trained = validated(steps=25)
    assert [entry.step for entry in trained.metrics if entry.validation_loss is not None] == [10, 20, 25]


def test_a_run_that_is_finished_early_is_measured_where_it_ends():
    shown = pictures(6)
    config = changed(steps=60, validation={"every": 50})
    early = train(config, examples=Examples(shown[:4], held_out=shown[4:]), report=stopped_at(7, loop.FinishEarly))
    assert [entry.step for entry in early.metrics if entry.validation_loss is not None] == [7]
    assert not early.finished


def test_a_measurement_that_is_no_number_stops_the_run():
    shown = pictures(6)
    shown[5].conditions[0][0] = float("nan")
    with pytest.raises(TrainingError, match="held-out pictures is nan after step 10"):
        train(changed(validation={"every": 10}), examples=Examples(shown[:4], held_out=shown[4:]))


def test_an_error_while_measuring_loses_nothing():
    """The step was made, and is measured when the run goes on."""
    kept, config = [], changed(steps=20, validation={"every": 5})
    shown = pictures(6)
    examples = Examples(shown[:4], held_out=shown[4:])
    whole = train(config, examples=examples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.Check, "mean_loss", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config, examples=examples, keep=kept.append)
    rest = train(config, examples=examples, saved=kept[0])
    assert [entry.validation_loss for entry in rest.metrics] == [entry.validation_loss for entry in whole.metrics]
    assert same(rest.weights, whole.weights)


def test_a_run_out_of_patience_ends():
    trained = validated(steps=200, patience=2)
    losses = [entry.validation_loss for entry in trained.metrics if entry.validation_loss is not None]
    assert len(trained.metrics) == 10 * len(losses) < 200
    assert min(losses[-2:]) >= min(losses[:-2])


# -- numbers that are none


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


def test_an_interrupt_is_noticed_between_held_out_pictures():
    """And the step that was made is kept, and measured when the run goes on."""
    asked, kept, shown = [], [], pictures(6)
    config = changed(steps=4, validation={"every": 2, "levels": 3})

    def interrupt():
        asked.append(None)
        if len(asked) == 2:
            raise KeyboardInterrupt

    examples = Examples(shown[:4], shown[4:])
    with pytest.raises(KeyboardInterrupt):
        train(config, examples=examples, keep=kept.append, check=interrupt)
    assert (len(asked), kept[-1]["step"]) == (2, 2)
    went_on = train(config, examples=examples, saved=kept[-1])
    whole = train(config, examples=examples)
    assert [m.validation_loss for m in went_on.metrics] == [m.validation_loss for m in whole.metrics]


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
