"""LoRA weights in the names that other programs read, and the safetensors file that carries them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from . import state_file
from .errors import TrainingError
from .run import Run

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library reads no longer one


class Part(NamedTuple):
    """A name in a LoRA file for the rows of a layer's weight, all of them where none are said. swapped: the other
    program has the halves of the rows in the other order (scale and shift of a modulation)."""

    name: str
    rows: slice = slice(None)
    swapped: bool = False


@dataclass(frozen=True)
class FileNames:
    """How the layers of a model are called in LoRA files, by path in the model. sd_scripts: in sd-scripts' files;
    diffusers: in diffusers', empty where other programs read sd-scripts' names."""

    sd_scripts: Mapping[str, str]
    diffusers: Mapping[str, Sequence[Part]]


def state_dict(layers: Mapping[str, Mapping[str, Tensor]], names: FileNames) -> dict[str, Tensor]:
    """The weights of a file that most programs read: in diffusers' names where the layers have them."""
    if set(layers) <= set(names.diffusers):
        return diffusers_state_dict(layers, names.diffusers)
    return kohya_state_dict(layers, names.sd_scripts)


def diffusers_state_dict(
    layers: Mapping[str, Mapping[str, Tensor]], parts: Mapping[str, Sequence[Part]]
) -> dict[str, Tensor]:
    """`<name>.lora_A.weight` and `<name>.lora_B.weight` for each part of each layer, as peft names them (diffusers).

    A layer that other programs have in parts shares its A; the rows of its B are those of the part, which is exact. The
    scale is in B, since these programs take it for 1. Raises TrainingError for a layer without a name, and for what is
    no plain LoRA.
    """
    _refuse_nameless(layers, parts)
    state: dict[str, Tensor] = {}
    for path, ends in layers.items():
        down, up = ends["lora_down.weight"], ends["lora_up.weight"]
        for part in parts[path]:
            state[f"{part.name}.lora_A.weight"] = down.clone()
            rows = torch.cat(up[part.rows].chunk(2)[::-1]) if part.swapped else up[part.rows]
            state[f"{part.name}.lora_B.weight"] = rows * (ends["alpha"] / len(down))
    return state


def kohya_state_dict(layers: Mapping[str, Mapping[str, Tensor]], names: Mapping[str, str]) -> dict[str, Tensor]:
    """`<name>.lora_down.weight` and so on for each layer (sd-scripts' format; LyCORIS' for other adapters).

    layers: tensors by layer path and by the ends of their names. names: kohya name by layer path. Raises TrainingError
    for a layer without one.
    """
    _refuse_nameless(layers, names)
    return {f"{names[path]}.{end}": tensor for path, ends in layers.items() for end, tensor in ends.items()}


