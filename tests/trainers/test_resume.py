"""A run stops well, keeps its state, and goes on as if it had not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers import loop, state_file
from isengard.trainers.batch import Examples
from isengard.trainers.errors import TrainingError
from isengard.trainers.run import Progress

from .runs import Stop, changed, same, stopped_at, train
from .tiny import TinyBase, pictures

pytestmark = pytest.mark.usefixtures("one_thread")

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
    assert rest.step == whole.step
    assert same(rest.weights, whole.weights)
    for ours, theirs in zip(rest.metrics, whole.metrics, strict=True):
        assert dataclasses.replace(ours, seconds=0) == dataclasses.replace(theirs, seconds=0)


def test_a_state_is_kept_at_intervals_and_before_an_error_leaves():
    kept = []
    with pytest.raises(Stop):
        train(changed(checkpoint_every=4), report=stopped_at(10), keep=lambda state: kept.append(state["step"]))
    assert kept == [4, 8, 10]


def checkpoints(config, **watched) -> dict[int, loop.Weights]:
    """By step, those of a run that is stopped and of what goes on after it."""
    given = {}
    train(config, examples=everything(), checkpoint=given.__setitem__, **watched)
    return given


@pytest.mark.parametrize("step", [4, 5, 6, 20, 24])
def test_a_run_that_goes_on_has_the_same_checkpoints(step):
    """Those before the stop, those after it, and the one of the very step, whoever stopped it."""
    whole = checkpoints(EVERYTHING)
    assert list(whole) == [5, 10, 15, 20]
    for stop in ("report", "preview", "check"):
        kept, found = [], {}
        with pytest.raises(Stop):
            train(EVERYTHING, examples=everything(), checkpoint=found.__setitem__, keep=kept.append,
                  **_stopped(stop, step))  # fmt: skip
        found |= checkpoints(EVERYTHING, saved=kept[-1])
        assert found.keys() == whole.keys()
        assert all(same(found[step], whole[step]) for step in whole)


def _stopped(by: str, step: int) -> dict:
    """What a watch does to stop a run. Its checks come between held-out pictures: 4 of them after every 4 steps."""
    stop, checks = stopped_at(step), iter(range(1000))

    def check():
        if next(checks) == step - 3:
            raise Stop

    if by == "report":
        return {"report": stop}
    if by == "preview":
        return {"preview": lambda step, weights: stop(Progress(step, 24, 0.0, 0.0, 0.0))}
    return {"check": check}


def test_a_checkpoint_is_the_lora_that_a_run_would_give():
    """With averaged weights, and without; taking it changes nothing."""
    for decay in (0.0, 0.9):
        config = changed(steps=12, checkpoint_every=4, optimizer={"ema_decay": decay, "lr_schedule": "constant"})
        given = {}
        trained = train(config, checkpoint=given.__setitem__)
        assert same(trained.weights, train(changed(config, checkpoint_every=0)).weights)
        assert list(given) == [4, 8, 12]
        assert same(given[12], trained.weights)
        assert same(given[8], train(changed(config, steps=8)).weights)
        assert trained.step == 12
    assert not checkpoints(changed(EVERYTHING, checkpoint_every=0))


def test_the_result_is_of_the_step_with_the_lowest_validation_loss():
    config = changed(EVERYTHING, checkpoint_every=4, optimizer={"learning_rate": 0.3})
    given = {}
    trained = train(config, examples=everything(), checkpoint=given.__setitem__)
    assert trained.step < 24
    assert same(given[trained.step], trained.weights)


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_full_disk_ends_no_run_and_hides_no_error():
    """Neither at an interval, nor when a person ends the run, nor where an error does."""
    told = []
    config = changed(steps=6, checkpoint_every=2)
    whole = train(config, keep=full_disk, warn=told.append)
    assert same(whole.weights, train(config).weights)
    assert [text.split(" cannot")[0] for text in told] == [f"the state after step {step}" for step in (2, 4, 6)]
    told.clear()
    assert same(train(config, checkpoint=full_disk, warn=told.append).weights, whole.weights)
    assert [text.split(" cannot")[0] for text in told] == [f"the LoRA after step {step}" for step in (2, 4, 6)]

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
