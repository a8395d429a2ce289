"""ComfyUI's own sampling, as KSampler does it: for pictures that are compared, and for previews while training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_management
import comfy.sample
import torch
from torch import Tensor

# A newer ComfyUI is told that an empty latent has an eighth of the picture's size, as EmptyLatentImage tells it.
_TAKES_RATIO = "downscale_ratio_spacial" in inspect.signature(comfy.sample.fix_empty_latent_channels).parameters
_EMPTY = {"downscale_ratio_spacial": 8} if _TAKES_RATIO else {}


@dataclass(frozen=True)
class SamplerSettings:
    """KSampler's settings, and the size of a picture in pixels."""

    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    width: int
    height: int


def encode(clip, text: str) -> list:
    """The CONDITIONING of a prompt."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def sample(
    model, positive: list, negative: list, seed: int, settings: SamplerSettings, on_step: Callable[[], None]
) -> Tensor:
    """One latent, drawn as core's EmptyLatentImage and KSampler draw it."""
    device = comfy.model_management.intermediate_device()
    empty = torch.zeros([1, 4, settings.height // 8, settings.width // 8], device=device)
    latent = comfy.sample.fix_empty_latent_channels(model, empty, **_EMPTY)
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(
        model,
        noise,
        settings.steps,
        settings.cfg,
        settings.sampler_name,
        settings.scheduler,
        positive,
        negative,
        latent,
        callback=lambda step, x0, x, total: on_step(),
        disable_pbar=True,
        seed=seed,
    )


def decode(vae, latent: Tensor) -> Tensor:
    """The picture of one latent: H,W,3 float32 on the CPU, about 0..1."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    pixels = vae.decode(latent)
    return pixels.reshape((-1, *pixels.shape[-3:]))[0].float().cpu()  # a video VAE gives B,T,H,W,C
