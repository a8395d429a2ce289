"""A run's folder: its settings, its numbers, the state to go on from, its checkpoints, and its result."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from . import lora_file, state_file
from .config import TrainConfig
from .loop import Trained
from .run import Checkpoint, Progress

SETTINGS, METRICS, STATE, RESULT = "config.yaml", "metrics.jsonl", "state.safetensors", "result.safetensors"
CHECKPOINTS = "checkpoints"


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
            for leftover in (self.path / STATE, *self.path.rglob(".*.tmp")) if trained.finished else ():
                leftover.unlink(missing_ok=True)

    def finished(self) -> Trained | None:
        """What `finish` was given, if it was."""
        if not (self.path and (self.path / RESULT).exists()):
            return None
        result: dict[str, Any] = state_file.load(self.path / RESULT)
        weights: dict[str, dict[str, Tensor]] = result["weights"]
        return Trained(weights, tuple(Progress(**entry) for entry in result["metrics"]), result["finished"])

    def keep_lora(self, step: int, lora: Mapping[str, Tensor]) -> None:
        """Write the LoRA as it is after a step, as a LoRA file. Raises TrainingError where it is not finite."""
        if self.path:
            described = {"isengard.run": self.id, "ss_steps": str(step)}
            lora_file.save(lora, self._checkpoint(step), "fp32", described)

    def has_lora(self, step: int) -> bool:
        """Whether there is nothing to write: it is there, or nothing is kept."""
        return not self.path or self._checkpoint(step).exists()

    def checkpoints(self, metrics: Sequence[Progress]) -> tuple[Checkpoint, ...]:
        """Those of the steps that have numbers, in their order."""
        if not self.path:
            return ()
        files = set((self.path / CHECKPOINTS).glob("*.safetensors"))
        there = [(entry, self._checkpoint(entry.step)) for entry in metrics]
        return tuple(Checkpoint(entry.step, file, entry.validation_loss) for entry, file in there if file in files)

    def _checkpoint(self, step: int) -> Path:
        return self.path / CHECKPOINTS / f"step_{step:06}.safetensors"

    def _write_metrics(self, metrics: Sequence[Progress]) -> None:
        lines = (json.dumps(dataclasses.asdict(entry)) + "\n" for entry in metrics)
        state_file.write(self.path / METRICS, "".join(lines).encode())


def _slug(name: str) -> str:
    """A name as a part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or secrets.token_hex(2)
