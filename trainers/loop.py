"""The training loop: set up, step, report."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import adapters, batch, objective, validation
from .adapters import Layers, LowRank
from .batch import Base, Examples, NoisyBatch
from .config import TrainConfig
from .draws import Order
from .errors import TrainingError
from .recompute import recomputed
from .run import Progress
from .session import Session


class FinishEarly(Exception):
    """Raised by a report: the run ends here, and what it has learned is its result."""


Weights = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Trained:
    """weights: of each adapted layer, by path and by the ends of their names in a LoRA file; metrics: of every step;
    finished: it was not ended early by a person, so there is nothing to go on with."""

    weights: Weights
    metrics: tuple[Progress, ...]
    finished: bool = True

    @property
    def step(self) -> int:
        """After which the weights were as they are: that of the lowest validation loss, without validation the last."""
        measured = [entry for entry in self.metrics if entry.validation_loss is not None]
        return min(measured, key=lambda entry: entry.validation_loss, default=self.metrics[-1]).step


@dataclass(frozen=True)
class Watch:
    """What is told of a run while it goes on.

    report: called after every step; FinishEarly ends the run with a result, and whatever else it raises ends it without
    one and passes through. keep: given the run's state every `checkpoint_every` steps, and before any error leaves.
    checkpoint: given the step and the LoRA as it is then, every so many steps too, before anything else is called; a
    run that goes on may give one again. preview: called before the report, with the step and what gives the LoRA as it
    is then. resumed: called once with the numbers of the steps that a saved run had made. warn: told what a person
    should know and the run outlives. check: called where a step takes long, between held-out pictures; what it raises
    passes through, as from `report`.
    """

    report: Callable[[Progress], None]
    keep: Callable[[dict[str, Any]], None] = lambda state: None
    checkpoint: Callable[[int, Weights], None] = lambda step, weights: None
    preview: Callable[[int, Callable[[], Weights]], None] = lambda step, weights: None
    resumed: Callable[[Sequence[Progress]], None] = lambda metrics: None
    warn: Callable[[str], None] = logging.warning
    check: Callable[[], None] = lambda: None


def train(
    base: Base,
    examples: Examples,
    config: TrainConfig,
    watch: Watch,
    saved: Mapping[str, Any] | None = None,
    start: Mapping[str, LowRank] | None = None,
) -> Trained:
    """Train adapters on `base`, which is left as it was found.

    saved: a state that `watch.keep` was given, to go on from. start: a LoRA to begin with, by layer path. Raises
    TrainingError for examples, a loss or a gradient that are not finite.
    """
    config.check_warmup()
    batch.check_examples(examples.trained)
    with torch.inference_mode(False):
        prepare(base, examples)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        adapters.attached(base.network, config.adapter, config.seed) as layers,
        recomputed(base.network, config.gradient_checkpointing),
    ):
        if start:
            adapters.start_from(layers, start)
        session = Session.begin(layers, config, base.device, base.dtype)
        if saved:
            session.load(saved)
            watch.resumed(session.metrics)
        make_steps(base, examples, session, watch)
        return Trained(session.weights(session.result()), tuple(session.metrics), session.finished)


def make_steps(base: Base, examples: Examples, session: Session, watch: Watch) -> None:
    """Make the steps that are left; whatever ends them, the run's state is kept."""
    try:
        checkpoint(session, watch)  # where the run was stopped between a step and its checkpoint
        for progress in steps(base, examples, session, watch.check):
            checkpoint(session, watch)
            watch.preview(progress.step, session.weights)
            watch.report(progress)
            if session.is_checkpoint:
                keep(session, watch)
    except FinishEarly:
        session.finished = False
        keep(session, watch)
        validation.prepare(base, examples, session.config, watch.check).measure(session)
    except BaseException:
        keep(session, watch)
        raise


def keep(session: Session, watch: Watch) -> None:
    """Have the run's state kept; a full disk ends no run, and hides no error that did."""
    try:
        watch.keep(session.state())
    except OSError as error:
        watch.warn(f"the state after step {session.step} cannot be kept ({error}); make room on the disk")


def checkpoint(session: Session, watch: Watch) -> None:
    """Have the LoRA kept as it is, where that is due; whatever comes of it, the run goes on."""
    if not session.is_checkpoint:
        return
    try:
        watch.checkpoint(session.step, session.weights())
    except (OSError, TrainingError) as error:
        watch.warn(f"the LoRA after step {session.step} cannot be kept ({error})")


