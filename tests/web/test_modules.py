"""The parts of web/ that know nothing of the editor, in a real browser."""

from __future__ import annotations

import random

import pytest

from isengard.nodes.evaluation.charts import smoothed

pytestmark = [pytest.mark.comfyui, pytest.mark.browser]


@pytest.fixture(scope="module")
def page(browser, comfyui):
    page = browser.new_page()
    page.goto(f"{comfyui.url}/extensions/isengard/isengard.css")  # any page of the server that runs no script
    return page


def run_of(page, events: list[dict]) -> dict | None:
    """What is known of a run after these events."""
    return page.evaluate(
        """async (events) => {
            const {Runs} = await import('/extensions/isengard/runs.mjs');
            const runs = new Runs();
            return events.map((event) => runs.record(event)).at(-1) ?? null;
        }""",
        events,
    )


def event(step: int, losses: list, workflow: str | None = "w", ended: bool = False) -> dict:
    pace = {"learning_rate": 1e-4, "seconds_per_step": 0.5, "validation": [], "ended": ended, "warning": ""}
    return {"node": "4", "workflow": workflow, "step": step, "steps": 100_000, "losses": losses, **pace}


def test_smoothing_is_that_of_the_loss_chart(page):
    draw = random.Random(0)
    losses = [draw.random() for _ in range(200)]
    smooth = page.evaluate("async (x) => (await import('/extensions/isengard/curve.mjs')).smoothed(x)", losses)
    assert smooth == pytest.approx(smoothed(losses), abs=1e-12)


def test_one_wild_step_does_not_flatten_the_curve(page):
    losses = [1.0, 2.0] * 50 + [1000.0]
    code = "async (x) => { const {range} = await import('/extensions/isengard/curve.mjs'); return range(x, [1.5]); }"
    assert page.evaluate(code, losses) == [1.0, 2.0]


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0]])
def test_a_single_point_and_a_flat_line_can_be_drawn(page, values):
    code = """async (values) => {
        const {path, range} = await import('/extensions/isengard/curve.mjs');
        return path(values.map((_, step) => step), values, range(values, values));
    }"""
    line = page.evaluate(code, values)
    assert "NaN" not in line and "Infinity" not in line
    assert line.count("50.00") == len(values), "a flat line runs through the middle"


def test_a_long_run_keeps_a_curve_of_few_points(page):
    hundreds = [[[100 * k + step, 1.0] for step in range(1, 101)] for k in range(500)]
    run = run_of(page, [event(losses[-1][0], losses) for losses in hundreds])
    assert 1000 <= len(run["points"]) <= 2000
    assert run["points"][-1][0] > 49_000 and {loss for _, loss in run["points"]} == {1.0}
    assert run["step"] == 50_000 and run["seconds"] == pytest.approx(25_000)


def test_merged_points_are_means(page):
    run = run_of(page, [event(2000, [[step, float(step % 2)] for step in range(1, 2001)])])
    assert len(run["points"]) == 1000
    assert run["points"][0] == [2, 0.5]


def test_a_new_run_takes_the_place_of_the_last(page):
    first = [event(1, [[1, 5.0]]), event(2, [[2, 4.0]])]
    assert run_of(page, [*first, event(0, [])])["points"] == []
    assert run_of(page, [*first, event(1, [[1, 9.0]])])["points"] == [[1, 9.0]]


def test_a_run_that_is_joined_midway_is_shown_from_there(page):
    run = run_of(page, [event(500, [[499, 1.0], [500, 2.0]])])
    assert run["state"] == "running" and run["points"] == [[499, 1.0], [500, 2.0]]


def test_a_run_may_end_before_its_last_step(page):
    """By Finish now, or when validation has lost patience; what was told keeps its numbers."""
    told = [event(1, [[1, 5.0]]), event(2, [[2, 4.0]])]
    assert run_of(page, told)["state"] == "running"
    for last in (event(2, [], ended=True), event(3, [[3, 3.0]], ended=True)):
        run = run_of(page, [*told, last])
        assert run["state"] == "finished"
        assert run["points"][:2] == [[1, 5.0], [2, 4.0]]
        assert run["step"] == last["step"]
        assert run["secondsPerStep"] == pytest.approx(0.5)


def test_runs_that_a_script_queued_are_not_the_editors(page):
    assert run_of(page, [event(1, [[1, 1.0]], workflow=None)]) is None
