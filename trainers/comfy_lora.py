"""What ComfyUI knows of LoRA files: the names of layers in them, and a file of any program as what a training starts
from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.utils
import torch
from torch import Tensor

from . import comfy_model
from .adapters import LowRank
from .errors import TrainingError
from .lora_file import FileNames, Part

Shape = tuple[int, int]  # rows and columns of a weight as a matrix

# Families whose files other programs read under diffusers' names, by the class that ComfyUI knows them by: their query,
# key and value are apart there, and one matrix in ComfyUI. The prefix is the one that ComfyUI reads too.
_DIFFUSERS_PREFIX = {"SD3": "transformer.", "Lumina2": "diffusion_model."}


def file_names(patcher, kind: str) -> FileNames:
    """The names of every layer in files of a kind of adapter. Asked while the model has no adapters, whose layers stand
    deeper."""
    return FileNames(sd_scripts_names(patcher), diffusers_parts(patcher) if kind == "lora" else {})


def sd_scripts_names(patcher) -> dict[str, str]:
    """The name in sd-scripts' files (`lora_unet_...`) of every weight, by path in the diffusion model.

    Taken from ComfyUI's own key map, so what is written is what it reads. Where it knows two names for a weight
    (UNets: ComfyUI's path and diffusers'), the one that is not the path is diffusers', which other programs read.
    """
    names: dict[str, str] = {}
    for name, target in comfy.lora.model_lora_keys_unet(patcher.model, {}).items():
        if not (name.startswith("lora_unet_") and isinstance(target, str)):
            continue
        path = _path(target)
        if path not in names or name != "lora_unet_" + path.replace(".", "_"):
            names[path] = name
    return names


def diffusers_parts(patcher) -> dict[str, list[Part]]:
    """The names in diffusers' files of every weight and its parts, by path; empty for families that other programs read
    under sd-scripts' names."""
    prefixes = [_DIFFUSERS_PREFIX[name] for name in comfy_model.model_classes(patcher) if name in _DIFFUSERS_PREFIX]
    parts: dict[str, list[Part]] = {}
    for name, target in comfy.lora.model_lora_keys_unet(patcher.model, {}).items() if prefixes else ():
        part = _part(name, target) if name.startswith(prefixes[0]) else None
        if part:
            parts.setdefault(_path(target if isinstance(target, str) else target[0]), []).append(part)
    rows = {name: len(weight) for name, weight in patcher.model.diffusion_model.named_parameters()}
    there = {path: found for path, found in parts.items() if f"{path}.weight" in rows}  # its map has more than a model
    return {path: _whole_or_slices(found, rows[f"{path}.weight"]) for path, found in there.items()}


def _part(name: str, target) -> Part | None:
    """Of ComfyUI's target: a weight, some rows of it, or a weight whose halves it swaps; none for what it does else."""
    if isinstance(target, str):
        return Part(name)
    if len(target) == 2:
        return Part(name, _rows(target))
    return Part(name, swapped=True) if target[1:] == (None, comfy.utils.swap_scale_shift) else None


def _whole_or_slices(parts: list[Part], rows: int) -> list[Part]:
    """A fused weight has a name of its own beside those of its slices, which others do not know. ComfyUI's own name
    comes first, diffusers' last; slices that do not make up the weight are another model's of the family."""
    slices = sorted((part for part in parts if part.rows != slice(None)), key=lambda part: part.rows.start)
    ends = [0, *(part.rows.stop for part in slices)]
    if slices and [part.rows.start for part in slices] == ends[:-1] and ends[-1] == rows:
        return slices
    return [part for part in parts if part.rows == slice(None)][-1:]


@dataclass(frozen=True)
class Matched:
    """A LoRA's adapters by the weight that each belongs to, as ComfyUI's `add_patches` takes them; strange: names in
    its file that belong to no layer."""

    adapters: Mapping[Any, Any]
    strange: tuple[str, ...]


def matched(patcher, lora: Mapping[str, Tensor], clip=None) -> Matched:
    """A LoRA for a MODEL, and with a CLIP for its text encoders, by ComfyUI's own names and those of `_known_name`."""
    known = comfy.lora.model_lora_keys_unet(patcher.model, {})
    if clip is not None:
        known = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, known)
    converted = comfy.lora_convert.convert_lora(dict(lora))
    state = {_known_name(key, known): tensor for key, tensor in converted.items()}
    adapters = comfy.lora.load_lora(state, known, log_missing=False)
    return Matched(adapters, tuple(key for key in state if not _is_known(key, known)))


def misfits(found: Matched, patcher, clip=None) -> dict[str, tuple[Shape, Shape]]:
    """Weights that have another shape than their adapter is for, by name: the adapter's and their own. Shapes are rows
    and columns of the weight as a matrix; kinds of adapters that are not known here are left out."""
    models = [patcher.model] + ([clip.cond_stage_model] if clip is not None else [])
    wrong = {}
    for key, adapter in found.adapters.items():
        shape, own = _shape(adapter), _own_shape(models, key)
        if shape and own and shape != own:
            wrong[key if isinstance(key, str) else key[0]] = (shape, own)
    return wrong


def _own_shape(models: Sequence[Any], key: Any) -> Shape | None:
    """Of the weight, or of the rows of it that the key means."""
    name, rows = (key, None) if isinstance(key, str) else (key[0], key[1] and key[1][2])
    for model in models:
        with suppress(AttributeError):
            weight = comfy.utils.get_attr(model, name)
            return rows or len(weight), weight[0].numel()
    return None


