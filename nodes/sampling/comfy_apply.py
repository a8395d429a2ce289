"""A character's LoRA on a MODEL and a CLIP; whether it belongs there is known before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from ...sota import registry
from ...trainers import comfy_lora, comfy_model


class Lora(Protocol):
    """A LoRA as it was read from a file, such as `characters.loras.CharacterLora`. called: for people; metadata: of its
    file."""

    @property
    def called(self) -> str: ...
    @property
    def weights(self) -> Mapping[str, Tensor]: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...


class LoraMisfit(ValueError):
    """A LoRA that was trained on another kind of model; the message says which and what to do."""


def applied(model, clip, lora: Lora, strength: float) -> tuple:
    """New MODEL and CLIP with the LoRA, as core's Load LoRA gives them at that strength of both. Raises LoraMisfit."""
    return patched(model, clip, fitting(model, clip, lora), strength)


def patched(model, clip, found: comfy_lora.Matched, strength: float) -> tuple:
    """New MODEL and CLIP with what `fitting` gave."""
    return with_adapters(model, found, strength), with_adapters(clip, found, strength)


def with_adapters(model_or_clip, found: comfy_lora.Matched, strength: float):
    """A new MODEL or CLIP with those of the adapters that are for it."""
    new = model_or_clip.clone()
    new.add_patches(found.adapters, strength)
    return new


def changes_text(clip, found: comfy_lora.Matched) -> bool:
    """Whether a LoRA has anything for the text encoder, so that texts have to be encoded with it."""
    own = clip.cond_stage_model.state_dict().keys()
    return any((key if isinstance(key, str) else key[0]) in own for key in found.adapters)


def fitting(model, clip, lora: Lora) -> comfy_lora.Matched:
    """The LoRA's adapters by the weights that they belong to. Raises LoraMisfit."""
    found = comfy_lora.matched(model, lora.weights, clip)
    misfits = comfy_lora.misfits(found, model, clip)
    if not found.strange and not misfits and found.adapters:
        return found
    raise LoraMisfit(
        f"{lora.called} {_trained_on(lora)}, and the model is {_family_name(model)}: "
        f"{_what_is_wrong(len(lora.weights), found.strange, misfits)}. Load a checkpoint of the LoRA's own kind, or "
        "choose a LoRA that was trained on this one."
    )


def _what_is_wrong(weights: int, strange: tuple[str, ...], misfits: Mapping[str, tuple]) -> str:
    if strange or not misfits:
        named = f" ({strange[0]}, …)" if strange else ""
        return f"{len(strange) or 'all'} of its {weights} weights belong to no layer of it{named}"
    name, (shape, own) = next(iter(misfits.items()))
    (rows, columns), (own_rows, own_columns) = shape, own
    return (
        f"{len(misfits)} of its layers have another size than the model's ({name}: {columns} to {rows}, and here it is "
        f"{own_columns} to {own_rows})"
    )


def _trained_on(lora: Lora) -> str:
    """By its file's metadata, where they tell it."""
    version, architecture = lora.metadata.get("ss_base_model_version"), lora.metadata.get("modelspec.architecture", "")
    for family in registry.families().values():
        if family.base.version == version or (not version and architecture.split("/")[0] == family.base.architecture):
            return f"was trained on {family.name}"
    return f"was trained on {version}" if version else "does not tell what it was trained on"


def _family_name(model) -> str:
    classes = comfy_model.model_classes(model)
    try:
        return registry.family_of(classes, comfy_model.parameter_count(model)).name
    except registry.UnknownFamily:
        return classes[0]
