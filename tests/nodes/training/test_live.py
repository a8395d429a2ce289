import pytest

from isengard.nodes.training import live
from isengard.trainers.loop import FinishEarly
from isengard.trainers.run import Progress


def progress(step, steps=1000):
    return Progress(step, steps, loss=1.0 / step, learning_rate=1e-4, seconds=0.5)


class Recorder:
    def __init__(self, check=lambda: None):
        self.events, self.bar = [], []
        send = lambda name, data: self.events.append((name, data))  # noqa: E731
        self.live = live.Live("7", check, self.bar.append, send, workflow="a workflow")


def test_every_step_moves_the_bar_and_no_loss_is_lost():
    recorder = Recorder()
    made = [progress(step) for step in range(1, 1001)]
    for each in made:
        recorder.live(each)
    recorder.live.end(made)
    assert recorder.bar == list(range(1, 1001))
    losses = [loss for _, data in recorder.events for loss in data["losses"]]
    assert [step for step, _ in losses] == list(range(1, 1001))
    assert losses[3] == [4, 0.25]
    assert len(recorder.events) < 100, "a fast model would flood the editor"


def test_an_event_names_its_node_and_where_it_stands():
    recorder = Recorder()
    recorder.live(progress(1))
    ((name, data),) = recorder.events
    assert name == "isengard.train"
    assert (data["node"], data["step"], data["steps"], data["seconds_per_step"]) == ("7", 1, 1000, 0.5)


def test_a_run_tells_that_it_begins_before_its_first_step():
    recorder = Recorder()
    recorder.live.begin(40)
    ((_, data),) = recorder.events
    assert (data["node"], data["workflow"], data["step"], data["steps"]) == ("7", "a workflow", 0, 40)
    assert data["losses"] == []


def test_every_event_names_the_workflow_that_it_belongs_to():
    recorder = Recorder()
    recorder.live(progress(1))
    assert recorder.events[0][1]["workflow"] == "a workflow"


@pytest.mark.parametrize("steps", [3, 1000])
def test_the_end_tells_every_step_that_was_not_told(steps):
    """Of a run that made all its steps, and of one that ended before."""
    recorder = Recorder()
    made = [progress(step, steps) for step in (1, 2, 3)]
    for each in made:
        recorder.live(each)
    recorder.live.end(made)
    assert [data["ended"] for _, data in recorder.events] == [False, True]
    assert [step for _, data in recorder.events for step, _ in data["losses"]] == [1, 2, 3]
    assert recorder.events[-1][1]["step"] == 3


def test_a_run_that_was_there_already_is_told_once_and_has_ended():
    recorder = Recorder()
    made = [progress(step, 3) for step in (1, 2, 3)]
    recorder.live.resumed(made)
    recorder.live.end(made)
    assert [step for _, data in recorder.events for step, _ in data["losses"]] == [1, 2, 3]
    assert recorder.events[-1][1]["ended"]


def test_an_interrupt_passes_through_after_the_step_was_shown():
    def check():
        raise InterruptedError

    recorder = Recorder(check)
    with pytest.raises(InterruptedError):
        recorder.live(progress(1))
    assert recorder.bar == [1]
    assert len(recorder.events) == 1


def test_a_run_says_that_it_begins_and_for_which_workflow():
    events = []
    running = live.Live("7", lambda: None, lambda step: None, lambda name, data: events.append(data), workflow="w-1")
    running.begin(20)
    running(progress(1, steps=20))
    assert [(data["workflow"], data["step"], data["steps"], len(data["losses"])) for data in events] == [
        ("w-1", 0, 20, 0),
        ("w-1", 1, 20, 1),
    ]


def test_a_diverging_run_says_so_and_what_to_do():
    recorder = Recorder()
    made = [Progress(step, 200, 0.1 if step <= 100 else 0.9, learning_rate=1e-4, seconds=0.5) for step in range(1, 201)]
    for each in made:
        recorder.live(each)
    recorder.live.end(made)
    assert recorder.events[0][1]["warning"] == ""
    assert (
        recorder.events[-1][1]["warning"] == "diverging: the loss is at 9.0 times its lowest. Lower the learning rate."
    )


def test_trouble_that_does_not_end_the_run_is_told_from_then_on():
    recorder = Recorder()
    recorder.live(progress(1))
    recorder.live.warn("the disk is full")
    recorder.live.end([progress(1)])
    assert [data["warning"] for _, data in recorder.events] == ["", "the disk is full"]


def test_a_run_that_is_to_finish_ends_after_the_step_was_told():
    told = []
    running = live.Live("7", lambda: None, told.append, lambda name, data: None, finish=lambda: len(told) >= 2)
    running(progress(1))
    with pytest.raises(FinishEarly):
        running(progress(2))
    assert told == [1, 2]
