"""What a training run shows while it runs: a progress bar, and its loss as events for the node and for scripts."""

from __future__ import annotations

import logging
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
    _trouble: str = ""
    _waiting: list[Progress] = field(default_factory=list)
    _last: Progress | None = None
    _sent_at: float = 0.0

    def begin(self, steps: int) -> None:
        """Tell that a run of `steps` steps begins; its first step comes when the pictures are encoded."""
        self._last = Progress(0, steps, 0.0, 0.0, 0.0)
        self._tell([])

    def resumed(self, metrics: Sequence[Progress]) -> None:
        """Show the steps that were made before."""
        self._losses = [entry.loss for entry in metrics]
        self._warning = warning(self._losses)
        if metrics:
            self._last = metrics[-1]
            self.bar(self._last.step)
            self._tell(metrics)

    def warn(self, text: str) -> None:
        """Tell, from now on, of trouble that does not end the run."""
        logging.warning("Isengard: %s", text)
        self._trouble = text

    def __call__(self, progress: Progress) -> None:
        self.bar(progress.step)
        self._last = progress
        self._waiting.append(progress)
        self._losses.append(progress.loss)
        if progress.step % WINDOW == 0:
            self._warning = warning(self._losses)
        if time.monotonic() - self._sent_at >= _INTERVAL:
            self._tell(self._waiting)
            self._waiting, self._sent_at = [], time.monotonic()
        self.check()
        if self.finish():
            raise FinishEarly

    def end(self, metrics: Sequence[Progress]) -> None:
        """Tell the steps that were not told yet, and that no more will come: the run may end before its last step.
        metrics: of all steps."""
        self._last, untold = metrics[-1], {entry.step for entry in self._waiting}
        self._tell([entry for entry in metrics if entry.step in untold], ended=True)

    def _tell(self, progress: Sequence[Progress], ended: bool = False) -> None:
        told = "; ".join(filter(None, [self._trouble, self._warning]))
        more = {"ended": ended, "warning": told, "workflow": self.workflow}
        self.send(EVENT, message(self.node_id, self._last, progress) | more)


def warning(losses: list[float]) -> str:
    """What a person should know of how the run goes; empty where all is well."""
    times = divergence(losses)
    return f"diverging: the loss is at {times:.1f} times its lowest. Lower the learning rate." if times else ""


def message(node_id: str, now: Progress, progress: Sequence[Progress]) -> dict:
    """The event: the node, the step now, and the losses since the event before."""
    return {
        "node": node_id,
        "step": now.step,
        "steps": now.steps,
        "losses": [[entry.step, round(entry.loss, 6)] for entry in progress],
        "validation": [
            [entry.step, round(entry.validation_loss, 6)] for entry in progress if entry.validation_loss is not None
        ],
        "learning_rate": now.learning_rate,
        "seconds_per_step": round(sum(entry.seconds for entry in progress) / max(1, len(progress)), 4),
    }