def _refuse_nameless(layers: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    nameless = [path for path in layers if path not in names]
    if nameless:
        raise TrainingError(
            f"{len(nameless)} of {len(layers)} trained layers have no name in a LoRA file ({nameless[0]}, …): "
            "ComfyUI could not load them. Choose other targets."
        )


@dataclass(frozen=True)
class BaseModel:
    """How other programs name a base. version: sd-scripts' `ss_base_model_version`; architecture: of Stability AI's
    model metadata specification (github.com/Stability-AI/ModelSpec)."""

    version: str
    architecture: str


def metadata(state: Mapping[str, Tensor], run: Run, base: BaseModel | None, trigger: str = "") -> dict[str, str]:
    """What a LoRA file says of itself: sd-scripts' `ss_` keys, ModelSpec's and ours.

    state: the weights that it holds. base: none where it is not known. trigger: the character's word, else that of
    prior preservation. All values are strings, as the format asks.
    """
    trigger = trigger.strip() or _trigger(run)
    said = _of_sd_scripts(run, trigger) | _dimensions(state, run) | _of_modelspec(run, trigger) | {
        "isengard.run": run.id,
        "isengard.dataset_hash": run.dataset_hash,
        "isengard.base_hash": run.base_hash,
        "isengard.prediction": run.prediction,
        "isengard.config": run.config.to_yaml(),
    }  # fmt: skip
    if base:
        said |= {"ss_base_model_version": base.version, "modelspec.architecture": f"{base.architecture}/lora"}
    return said


def _trigger(run: Run) -> str:
    """The word of the run's prior preservation; none where no caption has it (a template's, for another character)."""
    word = run.config.prior.trigger.strip()
    return word if any(word.casefold() in tag.casefold() for tag in run.tag_frequency) else ""


def _of_sd_scripts(run: Run, trigger: str) -> dict[str, str]:
    config = run.config
    return {
        "ss_output_name": run.name,
        "ss_network_module": "networks.lora" if config.adapter.kind == "lora" else "lycoris.kohya",
        "ss_learning_rate": str(config.optimizer.learning_rate),
        "ss_steps": str(len(run.metrics)),
        "ss_seed": str(config.seed),
        "ss_mixed_precision": "no" if run.precision == "fp32" else run.precision,
        "ss_tag_frequency": json.dumps({run.name: run.tag_frequency}),
        "ss_datasets": json.dumps([{"subsets": [{"class_tokens": trigger}]}]),
    }


def _dimensions(state: Mapping[str, Tensor], run: Run) -> dict[str, str]:
    """Rank and alpha as they are in the file, "Dynamic" where layers differ (as sd-scripts' networks/resize_lora.py
    has it); of adapters without such a rank the config's."""
    ranks = {name: len(each) for name, each in state.items() if name.endswith((".lora_down.weight", ".lora_A.weight"))}
    if not ranks:
        return {"ss_network_dim": str(run.config.adapter.rank), "ss_network_alpha": str(run.config.adapter.scaled_by)}
    alphas = {float(state.get(f"{name.removesuffix('.lora_down.weight')}.alpha", rank)) for name, rank in ranks.items()}
    return {"ss_network_dim": _one_or_dynamic(ranks.values()), "ss_network_alpha": _one_or_dynamic(alphas)}


def _one_or_dynamic(values: Iterable[float]) -> str:
    distinct = set(values)
    return str(distinct.pop()) if len(distinct) == 1 else "Dynamic"


def _of_modelspec(run: Run, trigger: str) -> dict[str, str]:
    side = run.config.data.resolution
    said = {
        "sai_model_spec": "1.0.0",
        "title": run.name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "resolution": f"{side}x{side}",
    }
    if trigger:
        said["trigger_phrase"] = trigger
    if run.prediction in _MODELSPEC_PREDICTIONS:
        said["prediction_type"] = _MODELSPEC_PREDICTIONS[run.prediction]
    return {f"modelspec.{name}": value for name, value in said.items()}


_MODELSPEC_PREDICTIONS = {"eps": "epsilon", "v": "v"}


def load(path: Path) -> dict[str, Tensor]:
    """The weights of a LoRA file. Raises TrainingError for a file that is no safetensors file."""
    return read(path)[0]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights of a LoRA file, and what it says of itself. Raises TrainingError as `load` does."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise TrainingError(
            f"{path.name} is no safetensors file, or is damaged ({error}). Choose a LoRA in that format."
        ) from error


def content_hash(path: Path) -> str:
    """sha256 of the weights of a LoRA file and their names, whatever it says of itself. Raises TrainingError as `load`
    does."""
    with open(path, "rb") as file:
        try:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
            header.pop("__metadata__", None)
        except (ValueError, AttributeError) as error:
            raise TrainingError(f"{path.name} is no safetensors file. Choose a LoRA in that format.") from error
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def save(state: Mapping[str, Tensor], path: Path, precision: str, described: Mapping[str, str]) -> None:
    """Write a LoRA file, whole or not at all.

    Raises TrainingError where a weight is not finite, or does not fit the precision.
    """
    dtype = PRECISIONS[precision]
    weights = {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise TrainingError(
            f"{len(broken)} of {len(weights)} LoRA weights are not finite in {precision} ({broken[0]}, …); nothing was "
            "written. Save as fp32 or bf16; if that fails too, train again with a lower learning rate."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed = _hash_of_tensors(safetensors.torch.save(weights))
    said = dict(described) | {"sshs_model_hash": hashed, "modelspec.hash_sha256": f"0x{hashed}"}
    state_file.write(path, safetensors.torch.save(weights, metadata=said))


def _hash_of_tensors(file: bytes) -> str:
    """sha256 of a safetensors file's bytes after its header, by which programs find a file whatever it says of itself
    (`precalculate_safetensors_hashes` in kohya-ss/sd-scripts, library/train_util.py)."""
    header = int.from_bytes(file[:8], "little")
    return hashlib.sha256(file[8 + header :]).hexdigest()
