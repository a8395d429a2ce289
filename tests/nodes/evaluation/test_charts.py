import dataclasses

import numpy as np
import pytest

from isengard.nodes.evaluation import charts
from isengard.trainers.config import TrainConfig
from isengard.trainers.run import Progress, Run


def run(losses):
    metrics = tuple(Progress(n, len(losses), loss, 1e-4, 0.1) for n, loss in enumerate(losses, 1))
    return Run("id", "mira", TrainConfig(steps=len(losses)), "d", "b", "fp32", "flow", ("SD3",), 1, {}, metrics)


def test_the_chart_has_the_size_and_shows_the_losses():
    falling = np.asarray(charts.loss_chart(run([1.0, 0.5, 0.2]), 600, 400))
    rising = np.asarray(charts.loss_chart(run([0.2, 0.5, 1.0]), 600, 400))
    assert falling.shape == (400, 600, 3)
    blue = (falling == (0x1F, 0x4F, 0xA8)).all(-1)
    rows = [np.flatnonzero(blue[:, column]).mean() for column in np.flatnonzero(blue.any(0))[[5, -5]]]
    assert rows[0] != rows[1]
    assert (falling != rising).any()


def test_the_prior_loss_is_drawn_where_there_is_one():
    plain = run([1.0, 0.5, 0.2])
    held = dataclasses.replace(plain, metrics=tuple(dataclasses.replace(e, prior_loss=0.1) for e in plain.metrics))
    brown = [(np.asarray(charts.loss_chart(each)) == (0xB5, 0x65, 0x1D)).all(-1).sum() for each in (plain, held)]
    assert brown[0] == 0
    assert brown[1] > 300


@pytest.mark.parametrize("losses", [[0.3], [0.3] * 50])
def test_one_step_and_a_flat_loss_can_be_drawn(losses):
    assert (np.asarray(charts.loss_chart(run(losses))) != 255).any()


def test_the_running_mean_starts_at_the_first_value_and_stays_inside():
    losses = [5.0] + [1.0] * 99
    smooth = charts.smoothed(losses)
    assert smooth[0] == 5.0
    assert len(smooth) == 100
    assert all(1.0 <= value <= 5.0 for value in smooth)
    assert smooth[-1] == pytest.approx(1.0, abs=0.05)
    assert charts.smoothed([2.0]) == [2.0]
