"""The training loop: set up, step, report.

Every random draw of step k comes from (seed, k) alone, so no generator has to be saved to go on later, and the
order of events inside a step changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from . import adapters, objective, optimizers
from .adapters import LowRank
from .config import TrainConfig
from .errors import TrainingError
from .run import Progress
from .timesteps import SHIFTED, draw_positions


class Base(Protocol):
    """A frozen diffusion model as the loop sees it; `comfy_model.ComfyBase` is one."""

    network: nn.Module  # adapters go on its layers
    sampling: objective.Sampling
    device: torch.device
    dtype: torch.dtype  # that the network computes in

    def sigmas(self, positions: Tensor, shifted: bool = False) -> Tensor:
        """Noise levels at positions 0 (clean) to 1 (noise) of the model's schedule: B -> B.

        A flow model's level is the position itself, or when shifted what its sampler makes of it.
        """

    def prepare(self, latent: Tensor, conditions: Sequence[Any]) -> None:
        """Called before the network has adapters, with a latent C,H,W and each condition that it will be given."""

    def predict(self, x: Tensor, sigma: Tensor, conditions: Sequence[Any]) -> Tensor:
        """The network's own output for noisy latents x (B,C,H,W) at sigma (B), with one condition a picture."""


@dataclass(frozen=True)
class Example:
    """One picture, encoded: latent C,H,W in the model's latent space, and its text condition; class_condition: of its
    caption without the trigger, where prior preservation is on."""

    name: str
    latent: Tensor
    condition: Any
    class_condition: Any = None


@dataclass(frozen=True)
class Trained:
    """The adapters after the last step, and the numbers of every step."""

    layers: dict[str, LowRank]
    metrics: tuple[Progress, ...]


Report = Callable[[Progress], None]


def train(base: Base, examples: Sequence[Example], config: TrainConfig, report: Report) -> Trained:
    """Train LoRA adapters on `base`, which is left as it was found.

    report: called after every step; what it raises ends the training and passes through.
    Raises TrainingError for examples or a loss that are not finite.
    """
    check_examples(examples)
    metrics = []
    with torch.inference_mode(False):
        prepare(base, examples)
    with torch.inference_mode(False), torch.enable_grad(), adapters.attached(base.network, config) as layers:
        parameters = adapters.parameters(layers)
        optimizer = optimizers.adamw(parameters, config)
        schedule = optimizers.schedule(optimizer, config)
        # float16 has no room for small gradients: the loss is scaled up for the backward pass (arXiv 1710.03740, 3.2)
        scaler = torch.amp.GradScaler(base.device.type, enabled=base.dtype == torch.float16)

        for step in range(config.steps):
            started = time.perf_counter()
            batch = draw_batch(examples, config, step)
            loss, prior = backward(base, layers, batch, config, step, scaler)
            scaler.unscale_(optimizer)
            clip_gradients(parameters, config.max_grad_norm, batch, step, may_overflow=scaler.get_scale() > 1)
            learning_rate = schedule.get_last_lr()[0]
            scaler.step(optimizer)  # leaves a step out whose gradients overflowed, and lowers the scale
            scaler.update()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)

            seconds = time.perf_counter() - started
            metrics.append(Progress(step + 1, config.steps, loss, learning_rate, seconds, prior))
            report(metrics[-1])

        return Trained(adapters.low_rank(layers, config.alpha), tuple(metrics))


def prepare(base: Base, examples: Sequence[Example]) -> None:
    """Show the base every latent and condition that it will be asked about, while it has no adapters."""
    for example in examples:
        conditions = (example.condition, example.class_condition)
        base.prepare(example.latent, [condition for condition in conditions if condition is not None])


def backward(
    base: Base,
    layers: dict[str, LoraLayer],
    batch: Sequence[Example],
    config: TrainConfig,
    step: int,
    scaler: torch.amp.GradScaler,
) -> tuple[float, float | None]:
    """Adds the gradients of one step to the adapters; gives the native loss and, where it is on, the prior loss.

    Each has a backward pass of its own, so that one graph at a time is in memory. Raises TrainingError where one is not
    finite.
    """
    noisy = add_noise(base, batch, config, step)
    loss = native_loss(base, noisy, batch)
    check_loss(loss, batch, step)
    scaler.scale(loss).backward()
    if not config.prior_loss_weight:
        return loss.item(), None
    prior = prior_loss(base, layers, noisy, batch)
    check_loss(prior, batch, step)
    scaler.scale(config.prior_loss_weight * prior).backward()
    return loss.item(), prior.item()


