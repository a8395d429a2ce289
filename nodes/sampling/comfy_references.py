"""Pictures of a character in the conditioning, by ComfyUI's own ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.utils
import node_helpers
import torch
from comfy_extras.nodes_flux import FluxKontextImageScale
from comfy_extras.nodes_qwen import TextEncodeQwenImageEditPlus
from torch import Tensor

from ...sota.registry import KONTEXT, QWEN_EDIT, ReferencePolicy
from ...trainers import comfy_model, comfy_sampling
from .references import ReferencesError, megapixel_size, policy_for


@dataclass(frozen=True)
class Prompts:
    """What is asked for, and not. conditioning: in the place of the encoded prompt."""

    prompt: str
    negative: str
    conditioning: list | None = None


def policy_of(model, method: str) -> ReferencePolicy:
    """How a MODEL is shown pictures. method: one of references.METHODS. Raises ReferencesError."""
    return policy_for(method, comfy_model.model_classes(model), comfy_model.parameter_count(model))


def conditioned(model, clip, vae, prompts: Prompts, pictures: Sequence[Tensor], policy: ReferencePolicy) -> tuple:
    """Positive and negative CONDITIONING, both with the pictures, as in core's templates: guidance then weighs the
    words alone. pictures: each 1,H,W,3 in 0..1. Raises ReferencesError for parts that do not belong together."""
    if policy.mechanism == QWEN_EDIT:
        _check_edit(clip, prompts, len(pictures), policy)
        positive = _edited(clip, vae, prompts.prompt, pictures)
        negative = _edited(clip, None, prompts.negative, pictures)  # the latents are there already
        return positive, with_latents(negative, positive[0][1]["reference_latents"])
    latents = [vae.encode(scaled(picture, policy)) for picture in pictures]
    _check_channels(model, latents[0])
    positive = prompts.conditioning
    positive = comfy_sampling.encode(clip, prompts.prompt) if positive is None else positive
    negative = comfy_sampling.encode(clip, prompts.negative)
    return with_latents(positive, latents), with_latents(negative, latents)


def with_latents(conditioning: list, latents: list[Tensor]) -> list:
    """As a chain of core's ReferenceLatent nodes gives it."""
    return node_helpers.conditioning_set_values(conditioning, {"reference_latents": latents}, append=True)


def scaled(picture: Tensor, policy: ReferencePolicy) -> Tensor:
    """1,H,W,3 of the size that the family wants: by core's FluxKontextImageScale, or as core's nodes for Qwen-Image do
    it (whole pictures, averaged)."""
    if policy.scaling == KONTEXT:
        return FluxKontextImageScale.execute(picture).args[0]
    width, height = megapixel_size(picture.shape[2], picture.shape[1], policy.multiple)
    channels_first = picture.movedim(-1, 1)  # B,H,W,C -> B,C,H,W
    return comfy.utils.common_upscale(channels_first, width, height, "area", "disabled").movedim(1, -1)


def _edited(clip, vae, text: str, pictures: Sequence[Tensor]) -> list[Any]:
    return TextEncodeQwenImageEditPlus.execute(clip, text, vae, *pictures).args[0]


def _check_edit(clip, prompts: Prompts, number: int, policy: ReferencePolicy) -> None:
    if prompts.conditioning is not None:
        raise ReferencesError(
            "this model's text encoder reads the pictures together with the prompt, so a conditioning that is encoded "
            "already cannot be used. Disconnect conditioning and write the prompt, or choose reference latents."
        )
    if number > policy.most:
        raise ReferencesError(
            f"count lets {number} pictures through, and Qwen edit takes {policy.most}. Set count to {policy.most}."
        )
    probe = clip.tokenize("<|vision_start|><|image_pad|><|vision_end|>", images=[torch.zeros(1, 56, 56, 3)])
    tokens = (token[0] for chunks in probe.values() for chunk in chunks for token in chunk)
    if not any(isinstance(token, dict) and token.get("type") == "image" for token in tokens):
        raise ReferencesError(
            f"this text encoder ({type(clip.tokenizer).__name__}) does not look at pictures. Load Qwen2.5-VL 7B with "
            "Load CLIP, type qwen_image."
        )


def _check_channels(model, latent: Tensor) -> None:
    wanted = model.model.latent_format.latent_channels
    if latent.shape[1] != wanted:
        raise ReferencesError(
            f"the VAE gives latents of {latent.shape[1]} channels and the model takes {wanted}. Connect the VAE that "
            "belongs to this model."
        )
