"""A run's folder: its settings, its numbers, the state to go on from, and its result."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from . import state_file
from .config import TrainConfig
from .loop import Trained
from .run import Progress

SETTINGS, METRICS, STATE, RESULT = "config.yaml", "metrics.jsonl", "state.safetensors", "result.safetensors"


class RunFolder:
    """Found again by the run's key, or made anew; with no root folder, nothing is kept.

    id: when the run began, its name, and the key's first digits; sorts by time.
    """

    def __init__(self, root: Path | None, name: str, key: str, config: TrainConfig):
        short = key[:12]
        before = sorted(root.glob(f"*-{short}")) if root else []
        self.id = before[-1].name if before else f"{time.strftime('%Y%m%d-%H%M%S')}-{_slug(name)}-{short}"
        self.path = root / self.id if root else None
        if self.path:
            self.path.mkdir(parents=True, exist_ok=True)
            state_file.write(self.path / SETTINGS, config.to_yaml().encode())

    def keep(self, state: dict[str, Any]) -> None:
        """Write the state that `saved` gives, in the place of an older one."""
        if self.path:
            state_file.save(self.path / STATE, state)
            self._write_metrics([Progress(**entry) for entry in state["metrics"]])

    def saved(self) -> dict[str, Any] | None:
        """The last state that was kept. Raises DamagedState where it is cut off."""
        if self.path and (self.path / STATE).exists():
            return state_file.load(self.path / STATE)
        return None

    def finish(self, trained: Trained) -> None:
        """Write the result. Unless the run was ended early, the state to go on from is not needed any more, nor what
        killed writes left."""
        if self.path:
            metrics = [vars(entry) for entry in trained.metrics]
            result = {"weights": trained.weights, "metrics": metrics, "finished": trained.finished}
            state_file.save(self.path / RESULT, result)
            self._write_metrics(trained.metrics)
            for leftover in (self.path / STATE, *self.path.glob(".*.tmp")) if trained.finished else ():
                leftover.unlink(missing_ok=True)

    def finished(self) -> Trained | None:
        """What `finish` was given, if it was."""
        if not (self.path and (self.path / RESULT).exists()):
            return None
        result: dict[str, Any] = state_file.load(self.path / RESULT)
        weights: dict[str, dict[str, Tensor]] = result["weights"]
        return Trained(weights, tuple(Progress(**entry) for entry in result["metrics"]), result["finished"])

    def _write_metrics(self, metrics: Sequence[Progress]) -> None:
        lines = (json.dumps(dataclasses.asdict(entry)) + "\n" for entry in metrics)
        state_file.write(self.path / METRICS, "".join(lines).encode())


def _slug(name: str) -> str:
    """A name as a part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or secrets.token_hex(2)