def draw_batch(examples: Sequence[Example], config: TrainConfig, step: int) -> list[Example]:
    """The pictures of one step. Each epoch goes through all of them once, in an order of its own."""
    first = step * config.batch_size
    return [examples[index] for index in _order(len(examples), config.seed, first, config.batch_size)]


def _order(count: int, seed: int, first: int, length: int) -> Iterator[int]:
    for position in range(first, first + length):
        epoch, place = divmod(position, count)
        yield int(np.random.default_rng([seed, epoch]).permutation(count)[place])


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of every random number of one step, on the CPU so that all devices draw alike."""
    state = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) & (2**63 - 1))


@dataclass(frozen=True)
class NoisyBatch:
    """A batch at its noise levels, on the base's device: x, target: B,C,H,W and sigma: B, all float32."""

    x: Tensor
    sigma: Tensor
    target: Tensor


def add_noise(base: Base, batch: Sequence[Example], config: TrainConfig, step: int) -> NoisyBatch:
    """The batch with freshly drawn noise at freshly drawn timesteps, and what the network should answer to it."""
    generator = step_generator(config.seed, step)
    latent = torch.stack([example.latent for example in batch])
    noise = torch.randn(latent.shape, generator=generator)
    positions = draw_positions(config.timestep_sampling, len(batch), generator)
    sigma = base.sigmas(positions, shifted=config.timestep_sampling == SHIFTED)

    target = objective.native_target(base.sampling, sigma, noise, latent)
    x = objective.noised(base.sampling, sigma, noise, latent)
    return NoisyBatch(*(value.to(base.device, torch.float32) for value in (x, sigma, target)))


def native_loss(base: Base, noisy: NoisyBatch, batch: Sequence[Example]) -> Tensor:
    """The error of what the network answers to the captions: a scalar."""
    prediction = base.predict(noisy.x, noisy.sigma, [example.condition for example in batch])
    return objective.mean_squared_error(prediction, noisy.target).mean()


def prior_loss(base: Base, layers: dict[str, LoraLayer], noisy: NoisyBatch, batch: Sequence[Example]) -> Tensor:
    """How far the adapters move the network's answer to captions without the trigger from the base's own: a scalar.

    Differential output preservation: no picture beyond the data set is needed (`diff_output_preservation` in
    ostris/ai-toolkit, extensions_built_in/sd_trainer/SDTrainer.py).
    """
    conditions = [example.class_condition for example in batch]
    with torch.no_grad(), adapters.disabled(layers):
        own = base.predict(noisy.x, noisy.sigma, conditions)
    return objective.mean_squared_error(base.predict(noisy.x, noisy.sigma, conditions), own).mean()


def check_examples(examples: Sequence[Example]) -> None:
    """Raise TrainingError where there is nothing to train on, or a latent holds NaN or infinity."""
    if not examples:
        raise TrainingError("the data set is empty: there is no picture to train on. Load a folder with pictures.")
    broken = [example.name for example in examples if not torch.isfinite(example.latent).all()]
    if broken:
        raise TrainingError(
            f"the VAE gave latents with NaN or infinity for {len(broken)} of {len(examples)} pictures "
            f"({', '.join(broken[:3])}{', …' if len(broken) > 3 else ''}). Use a VAE that works in the precision it is "
            "run in (many need float32 or bfloat16: start ComfyUI with --fp32-vae or --bf16-vae)."
        )


def check_loss(loss: Tensor, batch: Sequence[Example], step: int) -> None:
    """Raise TrainingError where the loss is no number any more."""
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss.item()} at step {step + 1}, on {_names(batch)}. Lower the learning rate, or check the "
            "base model's precision."
        )


def clip_gradients(
    parameters: list[nn.Parameter], max_norm: float, batch: Sequence[Example], step: int, may_overflow: bool = False
) -> None:
    """Scale the gradients down to `max_norm` (0: leave them). Raises TrainingError where they are not finite.

    may_overflow: with a scaled loss they may be, and the step is left out; not once the scale is down to 1.
    """
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    if not torch.isfinite(norm) and not may_overflow:
        raise TrainingError(
            f"the gradient is {norm.item()} at step {step + 1}, on {_names(batch)}. Lower the learning rate, or check "
            "the base model's precision."
        )


def _names(batch: Sequence[Example]) -> str:
    return ", ".join(example.name for example in batch)