def _shape(adapter) -> Shape | None:
    """By what comfy/weight_adapter keeps as `weights`; None for other kinds, and for those in three parts."""
    if not hasattr(adapter, "name"):  # a difference, or a weight as a whole
        return None
    weights = adapter.weights
    if adapter.name == "lora" and weights[3] is None and weights[5] is None:
        up, down = weights[:2]
        return len(up), down[0].numel()
    if adapter.name == "loha" and weights[5] is None:
        return len(weights[0]), weights[1][0].numel()
    if adapter.name == "lokr" and weights[7] is None:
        first, second = (_sides(weights, *places) for places in ((0, 3, 4), (1, 5, 6)))
        return first[0] * second[0], first[1] * second[1]
    return None


def _sides(weights: Sequence[Tensor | None], whole: int, left: int, right: int) -> Shape:
    """Of one factor of LoKr's Kronecker product, which may be a product itself."""
    rows, columns = (weights[place] if weights[whole] is None else weights[whole] for place in (left, right))
    return len(rows), columns[0].numel()


def low_rank(patcher, lora: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """The products of a LoRA by layer path in the model; text encoders' are left out, as they are not trained.

    Names are matched by ComfyUI itself, so what it loads is read here: sd-scripts' and diffusers'; and those of UNets
    that it does not know (`_known_name`). A file of peft's does not tell its alpha, and counts as if that were the
    rank. Raises TrainingError for a file of another model, and for adapters other than plain LoRA.
    """
    found = matched(patcher, lora)
    strange = [key for key in found.strange if not key.startswith(_TEXT_ENCODERS)]
    if strange or not found.adapters:
        raise TrainingError(
            f"{len(strange) or 'all'} of the {len(lora)} weights of the LoRA to start from belong to no layer of this "
            f"model ({next(iter(strange or lora), '')}, …). Connect a LoRA that was trained on the same kind of base."
        )
    by_path: dict[str, list[tuple[slice, LowRank]]] = {}
    for key, adapter in found.adapters.items():
        name = key if isinstance(key, str) else key[0]
        part, product = _part(name, key), _plain(name, adapter)
        if part is None:
            raise TrainingError(f"the LoRA to start from has {name} in another order, which is not supported.")
        if part.swapped:
            product = LowRank(product.down, comfy.utils.swap_scale_shift(product.up))
        by_path.setdefault(_path(name), []).append((part.rows, product))
    together = {path: _together(patcher, path, parts) for path, parts in by_path.items()}
    for path, product in together.items():
        _check_fits(product, patcher.model.diffusion_model.get_submodule(path).weight, path)
    return together


def _check_fits(product: LowRank, weight: Tensor, path: str) -> None:
    shape = (len(product.up), *product.down.shape[1:])
    if product.down[0].numel() * len(product.up) != weight.numel() or len(product.up) != len(weight):
        raise TrainingError(
            f"the LoRA to start from has {shape} at {path}, and this model has {tuple(weight.shape)} there. Connect a "
            "LoRA that was trained on the same kind of base."
        )


_TEXT_ENCODERS = ("lora_te", "lora_prior_te", "text_encoder")


def _is_known(key: str, known: Mapping[str, Any]) -> bool:
    """Whether the key is a name and an end, such as ".lora_up.weight" or "_lora.up.weight"."""
    parts = key.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return any(name in known or name.removesuffix("_lora") in known for name in names)


_PREFIXES = ("unet.", "base_model.model.")


def _known_name(key: str, known: Mapping[str, Any]) -> str:
    """A UNet's layer as peft's save_pretrained and diffusers' save_lora_weights name it ("unet.down_blocks.0….lora_A")
    under sd-scripts' name, which is made of the same path; other keys as they are."""
    layer, found, end = key.partition(".lora_")
    for prefix in _PREFIXES:
        layer = layer.removeprefix(prefix)
    name = "lora_unet_" + layer.replace(".", "_")
    return f"{name}.lora_{end}" if found and name in known and not _is_known(key, known) else key


def _path(key: str) -> str:
    return key.removeprefix("diffusion_model.").removesuffix(".weight")


def _rows(target: tuple) -> slice:
    _, (_, start, rows) = target  # the weight, and what `Tensor.narrow` takes
    return slice(start, start + rows)


def _together(patcher, path: str, parts: list[tuple[slice, LowRank]]) -> LowRank:
    """One product of those of a layer's parts; parts that share their `down`, as ours do, keep the rank."""
    if len(parts) == 1 and parts[0][0] == slice(None):
        return parts[0][1]
    downs: list[Tensor] = []
    for _, product in parts:
        if not any(torch.equal(product.down, down) for down in downs):
            downs.append(product.down)
    rows = patcher.model.diffusion_model.get_submodule(path).weight.shape[0]
    ups = [torch.zeros(rows, len(down)) for down in downs]
    for where, product in parts:
        if len(ups[0][where]) != len(product.up):
            raise TrainingError(
                f"the LoRA to start from has {len(product.up)} outputs at a part of {path}, and this model has "
                f"{len(ups[0][where])} there. Connect a LoRA that was trained on the same kind of base."
            )
        place = next(place for place, down in enumerate(downs) if torch.equal(product.down, down))
        ups[place][where] = product.up
    return LowRank(torch.cat(downs), torch.cat(ups, 1))


def _plain(key: str, adapter) -> LowRank:
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
