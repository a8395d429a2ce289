"""What tells ComfyUI's MODELs apart by what they draw, with all that nodes may have put on them."""

from __future__ import annotations

import weakref

from torch import nn

from . import comfy_encoders, comfy_model, fingerprints

_WEIGHTS: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()  # of models that are loaded
_CHANGES = ("model_options", "weight_wrapper_patches", "attachments", "callbacks", "wrappers", "injections")


def of_model(patcher) -> str:
    """sha256 over the weights, the LoRAs that are to be put into them, the noise schedule, and what nodes changed else.
    The weights are looked at once for every model that is loaded; a change that cannot be looked into counts as new."""
    sampling = patcher.get_model_object("model_sampling")
    others = {name: part for name, part in patcher.object_patches.items() if part is not sampling}
    changes = [others, *(getattr(patcher, name, None) for name in _CHANGES)]
    return fingerprints.of_parts(
        _of_weights(patcher),
        *comfy_encoders.patches_fingerprints(patcher),
        comfy_model.schedule_fingerprint(sampling),
        fingerprints.of_anything(changes),
        f"{patcher.model.get_dtype()} {patcher.model.manual_cast_dtype}",
        *(str(hook) for hook in patcher.hook_patches),
    )


def _of_weights(patcher) -> str:
    """As they are without the LoRA that may be merged into them now, of this MODEL or of another one."""
    if patcher.model not in _WEIGHTS:
        weights = {
            f"diffusion_model.{name}": weight for name, weight in patcher.model.diffusion_model.state_dict().items()
        }
        backup = patcher.backup
        own = {name: backup[name].weight if name in backup else weight for name, weight in weights.items()}
        _WEIGHTS[patcher.model] = fingerprints.of_weights(own)
    return _WEIGHTS[patcher.model]
