"""Prompts as vectors beside those of a CLIP_VISION, by the text encoder of a CLIP that was trained with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .adherence import AdherenceError


def text_vectors(clip, clip_vision, texts: Sequence[str]) -> Tensor:
    """P,d of unit length. Raises AdherenceError where the two were not trained together."""
    projection = _projection(clip, _width(clip_vision))
    return functional.normalize(torch.cat([_projected(clip, projection, text) for text in texts]), dim=1)


def _width(clip_vision) -> int:
    """Of the space that pictures and text share."""
    projection = getattr(clip_vision.model, "visual_projection", None)
    if not isinstance(projection, nn.Linear):
        raise AdherenceError(
            "this CLIP_VISION has no space for text: SigLIP and DINO have none in ComfyUI. Load a CLIP one, such as "
            "CLIP-ViT-L."
        )
    return projection.out_features


def _projection(clip, width: int) -> nn.Linear:
    found = list(_projections(clip.cond_stage_model))
    fitting = [each for each in found if each.out_features == width]
    if not fitting:
        has = f"ones of {', '.join(str(each.out_features) for each in found)}" if found else "none"
        raise AdherenceError(
            f"the CLIP_VISION makes vectors of {width} numbers, and for text the CLIP has {has}. Load the text "
            "encoder that was trained with it: clip_l goes with CLIP-ViT-L, clip_g with CLIP-ViT-bigG."
        )
    weight = fitting[0].weight.detach().float().cpu()
    if torch.equal(weight, torch.eye(width)):
        raise AdherenceError(
            "the text encoder came without its projection, as in most checkpoints of SD 1.5 and SDXL, so its vectors "
            "lie elsewhere than those of pictures. Load clip_l.safetensors or clip_g.safetensors with Load CLIP."
        )
    return fitting[0]


def _projections(model: nn.Module) -> Iterator[nn.Linear]:
    for module in model.modules():
        projection = getattr(module, "text_projection", None)
        if isinstance(projection, nn.Linear):
            yield projection


def _projected(clip, projection: nn.Linear, text: str) -> Tensor:
    """1,d: what goes through the projection first when ComfyUI encodes; of text over 75 tokens, those."""
    seen: list[Tensor] = []
    handle = projection.register_forward_hook(lambda module, given, made: seen.append(made[:1].float().cpu()))
    try:
        clip.encode_from_tokens(clip.tokenize(text))
    finally:
        handle.remove()
    return seen[0]
