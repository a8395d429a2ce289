"""The loss on pictures that are not trained on, comparable from step to step and run to run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from . import adapters, batch, draws
from .batch import Base, Examples, NoisyBatch
from .config import ObjectiveConfig, TrainConfig
from .errors import TrainingError
from .session import Session

SEED = 0  # of the noise, whatever the run's seed
_PLAIN = ObjectiveConfig(timestep_sampling="uniform")  # the native loss, whatever the run's objective


@dataclass(frozen=True)
class Check:
    """The held-out pictures at their noise levels, a picture a batch; none where validation is off. between: called
    between them; what it raises ends the measurement."""

    base: Base
    batches: tuple[NoisyBatch, ...]
    every: int
    between: Callable[[], None] = lambda: None

    def measure_when_due(self, session: Session) -> None:
        """Every so many steps, and after the last."""
        if self.batches and session.step and (session.step % self.every == 0 or session.step == session.config.steps):
            self.measure(session)

    def measure(self, session: Session) -> None:
        """Note the mean native loss with the last step, unless it is there; the best so far is kept.

        Raises TrainingError where it is not finite.
        """
        if not self.batches or session.metrics[-1].validation_loss is not None:
            return
        before = [entry.validation_loss for entry in session.metrics if entry.validation_loss is not None]
        measured = self._of_result(session)
        if not math.isfinite(measured):
            raise TrainingError(
                f"the loss on held-out pictures is {measured} after step {session.step}. Lower the learning rate, or "
                "check the base model's precision."
            )
        session.metrics[-1] = replace(session.metrics[-1], validation_loss=measured)
        if measured < min(before, default=math.inf):
            session.best = {name: tensor.cpu().clone() for name, tensor in session.current().items()}

    @torch.no_grad()
    def _of_result(self, session: Session) -> float:
        """With the averaged parameters where the run has them, since they would be its result."""
        with session.using(session.current()), adapters.without_dropout(session.layers):
            return self.mean_loss()

    @torch.no_grad()
    def mean_loss(self) -> float:
        """Of the base as it is now."""
        losses = []
        for each in self.batches:
            self.between()
            losses.append(batch.native_loss(self.base, each, _PLAIN))
        return float(torch.stack(losses).mean())


def prepare(base: Base, examples: Examples, config: TrainConfig, between: Callable[[], None] = lambda: None) -> Check:
    """Noise and levels for every held-out picture: `levels` of them, in the middle of equal parts of the schedule, so
    that every part counts alike (stratified sampling). All follow from the picture's place alone."""
    if not config.validation.every:
        return Check(base, (), 0)
    positions = (torch.arange(config.validation.levels, dtype=torch.float64) + 0.5) / config.validation.levels
    batches = []
    for place, example in enumerate(examples.held_out):
        generator = draws.generator(SEED, place)
        for sigma in batch.levels(base, positions, example.latent, _PLAIN):
            noise = torch.randn(example.latent.shape, generator=generator)
            picture = batch.at_level(base, example, noise, sigma[None])
            batches.append(batch.stack(base, [picture], [example.conditions[0]], _PLAIN))
    return Check(base, tuple(batches), config.validation.every, between)


def out_of_patience(session: Session) -> bool:
    """Whether the last `patience` measurements brought nothing better than the one before them."""
    patience = session.config.validation.patience
    measured = [entry.validation_loss for entry in session.metrics if entry.validation_loss is not None]
    return 0 < patience < len(measured) and min(measured[-patience:]) >= min(measured[:-patience])
