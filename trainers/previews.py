"""Pictures drawn with the LoRA as it is while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """A picture H,W,3 in 0..1 of a prompt."""

    prompt: str
    pixels: Tensor


Show = Callable[[int, Sequence[Preview]], None]  # given the step after which they were drawn


class Previewer:
    """Encodes the prompts at once, since the text encoder leaves the GPU, and draws when it is time."""

    def __init__(self, clip, vae, config: PreviewConfig, show: Show):
        self._vae, self._config, self._show = vae, config, show
        with torch.inference_mode():
            self._positive = [comfy_sampling.encode(clip, prompt) for prompt in config.prompts]
            self._negative = comfy_sampling.encode(clip, config.negative)

    def is_due(self, step: int) -> bool:
        return step % self._config.every == 0

    def draw(self, base: ComfyBase, step: int, lora: Mapping[str, Tensor]) -> None:
        """Show a picture of each prompt, as the base draws it with the LoRA.

        The adapters come off meanwhile: ComfyUI may move the base's weights about to make room, and knows its own
        modules alone. Afterwards the base is whole again, whatever happened.
        """
        with adapters.taken_off(base.network), base.as_loaded():
            try:
                pictures = self._pictures(base, lora)
            finally:
                comfy_model.load_again(base)
        drawn = zip(self._config.prompts, pictures, strict=True)
        self._show(step, [Preview(prompt, pixels.clamp(0, 1)) for prompt, pixels in drawn])

    @torch.inference_mode()
    def _pictures(self, base: ComfyBase, lora: Mapping[str, Tensor]) -> list[Tensor]:
        config, model = self._config, comfy_model.with_lora(base.patcher, lora)
        latents = [
            comfy_sampling.sample(model, positive, self._negative, config.seed, config.sampler, lambda: None)
            for positive in self._positive
        ]
        return [comfy_sampling.decode(self._vae, latent) for latent in latents]
