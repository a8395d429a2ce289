"""A character's LoRA on a MODEL and a CLIP; whether it belongs there is known before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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


@dataclass(frozen=True)
class Fitted:
    """A LoRA beside the MODEL and CLIP that it fits. lora: for people, which it is; adapters: as ComfyUI's
    `add_patches` takes them."""

    lora: str
    model: Any
    clip: Any
    adapters: Mapping[Any, Any]

    def at(self, strength: float) -> tuple:
        """New MODEL and CLIP with the LoRA, as core's Load LoRA gives them at that strength of both."""
        model = self.model.clone()
        model.add_patches(self.adapters, strength)
        return model, self.clip_at(strength)

    def clip_at(self, strength: float):
        """A new CLIP with it."""
        clip = self.clip.clone()
        clip.add_patches(self.adapters, strength)
        return clip

    @property
    def changes_text(self) -> bool:
        """Whether any of it is for the text encoder, so that texts have to be encoded with it."""
        return bool(self.clip.clone().add_patches(self.adapters))


def applied(model, clip, lora: Lora, strength: float) -> tuple:
    """New MODEL and CLIP with the LoRA at that strength of both. Raises LoraMisfit."""
    return fitted(model, clip, lora).at(strength)


def fitted(model, clip, lora: Lora) -> Fitted:
    """Raises LoraMisfit for a LoRA of another kind of model."""
    found = comfy_lora.matched(model, lora.weights, clip)
    misfits = comfy_lora.misfits(found, model, clip)
    if not found.strange and not misfits and found.adapters:
        return Fitted(lora.called, model, clip, found.adapters)
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
