"""A scene: MODEL and CONDITIONING in which each character is drawn in its own region.

Each region is drawn as a picture of its own by the words of its character, the whole by the prompt of the whole, and
what they predict is blended at every step (MultiDiffusion, arXiv 2302.08113, section 4.2, with ComfyUI's `area` and
`mask`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management
import torch
from torch import Tensor

from ...trainers import comfy_sampling
from ..characters.loras import CharacterLora
from ..sampling import comfy_apply
from . import comfy_masked, regions
from .regions import Region


@dataclass(frozen=True)
class SceneCharacter:
    """Who stands in a region. prompt: its words, with the trigger; strength: of the LoRA; mask: where, or None."""

    lora: CharacterLora
    prompt: str
    strength: float
    mask: Tensor | None = None

    @property
    def name(self) -> str:
        return self.lora.character.name


@dataclass(frozen=True)
class Blend:
    """How the regions and the whole come together. whole: how much the prompt of the whole counts inside regions,
    where a region counts 1; until: up to which share of the steps it does; feather: pixels of a region's soft edge."""

    whole: float
    until: float
    feather: int


@dataclass(frozen=True)
class Scene:
    """What goes on to a sampler."""

    model: object
    positive: list
    negative: list
    latent: dict


def made(
    model, clip, who: Sequence[SceneCharacter], where: Sequence[Region], prompt: str, negative: str, blend: Blend
) -> Scene:
    """The scene of characters in regions, in the same order. Raises LoraMisfit for a LoRA of another model."""
    fitted = [comfy_apply.fitted(model, clip, each.lora) for each in who]
    strengths = [each.strength for each in who]
    height, width = where[0].mask.shape
    size = _latent_size(model, width, height)
    masks = torch.stack([_shrunk(region.mask, size) for region in where])
    nobody = torch.zeros(len(who))
    encoded = [
        comfy_sampling.encode(lora.clip_at(each.strength), each.prompt) for each, lora in zip(who, fitted, strict=True)
    ]
    shares = _shares(where, blend)
    positive, opposite = (
        _shared(comfy_masked.placed(comfy_sampling.encode(clip, text), masks, nobody), shares)
        for text in (prompt, negative)
    )
    for place, (text, region) in enumerate(zip(encoded, where, strict=True)):
        words = nobody.index_fill(0, torch.tensor([place]), 1.0)
        positive += _windowed(text, masks, words, region, width / size[1], blend.feather)
    patched = comfy_masked.with_adapters(model, [lora.adapters for lora in fitted], strengths, size)
    return Scene(patched, positive, opposite, _empty(model, width, height))


@dataclass(frozen=True)
class _Share:
    """How much the whole counts, H,W, between two shares of the steps."""

    weight: Tensor
    start: float
    end: float


def _shares(where: Sequence[Region], blend: Blend) -> list[_Share]:
    """With its share inside the regions until its time, then outside them alone. Where they leave nothing it is not
    drawn then; one that lasts no time stays, as ComfyUI takes a window's negative prompt from it."""
    outside = regions.outside([region.mask for region in where], blend.feather)
    until = blend.until if blend.whole > 0 else 0.0
    shares = [_Share(outside.clamp_min(blend.whole), 0.0, until)]
    return [*shares, _Share(outside, until, 1.0)] if bool((outside > 0).any()) else shares


def _shared(text: list, shares: Sequence[_Share]) -> list:
    return [
        [tensor, {**about, "mask": share.weight[None], "mask_strength": 1.0, **_between(share)}]
        for share in shares
        for tensor, about in text
    ]


def _between(share: _Share) -> dict[str, float]:
    """ComfyUI counts the very first step as one of 0 to 0."""
    start, end = (share.start, share.end) if share.end > share.start else (1.0, 1.0)
    return {"start_percent": start, "end_percent": end}


def _windowed(text: list, masks: Tensor, words: Tensor, region: Region, pixels: float, feather: int) -> list:
    """A region's words, drawn in its window. pixels: of the picture to one of the latent."""
    part = region.window
    area = tuple(round(side / pixels) for side in (part.height, part.width, part.top, part.left))
    about = {"area": area, "mask": regions.feathered(region.mask, feather)[None], "mask_strength": 1.0, "strength": 1.0}
    return [[tensor, {**own, **about}] for tensor, own in comfy_masked.placed(text, masks, words)]


def _latent_size(model, width: int, height: int) -> tuple[int, int]:
    ratio = _ratio(model)
    return height // ratio, width // ratio


def _ratio(model) -> int:
    """Pixels to a side of a latent pixel; an older ComfyUI knows of 8 alone."""
    return getattr(model.model.latent_format, "spacial_downscale_ratio", 8)


def _shrunk(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask H,W in latent pixels: 1 where most of one is inside."""
    return (torch.nn.functional.adaptive_avg_pool2d(mask[None], size)[0] > 0.5).float()


def _empty(model, width: int, height: int) -> dict:
    """As EmptyLatentImage makes it; samplers give it the model's channels."""
    height, width = _latent_size(model, width, height)
    samples = torch.zeros([1, 4, height, width], device=comfy.model_management.intermediate_device())
    return {"samples": samples, "downscale_ratio_spacial": _ratio(model)}
