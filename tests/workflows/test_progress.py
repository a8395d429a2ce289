"""What a run shows, from the events that ComfyUI sends."""

from __future__ import annotations

import io
import os
import select

import pytest

from isengard.workflows.client import LOST
from isengard.workflows.progress import Printer, Status, after, duration, line

TITLES = {"1": "checkpoint", "4": "train", "6": "sheet"}


def executing(node: str | None, **more) -> dict:
    return {"type": "executing", "data": {"node": node, "prompt_id": "p", **more}}


def progress(node: str, value: int, total: int) -> dict:
    return {"type": "progress", "data": {"node": node, "value": value, "max": total, "prompt_id": "p"}}


def trained(node: str, step: int, steps: int, losses: list[float]) -> dict:
    numbered = [[step - len(losses) + place + 1, loss] for place, loss in enumerate(losses)]
    data = {"node": node, "step": step, "steps": steps, "losses": numbered, "seconds_per_step": 0.25}
    return {"type": "isengard.train", "data": data}


def status(*events: dict) -> Status:
    now = Status()
    for event in events:
        now = after(now, event, TITLES)
    return now


def test_the_node_that_runs_is_named_by_its_title():
    assert status(executing("4")).title == "train"
    assert status(executing("99")).title == "99"
    assert status(executing("6.0.1", display_node="6")).title == "sheet"  # a node that another one expanded to


def test_progress_and_losses_are_of_the_node_that_runs():
    now = status(executing("4"), progress("4", 8, 40), trained("4", 8, 40, [0.5, 0.3]))
    assert (now.value, now.total, now.loss, now.seconds_left) == (8, 40, pytest.approx(0.4), 8.0)
    assert status(executing("4"), trained("4", 8, 40, [0.5]), executing("6")) == Status("6", "sheet")


def test_before_the_first_step_only_the_steps_are_known():
    begun = trained("4", 0, 40, [])
    begun["data"]["seconds_per_step"] = 0.0
    assert status(executing("4"), begun) == Status("4", "train", 0, 40)
    assert line(status(executing("4"), begun), bar=False) == "train           0 %  0/40"


def test_the_loss_is_the_mean_of_the_latest_twenty():
    now = status(
        executing("4"), trained("4", 10, 90, [9.0] * 10), *(trained("4", 10 + i, 90, [1.0]) for i in range(15))
    )
    assert now.loss == pytest.approx((5 * 9 + 15 * 1) / 20)


def test_the_time_left_does_not_jump_with_one_slow_step():
    slow = trained("4", 20, 120, [0.5])
    slow["data"]["seconds_per_step"] = 1.25
    assert status(executing("4"), trained("4", 10, 120, [0.5]), slow).seconds_left == pytest.approx(100 * 0.45)


def test_the_training_of_somebody_else_is_not_shown():
    """The event goes to every client, and another prompt may have a node of the same id."""
    assert status(trained("4", 8, 40, [0.5])) == Status()
    assert status(executing("4"), executing(None), trained("4", 8, 40, [0.5])) == Status()
    assert status(executing("6"), trained("4", 8, 40, [0.5])) == Status("6", "sheet")


def test_a_node_that_is_told_twice_keeps_its_progress():
    """As when the websocket comes back: ComfyUI names the node again."""
    assert status(executing("4"), progress("4", 8, 40), executing("4")).value == 8


@pytest.mark.parametrize("event", [LOST, {"type": "status", "data": {"status": {}}}, {"type": "other"}])
def test_other_events_change_nothing(event):
    assert status(executing("4"), event) == Status("4", "train")


def test_a_line_tells_how_far_it_is_and_how_it_goes():
    now = status(executing("4"), trained("4", 10, 40, [0.5]))
    assert line(now, bar=False) == "train          25 %  10/40  loss 0.5000  0.25 s/step  8 s left"
    assert line(now, bar=True) == "train         [######..................] 10/40  loss 0.5000  0.25 s/step  8 s left"
    assert line(Status("1", "checkpoint"), bar=True) == "checkpoint"
    assert line(Status("6", "sheet", 4, 4), bar=True) == f"sheet         [{'#' * 24}] 4/4"


@pytest.mark.parametrize(
    "seconds, text", [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7260, "2 h 01 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def job() -> list[dict]:
    steps = [event for step in range(1, 201) for event in (progress("4", step, 200), trained("4", step, 200, [0.5]))]
    return [executing("1"), executing("4"), *steps, executing(None)]


def test_a_log_gets_a_line_for_each_node_and_each_tenth():
    log = io.StringIO()
    printer = Printer(TITLES, log)
    for event in job():
        printer(event)
    printer.close()
    lines = log.getvalue().splitlines()
    assert lines[:2] == ["checkpoint", "train"]
    assert [int(text.split()[1]) for text in lines[2:]] == list(range(10, 101, 10))
    assert "loss 0.5000" in lines[-1]
    assert "\r" not in log.getvalue()


def test_cached_nodes_and_a_lost_connection_are_told():
    log = io.StringIO()
    printer = Printer(TITLES, log)
    printer({"type": "execution_cached", "data": {"nodes": [], "prompt_id": "p"}})
    assert log.getvalue() == ""
    printer({"type": "execution_cached", "data": {"nodes": ["1", "4"], "prompt_id": "p"}})
    printer(LOST)
    assert log.getvalue().splitlines() == [
        "unchanged since the last run: checkpoint, train",
        "The connection to ComfyUI was lost; asking it how the prompt goes …",
    ]


def read_all(controller: int) -> str:
    """What a terminal was sent; it comes in pieces."""
    shown = b""
    while select.select([controller], [], [], 0.2)[0]:
        shown += os.read(controller, 65536)
    return shown.decode()


@pytest.mark.skipif(os.name == "nt", reason="no pseudo terminals on Windows")
def test_a_terminal_gets_one_line_a_node_that_is_drawn_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    controller, terminal = os.openpty()
    with open(terminal, "w") as stream:
        printer = Printer(TITLES, stream)
        for event in job()[:-1]:
            printer(event)
        printer(trained("4", 200, 200, [0.25] * 20))
        printer(executing(None))
        printer.close()
        shown = read_all(controller)
    os.close(controller)
    rows = shown.replace("\r\n", "\n").splitlines()
    drawn = shown.replace("\r\n", "\n").split("\n")
    assert len(drawn) == 3  # checkpoint, train, and the empty one behind
    last = drawn[1].split("\r")[-1]
    assert last.startswith("train         [########################] 200/200  loss 0.25")
    assert all(len(row) <= 59 for row in rows)
    assert drawn[1].count("\r") < 10  # not for each of 400 events
