"""Pictures drawn from the weights as they are while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import adapters, comfy_model, comfy_sampling
from .comfy_model import ComfyBase
from .comfy_sampling import SamplerSettings


@dataclass(frozen=True)
class PreviewConfig:
    """What is drawn every so many steps: a picture for each prompt, always from the same noise."""

    prompts: tuple[str, ...]
    every: int
    seed: int
    negative: str
    sampler: SamplerSettings


@dataclass(frozen=True)
class Preview:
    """A picture H,W,3 in 0..1 of a prompt, drawn after a step."""

    step: int
    number: int
    prompt: str
    pixels: Tensor


Show = Callable[[Preview], None]


class Previewer:
    """Encodes the prompts at once, since the text encoder leaves memory, and draws when it is time."""

    def __init__(self, clip, vae, config: PreviewConfig, show: Show):
        self._vae, self._config, self._show = vae, config, show
        with torch.inference_mode():
            self._positive = [comfy_sampling.encode(clip, prompt) for prompt in config.prompts]
            self._negative = comfy_sampling.encode(clip, config.negative)

    def draw_when_due(self, base: ComfyBase, step: int) -> None:
        if step % self._config.every == 0:
            self.draw(base, step)

    def draw(self, base: ComfyBase, step: int) -> None:
        """Show a picture of each prompt. The base stays loaded as it was: drawing may move it off the device."""
        with adapters.without_dropout(adapters.adapted(base.network)), torch.no_grad():
            latents = [self._latent(base, positive) for positive in self._positive]
            pictures = [comfy_sampling.decode(self._vae, latent) for latent in latents]
            comfy_model.load_again(base)
        for number, (prompt, pixels) in enumerate(zip(self._config.prompts, pictures, strict=True)):
            self._show(Preview(step, number, prompt, pixels.clamp(0, 1)))

    def _latent(self, base: ComfyBase, positive: Sequence) -> Tensor:
        config = self._config
        return comfy_sampling.sample(base.patcher, positive, self._negative, config.seed, config.sampler, lambda: None)