def steps(base: Base, examples: Examples, session: Session, between: Callable[[], None]) -> Iterator[Progress]:
    """Make the steps that are left, one at a time, until the last or until validation has lost patience."""
    order, check = examples.order(session.config), validation.prepare(base, examples, session.config, between)
    check.measure_when_due(session)  # where the run was stopped between a step and its measurement
    while session.step < session.config.steps and not validation.out_of_patience(session):
        started = time.perf_counter()
        loss, prior = step(base, examples, order, session)
        session.step += 1
        learning_rate = session.schedule.get_last_lr()[0]
        session.schedule.step()
        session.update_average()
        seconds = time.perf_counter() - started
        session.metrics.append(Progress(session.step, session.config.steps, loss, learning_rate, seconds, prior))
        check.measure_when_due(session)
        yield session.metrics[-1]


def prepare(base: Base, examples: Examples) -> None:
    """Show the base every latent and condition that it will be asked about, while it has no adapters."""
    for example in (*examples.trained, *examples.held_out):
        empty = () if examples.empty is None else (examples.empty,)
        base.prepare(example.latent, [*example.conditions, *example.class_conditions, *empty])


def step(base: Base, examples: Examples, order: Order, session: Session) -> tuple[float, float | None]:
    """One step of the optimizer; the mean native loss of its batches and, where it is on, the mean prior loss."""
    config, parts = session.config, session.config.optimizer.accumulation
    losses, priors, names = [], [], []
    for part in range(parts):
        drawn = order.batch(session.step * parts + part)
        noisy = examples.batch(drawn, base, config)
        names += noisy.names
        with _dropout(config, drawn[0].shown):
            loss, prior = backward(base, session, noisy, 1 / parts)
        losses.append(loss)
        priors.append(prior)
    session.scaler.unscale_(session.optimizer)
    may_overflow = session.scaler.get_scale() > 1
    clip_gradients([session.flat.value], config.optimizer.max_grad_norm, names, session.step, may_overflow)
    session.scaler.step(session.optimizer)  # leaves a step out whose gradients overflowed, and lowers the scale
    session.scaler.update()
    session.optimizer.zero_grad(set_to_none=False)  # the parameters' gradients are views of it
    return sum(losses) / parts, sum(priors) / parts if config.prior.weight else None


def backward(base: Base, session: Session, noisy: NoisyBatch, share: float) -> tuple[float, float]:
    """Adds a share of the gradients of one batch to the adapters; gives its native loss and its prior loss.

    Each has a backward pass of its own, so that one graph at a time is in memory. Raises TrainingError where one is not
    finite.
    """
    config = session.config
    loss = batch.native_loss(base, noisy, config.objective)
    check_loss(loss, noisy.names, session.step)
    session.scaler.scale(share * loss).backward()
    if not config.prior.weight:
        return loss.item(), 0.0
    prior = prior_loss(base, session.layers, noisy)
    check_loss(prior, noisy.names, session.step)
    session.scaler.scale(share * config.prior.weight * prior).backward()
    return loss.item(), prior.item()


def prior_loss(base: Base, layers: Layers, noisy: NoisyBatch) -> Tensor:
    """How far the adapters move the network's answer to captions without the trigger from the base's own: a scalar.

    Differential output preservation: no picture beyond the data set is needed (`diff_output_preservation` in
    ostris/ai-toolkit, extensions_built_in/sd_trainer/SDTrainer.py).
    """
    with torch.no_grad(), adapters.disabled(layers):
        own = base.predict(noisy.x, noisy.sigma, noisy.class_conditions)
    moved = base.predict(noisy.x, noisy.sigma, noisy.class_conditions)
    return objective.of_each(objective.errors("mse", moved, own, 0.0)).mean()


@contextmanager
def _dropout(config: TrainConfig, shown: int) -> Iterator[None]:
    """Adapters' dropout draws from torch's global generators: give them a state that follows from the seed and how many
    pictures were shown, and their own back."""
    if not config.adapter.dropout and config.adapter.kind not in adapters.DRAWING:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed((config.seed * 1_000_003 + shown) & (2**63 - 1))
        yield


def check_loss(loss: Tensor, names: list[str], step: int) -> None:
    """Raise TrainingError where the loss is no number any more."""
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss.item()} at step {step + 1}, on {', '.join(names)}. Lower the learning rate, or check "
            "the base model's precision."
        )


def clip_gradients(
    parameters: list[nn.Parameter], max_norm: float, names: list[str], step: int, may_overflow: bool = False
) -> None:
    """Scale the gradients down to `max_norm` (0: leave them). Raises TrainingError where they are not finite.

    may_overflow: with a scaled loss they may be, and the step is left out; not once the scale is down to 1.
    """
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    if not torch.isfinite(norm) and not may_overflow:
        raise TrainingError(
            f"the gradient is {norm.item()} at step {step + 1}, on {', '.join(names)}. Lower the learning rate, or "
            "check the base model's precision."
        )
