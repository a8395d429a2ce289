"""ComfyUI's own sampling, as KSampler does it: for pictures that are compared, and for previews while training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import torch
from torch import Tensor

# A newer ComfyUI is told by an empty LATENT how much smaller than the picture it is; EmptyLatentImage's is an eighth.
_RATIOS = {"downscale_ratio_spacial", "downscale_ratio_temporal"}
_RATIOS &= inspect.signature(comfy.sample.fix_empty_latent_channels).parameters.keys()
_EMPTY = {"downscale_ratio_spacial": 8}

# Those that put no noise in while they sample (comfy/k_diffusion/sampling.py, and the ODE solvers beside it): with them
# a picture of several that are drawn together is the one that is drawn alone, but for rounding.
WITHOUT_NOISE = frozenset({
    "euler", "euler_cfg_pp", "heun", "heunpp2", "dpm_2", "lms", "dpmpp_2m", "dpmpp_2m_cfg_pp", "ipndm", "ipndm_v",
    "deis", "res_multistep", "res_multistep_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "ddim",
    "uni_pc", "uni_pc_bh2",
})  # fmt: skip


@dataclass(frozen=True)
class SamplerSettings:
    """KSampler's settings, and the size of a picture in pixels."""

    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    width: int
    height: int


@dataclass(frozen=True)
class Start:
    """What a picture is drawn over. latent: core's LATENT of one picture; denoise: KSampler's, 0 to 1."""

    latent: Mapping[str, Any]
    denoise: float


def encode(clip, text: str) -> list:
    """The CONDITIONING of a prompt."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def sample(
    model,
    positive: list,
    negative: list,
    seed: int,
    settings: SamplerSettings,
    on_step: Callable[[], None],
    start: Start | None = None,
    on_latent: Callable[[Tensor], None] = lambda latent: None,
) -> Tensor:
    """One latent, drawn as core's KSampler draws it: over what EmptyLatentImage gives, or a start. on_latent: gets what
    each step takes for the finished latent, B,C,h,w."""
    start = start or Start(_empty(settings), 1.0)
    latent = _with_channels(model, start.latent)
    noise = comfy.sample.prepare_noise(latent, seed, start.latent.get("batch_index"))

    def callback(step: int, x0: Tensor, x: Tensor, total: int) -> None:
        on_latent(x0)
        on_step()

    return _sampled(model, positive, negative, noise, latent, settings, callback, seed, start)


def sample_together(
    model, positive: list, negative: list, seeds: Sequence[int], settings: SamplerSettings, on_step: Callable[[], None]
) -> Tensor:
    """As many latents as seeds, each with the noise that it has alone. positive: of one prompt, or `together`."""
    empty = _with_channels(model, _empty(settings))
    noise = torch.cat([comfy.sample.prepare_noise(empty, seed) for seed in seeds])
    latent = empty.repeat(len(seeds), *[1] * (empty.dim() - 1))
    start = Start({}, 1.0)
    return _sampled(model, positive, negative, noise, latent, settings, lambda *_: on_step(), seeds[0], start)


def together(prompts: Sequence[list]) -> list | None:
    """Prompts' CONDITIONING as one, a row each; None where that cannot be said of them."""
    if any(len(each) != 1 or each[0][1].keys() - {"pooled_output"} for each in prompts):
        return None
    rows = [each[0][0] for each in prompts]
    pooled = [each[0][1].get("pooled_output") for each in prompts]
    shapes = {(row.shape, None if vector is None else vector.shape) for row, vector in zip(rows, pooled, strict=True)}
    if len(shapes) > 1 or len(rows[0]) != 1:
        return None
    return [[torch.cat(rows), {"pooled_output": None if pooled[0] is None else torch.cat(pooled)}]]


def _sampled(
    model, positive: list, negative: list, noise: Tensor, latent: Tensor, settings: SamplerSettings, callback: Callable,
    seed: int, start: Start,
) -> Tensor:  # fmt: skip
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
        denoise=start.denoise,
        noise_mask=start.latent.get("noise_mask"),
        callback=callback,
        disable_pbar=True,
        seed=seed,
    )


def _empty(settings: SamplerSettings) -> dict[str, Any]:
    device = comfy.model_management.intermediate_device()
    return {"samples": torch.zeros([1, 4, settings.height // 8, settings.width // 8], device=device), **_EMPTY}


def _with_channels(model, latent: Mapping[str, Any]) -> Tensor:
    """Of an empty latent as many as the model has."""
    ratios = {name: latent.get(name) for name in _RATIOS}
    return comfy.sample.fix_empty_latent_channels(model, latent["samples"], **ratios)


def decode(vae, latent: Tensor) -> Tensor:
    """The picture of one latent: H,W,3 float32 on the CPU, about 0..1."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    pixels = vae.decode(latent)
    return pixels.reshape((-1, *pixels.shape[-3:]))[0].float().cpu()  # a video VAE gives B,T,H,W,C
