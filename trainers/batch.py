"""From encoded pictures to a loss: a batch at its noise levels, and how far the network is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from . import draws, objective, timesteps
from .config import ObjectiveConfig, TrainConfig
from .errors import TrainingError


class Base(Protocol):
    """A frozen diffusion model as training sees it; `comfy_model.ComfyBase` is one."""

    network: nn.Module  # adapters go on its layers
    sampling: objective.Sampling
    device: torch.device
    dtype: torch.dtype  # that the network computes in
    patch_size: int  # latent pixels to a side of a token

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
    """One picture, encoded.

    latent: C,H,W in the model's latent space. conditions: of its captions, one or more, each in one or more orders.
    orders: how many of each caption; one where it is empty. class_conditions: of the same without the trigger, where
    prior preservation is on. mask: 1,H,W in 0..1, 1 where it is learned. repeats:
    how often an epoch shows it. weight: of its loss.
    """

    name: str
    latent: Tensor
    conditions: tuple[Any, ...]
    class_conditions: tuple[Any, ...] = ()
    orders: tuple[int, ...] = ()
    mask: Tensor | None = None
    repeats: int = 1
    weight: float = 1.0


@dataclass(frozen=True)
class Examples:
    """What a run learns from. held_out: pictures for validation. empty: the condition of no words, for caption
    dropout."""

    trained: tuple[Example, ...]
    held_out: tuple[Example, ...] = ()
    empty: Any = None

    def order(self, config: TrainConfig) -> draws.Order:
        pool = draws.Pool(
            shapes=[tuple(example.latent.shape) for example in self.trained],
            repeats=[example.repeats for example in self.trained],
            captions=[example.orders or [1] * len(example.conditions) for example in self.trained],
        )
        return draws.Order(pool, config.data.batch_size, config.data.caption_dropout, config.seed)

    def batch(self, drawn: Sequence[draws.Draw], base: Base, config: TrainConfig) -> NoisyBatch:
        """The drawn pictures with their noise at their timesteps."""
        pictures = [
            _noisy(base, self.trained[draw.example], config.objective, draws.generator(config.seed, draw.shown))
            for draw in drawn
        ]
        shown = [(self.trained[draw.example], draw.caption) for draw in drawn]
        conditions = [self.empty if caption is None else each.conditions[caption] for each, caption in shown]
        made = stack(base, pictures, conditions, config.objective)
        if not config.prior.weight:
            return made
        return replace(made, class_conditions=[each.class_conditions[caption or 0] for each, caption in shown])


@dataclass(frozen=True)
class NoisyPicture:
    """A picture at a noise level: x, target: C,H,W float32; sigma: float64."""

    example: Example
    x: Tensor
    target: Tensor
    sigma: float


@dataclass(frozen=True)
class NoisyBatch:
    """Pictures at their noise levels, on the base's device: x, target: B,C,H,W, mask: B,1,H,W or none, sigma, weight:
    B, all float32."""

    names: list[str]
    x: Tensor
    target: Tensor
    sigma: Tensor
    weight: Tensor
    mask: Tensor | None
    conditions: list[Any]
    class_conditions: list[Any] | None = None


def _noisy(base: Base, example: Example, config: ObjectiveConfig, generator: torch.Generator) -> NoisyPicture:
    noise = torch.randn(example.latent.shape, generator=generator)
    if config.noise_offset:
        noise = noise + config.noise_offset * torch.randn(len(noise), *[1] * (noise.dim() - 1), generator=generator)
    position = timesteps.draw_positions(config, 1, generator)
    return at_level(base, example, noise, levels(base, position, example.latent, config))


def levels(base: Base, positions: Tensor, latent: Tensor, config: ObjectiveConfig) -> Tensor:
    """Noise levels at positions of the schedule, after the config's shift, for a latent C,H,W: B -> B."""
    if config.timestep_shift == "fixed":
        positions = timesteps.shifted(positions, config.shift)
    if config.timestep_shift == "resolution":
        positions = timesteps.shifted(positions, timesteps.shift_of_size(*latent.shape[-2:], base.patch_size))
    return base.sigmas(positions, shifted=config.timestep_shift == "model")


def at_level(base: Base, example: Example, noise: Tensor, sigma: Tensor) -> NoisyPicture:
    """The picture with this noise (C,H,W) at sigma (1), and what the network should answer to it."""
    one = example.latent[None], noise[None]
    target = objective.native_target(base.sampling, sigma, one[1], one[0])[0]
    x = objective.noised(base.sampling, sigma, one[1], one[0])[0]
    return NoisyPicture(example, x, target, float(sigma))


def stack(base: Base, pictures: Sequence[NoisyPicture], conditions: list[Any], config: ObjectiveConfig) -> NoisyBatch:
    """One batch of pictures of one shape, on the base's device."""
    sigma = torch.tensor([picture.sigma for picture in pictures], dtype=torch.float64)
    weight = objective.weights(config.weighting, base.sampling, sigma, config.snr_gamma)
    weight = weight * torch.tensor([picture.example.weight for picture in pictures])

    def on_device(values: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(values)).to(base.device, torch.float32)

    return NoisyBatch(
        names=[picture.example.name for picture in pictures],
        x=on_device([picture.x for picture in pictures]),
        target=on_device([picture.target for picture in pictures]),
        sigma=sigma.to(base.device, torch.float32),
        weight=weight.to(base.device, torch.float32),
        mask=_masks(pictures, on_device),
        conditions=conditions,
    )


def _masks(pictures: Sequence[NoisyPicture], on_device) -> Tensor | None:
    """Of all pictures where one has a mask: B,1,H,W."""
    if all(picture.example.mask is None for picture in pictures):
        return None
    whole = [torch.ones_like(picture.x[:1]) for picture in pictures]
    masks = [picture.example.mask for picture in pictures]
    return on_device([
        one if mask is None else mask.reshape(1, *[1] * (one.dim() - 3), *mask.shape[-2:]).expand_as(one)
        for one, mask in zip(whole, masks, strict=True)
    ])  # fmt: skip


def native_loss(base: Base, batch: NoisyBatch, config: ObjectiveConfig) -> Tensor:
    """The error of what the network answers to the captions: a scalar."""
    prediction = base.predict(batch.x, batch.sigma, batch.conditions)
    errors = objective.errors(config.loss, prediction, batch.target, config.huber_delta)
    return (objective.of_each(errors, batch.mask, config.background_weight) * batch.weight).mean()


def check_examples(examples: Sequence[Example]) -> None:
    """Raise TrainingError where there is nothing to train on, or a latent holds NaN or infinity."""
    if not examples:
        raise TrainingError("the data set is empty: there is no picture to train on. Load a folder with pictures.")
    check_latents([example.name for example in examples], [example.latent for example in examples])


def check_latents(names: Sequence[str], latents: Sequence[Tensor]) -> None:
    """Raise TrainingError where a latent holds NaN or infinity."""
    broken = [name for name, latent in zip(names, latents, strict=True) if not is_finite(latent)]
    if broken:
        raise TrainingError(
            f"the VAE gave latents with NaN or infinity for {len(broken)} of {len(names)} pictures "
            f"({', '.join(broken[:3])}{', …' if len(broken) > 3 else ''}). Use a VAE that works in the precision it is "
            "run in (many need float32 or bfloat16: start ComfyUI with --fp32-vae or --bf16-vae)."
        )


def is_finite(latent: Tensor) -> bool:
    return bool(torch.isfinite(latent).all())
