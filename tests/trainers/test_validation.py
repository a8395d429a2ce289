"""The loss on held-out pictures: when it is measured, and what it decides."""

from __future__ import annotations

import pytest

from isengard.trainers import loop, validation
from isengard.trainers.batch import Examples
from isengard.trainers.errors import TrainingError

from .runs import changed, same, stopped_at, train
from .tiny import pictures

pytestmark = pytest.mark.usefixtures("one_thread")


def test_validation_is_without_dropout():
    """Else it would measure the dropout's luck: a run that learns nothing measures the same every time."""
    shown = pictures(6)
    pissa = {"dropout": 0.5, "initialisation": "pissa"}  # begins with weights that dropout can leave out
    config = changed(adapter=pissa, optimizer={"learning_rate": 0.0}, validation={"every": 10})
    measured = [entry.validation_loss for entry in train(config, examples=Examples(shown[:4], shown[4:])).metrics]
    assert len(set(measured) - {None}) == 1


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


def test_a_run_out_of_patience_ends():
    trained = validated(steps=200, patience=2)
    losses = [entry.validation_loss for entry in trained.metrics if entry.validation_loss is not None]
    assert len(trained.metrics) == 10 * len(losses) < 200
    assert min(losses[-2:]) >= min(losses[:-2])


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
