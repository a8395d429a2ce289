"""A LoRA in any form that ComfyUI reads, as what a training starts from."""

from __future__ import annotations

from collections.abc import Mapping

import comfy.lora
import comfy.lora_convert
from torch import Tensor

from .adapters import LowRank
from .errors import TrainingError


def low_rank(patcher, lora: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """The products of a LoRA by layer path in the model; text encoders' are left out, as they are not trained.

    Names are matched by ComfyUI itself, so what it loads is read here: sd-scripts', peft's and diffusers'. Raises
    TrainingError for a file of another model, and for adapters other than plain LoRA.
    """
    state = comfy.lora_convert.convert_lora(dict(lora))
    known = comfy.lora.model_lora_keys_unet(patcher.model, {})
    found = comfy.lora.load_lora(state, known, log_missing=False)
    if not found:
        raise TrainingError(
            f"none of the {len(lora)} weights of the LoRA to start from belongs to this model ({next(iter(lora), '')}, "
            "…). Connect a LoRA that was trained on the same kind of base."
        )
    return {_path(key): _plain(key, adapter) for key, adapter in found.items()}


def _path(key) -> str:
    if not isinstance(key, str):
        raise TrainingError(f"the LoRA to start from has a part of the layer {key[0]} alone, which is not supported.")
    return key.removeprefix("diffusion_model.").removesuffix(".weight")


def _plain(key, adapter) -> LowRank:
    if getattr(adapter, "name", "") != "lora":
        kind = getattr(adapter, "name", None) or adapter[0]
        raise TrainingError(
            f"the LoRA to start from has a {kind} at {key}; a training can start from plain LoRA alone."
        )
    up, down, alpha, middle, dora_scale, reshape = adapter.weights
    if any(each is not None for each in (middle, dora_scale, reshape)):
        raise TrainingError(f"the LoRA to start from is no plain one at {key} (DoRA, or in three parts).")
    scale = 1.0 if alpha is None else alpha / down.shape[0]
    return LowRank(down=down.float(), up=scale * up.float())
