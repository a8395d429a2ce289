"""LoRA weights in the names that other programs read, and the safetensors file that carries them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from . import state_file
from .errors import TrainingError
from .run import Run

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def kohya_state_dict(layers: Mapping[str, Mapping[str, Tensor]], names: Mapping[str, str]) -> dict[str, Tensor]:
    """`<name>.lora_down.weight` and so on for each layer (sd-scripts' format; LyCORIS' for other adapters).

    layers: tensors by layer path and by the ends of their names. names: kohya name by layer path. Raises TrainingError
    for a layer without one.
    """
    nameless = [path for path in layers if path not in names]
    if nameless:
        raise TrainingError(
            f"{len(nameless)} of {len(layers)} trained layers have no name in a LoRA file ({nameless[0]}, …): "
            "ComfyUI could not load them. Choose other targets."
        )
    return {f"{names[path]}.{end}": tensor for path, ends in layers.items() for end, tensor in ends.items()}


def metadata(run: Run) -> dict[str, str]:
    """What a LoRA file says of itself: sd-scripts' `ss_` keys and ours. All values are strings, as the format asks."""
    config = run.config
    return {
        "ss_output_name": run.name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.adapter.rank),
        "ss_network_alpha": str(config.adapter.scaled_by),
        "ss_learning_rate": str(config.optimizer.learning_rate),
        "ss_steps": str(config.steps),
        "ss_seed": str(config.seed),
        "isengard.run": run.id,
        "isengard.dataset_hash": run.dataset_hash,
        "isengard.base_hash": run.base_hash,
        "isengard.prediction": run.prediction,
        "isengard.config": config.to_yaml(),
    }


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
    state_file.write(path, safetensors.torch.save(weights, metadata=dict(described)))
