"""What a training run leaves behind: its identity, its settings, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .config import TrainConfig


@dataclass(frozen=True)
class Progress:
    """One optimizer step as it is reported: what a progress bar, a chart and a log need."""

    step: int  # 1 ... steps
    steps: int
    loss: float  # native loss, mean over the batch
    learning_rate: float
    seconds: float  # of this step alone
    prior_loss: float | None = None  # how far captions without the trigger moved; none without prior preservation
    validation_loss: float | None = None  # where it was measured after this step


@dataclass(frozen=True)
class Checkpoint:
    """The LoRA as it was after a step, in a file of full precision. validation_loss: where it was measured then."""

    step: int
    file: Path
    validation_loss: float | None = None


@dataclass(frozen=True)
class Run:
    """A training run.

    id: unique, sorts by time.
    dataset_hash: of every picture's file and caption, in order.
    base_hash: of the base model's weights (see `comfy_model.fingerprint`).
    precision: that the base computed in: "bf16", "fp16" or "fp32".
    prediction: the base's prediction type, "eps", "v", "flow", ...
    model_classes: by which ComfyUI knows the base, and those that this is made from; parameters: how many it has.
    tag_frequency: how many captions have each part between commas.
    metrics: one entry for each step. finished: no person ended it early.
    checkpoints: by step; its result is one of them. None where the run has no folder.
    """

    id: str
    name: str
    config: TrainConfig
    dataset_hash: str
    base_hash: str
    precision: str
    prediction: str
    model_classes: tuple[str, ...]
    parameters: int
    tag_frequency: Mapping[str, int]
    metrics: tuple[Progress, ...]
    finished: bool = True
    checkpoints: tuple[Checkpoint, ...] = ()

    def until(self, step: int) -> Run:
        """As if it had ended after that step, for what is made of a checkpoint."""
        kept = tuple(checkpoint for checkpoint in self.checkpoints if checkpoint.step <= step)
        return replace(self, metrics=self.metrics[:step], checkpoints=kept)


WINDOW = 50  # steps whose mean loss is a level
DIVERGED = 2.0  # times the lowest level


def divergence(losses: Sequence[float]) -> float | None:
    """How many times its lowest level the loss is at now, where that is twice or more; none where it is not, or where
    there are not two levels yet. A level is the mean of 50 steps: single steps differ by their noise levels."""
    levels = [sum(losses[end - WINDOW : end]) / WINDOW for end in range(len(losses), WINDOW - 1, -WINDOW)]
    if len(levels) < 2 or not min(levels) > 0:
        return None
    times = levels[0] / min(levels)
    return times if times >= DIVERGED else None
