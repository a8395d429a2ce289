"""What a training run shows while it runs: a progress bar, and its loss as events for the node and for scripts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...trainers.loop import FinishEarly
from ...trainers.run import WINDOW, Progress, divergence

EVENT = "isengard.train"
_INTERVAL = 0.2  # seconds between two events: a fast model makes hundreds of steps a second

Send = Callable[[str, dict], None]


@dataclass
class Live:
    """The report callback of a run: looks for an interrupt, moves the bar, sends events.

    check: raises where the person asked to stop. finish: whether they asked to end here with what there is. bar:
    ComfyUI's progress bar. send: an event to the editor.
    workflow: id of the workflow that was queued, since node ids alone say nothing once another one is open; none where
    a script queued it. Events carry every step since the last one, so a chart misses none.
    """

    node_id: str
    check: Callable[[], None]
    bar: Callable[[int], None]
    send: Send
    finish: Callable[[], bool] = lambda: False
    workflow: str | None = None
    _losses: list[float] = field(default_factory=list)
    _warning: str = ""
    _waiting: list[Progress] = field(default_factory=list)
    _sent_at: float = 0.0

    def begin(self, steps: int) -> None:
        """Tell that a run of `steps` steps begins; its first step comes when the pictures are encoded."""
        begun = message(self.node_id, [Progress(0, steps, 0.0, 0.0, 0.0)])
        self._send(begun | {"losses": [], "finishing": False, "warning": ""})

    def resumed(self, metrics: Sequence[Progress]) -> None:
        """Show the steps that were made before."""
        self._losses = [entry.loss for entry in metrics]
        self._warning = warning(self._losses)
        if metrics:
            self.bar(metrics[-1].step)
            self._send(message(self.node_id, list(metrics)) | {"finishing": False, "warning": self._warning})

    def __call__(self, progress: Progress) -> None:
        self.bar(progress.step)
        self._waiting.append(progress)
        self._losses.append(progress.loss)
        if progress.step % WINDOW == 0:
            self._warning = warning(self._losses)
        finishing = self.finish()
        last = progress.step == progress.steps or finishing
        if last or time.monotonic() - self._sent_at >= _INTERVAL:
            self._send(message(self.node_id, self._waiting) | {"finishing": finishing, "warning": self._warning})
            self._waiting, self._sent_at = [], time.monotonic()
        self.check()
        if finishing:
            raise FinishEarly

    def _send(self, data: dict) -> None:
        self.send(EVENT, data | {"workflow": self.workflow})


def warning(losses: list[float]) -> str:
    """What a person should know of how the run goes; empty where all is well."""
    times = divergence(losses)
    return f"diverging: the loss is at {times:.1f} times its lowest. Lower the learning rate." if times else ""


def message(node_id: str, progress: list[Progress]) -> dict:
    """The event: the node, the step now, and the losses since the event before."""
    now = progress[-1]
    return {
        "node": node_id,
        "step": now.step,
        "steps": now.steps,
        "losses": [[entry.step, round(entry.loss, 6)] for entry in progress],
        "validation": [
            [entry.step, round(entry.validation_loss, 6)] for entry in progress if entry.validation_loss is not None
        ],
        "learning_rate": now.learning_rate,
        "seconds_per_step": round(sum(entry.seconds for entry in progress) / len(progress), 4),
    }
