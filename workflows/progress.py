"""What a running prompt shows in a terminal or a log, from ComfyUI's events."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from .client import Event

_TRAIN_EVENT = "isengard.train"
_AVERAGED = 20  # losses: single ones jump with the noise level that was drawn
_REDRAW_SECONDS = 0.1
_BAR = 24


@dataclass(frozen=True)
class Status:
    """The node that runs now. value of total: its progress bar. loss: the mean of the latest, while it trains."""

    node: str = ""
    title: str = ""
    value: int = 0
    total: int = 0
    losses: tuple[float, ...] = ()
    seconds_per_step: float | None = None

    @property
    def loss(self) -> float | None:
        return sum(self.losses) / len(self.losses) if self.losses else None

    @property
    def seconds_left(self) -> float | None:
        return None if self.seconds_per_step is None else (self.total - self.value) * self.seconds_per_step


def after(status: Status, event: Event, titles: Mapping[str, str]) -> Status:
    """The status after an event; events that tell nothing of our prompt leave it as it is."""
    kind, data = event["type"], event.get("data") or {}
    if kind == "executing":
        node = data.get("display_node") or data.get("node")
        return status if node == status.node else Status(node or "", titles.get(node, node or ""))
    if kind == "progress" and status.node:
        return dataclasses.replace(status, value=data["value"], total=data["max"])
    # sent to every client: another's training is told apart by our node not running
    if kind == _TRAIN_EVENT and status.node == data["node"]:
        losses = (*status.losses, *(loss for _, loss in data["losses"]))[-_AVERAGED:]
        pace = _smoothed(status.seconds_per_step, data["seconds_per_step"]) if losses else None
        return dataclasses.replace(
            status,
            value=data["step"],
            total=data["steps"],
            losses=losses,
            seconds_per_step=pace,
        )
    return status


def _smoothed(before: float | None, now: float) -> float | None:
    """None before the first step. One event tells of a few steps alone, and the time left should not jump."""
    return 0.8 * before + 0.2 * now if before and now else before or now or None


def line(status: Status, bar: bool) -> str:
    """One line: the node, how far it is (with a bar or in per cent), and how its training goes."""
    parts = [f"{status.title:<12}"]
    if status.total:
        done = f"{status.value}/{status.total}"
        filled = round(_BAR * status.value / status.total)
        parts.append(f"[{'#' * filled:.<{_BAR}}] {done}" if bar else f"{percent(status):3d} %  {done}")
    if status.loss is not None:
        parts.append(f"loss {status.loss:.4f}")
    if status.seconds_per_step is not None:
        parts.append(f"{status.seconds_per_step:.2f} s/step")
    if status.seconds_left:
        parts.append(f"{duration(status.seconds_left)} left")
    return "  ".join(parts).rstrip()


def percent(status: Status) -> int:
    return 100 * status.value // status.total if status.total else 0


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


class Printer:
    """Writes a prompt's progress: one line a node, drawn over on a terminal, else anew at every tenth."""

    def __init__(self, titles: Mapping[str, str], stream: TextIO):
        self._titles = titles
        self._stream = stream
        self._terminal = stream.isatty()
        self._status = Status()
        self._drawn_at = 0.0
        self._open = False  # whether the cursor stands behind a line that is still drawn over

    def __call__(self, event: Event) -> None:
        if event["type"] == "execution_cached":
            self._tell_cached(event["data"]["nodes"])
        if event["type"] == "connection_lost":
            self.say("The connection to ComfyUI was lost; asking it how the prompt goes …")
        before, self._status = self._status, after(self._status, event, self._titles)
        if before.node != self._status.node:
            self._finish(before)
        if self._status != before and self._status.node:
            self._show(before)

    def say(self, text: str) -> None:
        self.close()
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """End the line that is drawn over."""
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False

    def _tell_cached(self, nodes: list[str]) -> None:
        if nodes:
            self.say(f"unchanged since the last run: {', '.join(self._titles.get(node, node) for node in nodes)}")

    def _finish(self, status: Status) -> None:
        if self._open:  # the last numbers may have come within the redraw interval
            self._draw(status)
        self.close()

    def _show(self, before: Status) -> None:
        now = self._status
        if self._terminal:
            if now.node != before.node or time.monotonic() - self._drawn_at >= _REDRAW_SECONDS:
                self._draw(now)
        elif now.node != before.node or percent(now) // 10 > percent(before) // 10:
            self.say(line(now, bar=False))

    def _draw(self, status: Status) -> None:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line(status, bar=True)[:width]:<{width}}", end="", file=self._stream, flush=True)
        self._drawn_at, self._open = time.monotonic(), True
