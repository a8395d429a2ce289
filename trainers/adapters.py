"""peft's adapters on a frozen network: which layers get one, how they are put on and taken off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from .config import TrainConfig
from .errors import TrainingError

ADAPTER = "default"

# Names of path elements, over the families that ComfyUI can load (diffusers-like, UNet, MMDiT, Flux, Lumina, Wan).
_ATTENTION = (
    "attn",
    "attn1",
    "attn2",
    "attention",
    "self_attn",
    "cross_attn",
    "img_attn",
    "txt_attn",
    "self_attention",
)
_MLP = ("mlp", "ff", "ffn", "feed_forward", "img_mlp", "txt_mlp", "mlp_x", "mlp_c")
_FUSED = ("linear1", "linear2")  # Flux's single blocks: attention and MLP in one matrix
# What the words alone pass on their way to the picture: a stream of their own (SD3; Flux; Qwen-Image) …
_TEXT_STREAM = (
    "context_block",
    "txt_attn",
    "txt_mlp",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_add_out",
)
# … or the keys and values of cross-attention (Custom Diffusion, arXiv 2212.04488, section 3.1; UNets, Wan).
_CROSS_ATTENTION = ("attn2", "cross_attn")
_KEYS_VALUES = ("to_k", "to_v", "k", "v")


class LowRank(NamedTuple):
    """The trained product of one layer: delta weight = alpha / rank * up @ down."""

    down: Tensor  # rank, in
    up: Tensor  # out, rank
    alpha: float


def target_layers(network: nn.Module, targets: str) -> list[str]:
    """Paths of the linear layers that get an adapter, in the network's own order.

    targets: one of config.TARGETS. Raises TrainingError where the network has none of them.
    """
    modules = [(path, module) for path, module in network.named_modules() if path]
    linear = [path for path, module in modules if isinstance(module, nn.Linear)]
    chosen = [path for path in linear if _is_target(path.split("."), targets)]
    other = [path for path, module in modules if _is_other_matrix(module) and _is_target(path.split("."), targets)]
    if other:
        raise TrainingError(
            f"{len(other)} of {len(other) + len(chosen)} layers to train are quantised ({other[0]}, …), which cannot "
            "be trained on yet. Load the model in fp16, bf16 or fp32."
        )
    if not chosen:
        raise TrainingError(
            f"no layer to train: {type(network).__name__} has {len(linear)} linear layers and none of them is "
            f"'{targets}'. Set targets to 'all_linear'."
        )
    return chosen


def _is_other_matrix(module: nn.Module) -> bool:
    """A linear layer of another class, as ComfyUI's for quantised weights."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and not isinstance(module, (nn.Linear, nn.Embedding))


def _is_target(elements: list[str], targets: str) -> bool:
    if targets == "all_linear":
        return True
    if targets == "text":
        return _is_target(elements, "attention_mlp") and _is_of_words(elements)
    wanted = {*_ATTENTION, *_FUSED} if targets == "attention" else {*_ATTENTION, *_MLP, *_FUSED}
    return not wanted.isdisjoint(elements)


def _is_of_words(elements: list[str]) -> bool:
    across = elements[-1] in _KEYS_VALUES and not {*_CROSS_ATTENTION}.isdisjoint(elements)
    return across or not {*_TEXT_STREAM}.isdisjoint(elements)


@contextmanager
def attached(network: nn.Module, config: TrainConfig) -> Iterator[dict[str, LoraLayer]]:
    """Put peft LoRA layers around the target layers of `network`; take them off again whatever happens.

    Gives the layers by path. Adapter weights are float32 on the device of the layer they sit on; `down` is drawn
    from the config's seed (Kaiming uniform) and `up` is zero, so the network starts as it was. The frozen weights
    are never written.
    """
    paths = target_layers(network, config.targets)
    lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=_exactly(paths), bias="none")
    generator = torch.Generator().manual_seed(config.seed)
    try:
        with torch.random.fork_rng(devices=[]):  # peft draws weights too, which are drawn anew below
            inject_adapter_in_model(lora, network, adapter_name=ADAPTER)
        layers = {path: network.get_submodule(path) for path in paths}
        for layer in layers.values():
            _initialise(layer, generator)
        yield layers
    finally:
        _detach(network)


def _exactly(paths: list[str]) -> str:
    """A pattern for peft that matches these paths and no others (a list would match by suffix)."""
    return "|".join(path.replace(".", r"\.") for path in paths)


def _initialise(layer: LoraLayer, generator: torch.Generator) -> None:
    """float32 weights, whatever the base's dtype (peft casts to it): `down` Kaiming uniform, `up` zero."""
    down, up = layer.lora_A[ADAPTER].float(), layer.lora_B[ADAPTER].float()
    drawn = torch.empty(down.weight.shape)
    nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    with torch.no_grad():
        down.weight.copy_(drawn)
        up.weight.zero_()
    down.weight.requires_grad_(True)
    up.weight.requires_grad_(True)


def _detach(network: nn.Module) -> None:
    for path, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, module.base_layer)
    network.__dict__.pop("peft_config", None)


@contextmanager
def disabled(layers: dict[str, LoraLayer]) -> Iterator[None]:
    """The network answers as the base alone; the adapters stay on and are used again afterwards."""
    try:
        for layer in layers.values():
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers.values():
            layer.enable_adapters(True)


def parameters(layers: dict[str, LoraLayer]) -> list[nn.Parameter]:
    """The trained parameters, in the order of the layers: down, up, down, up, ..."""
    return [side[ADAPTER].weight for layer in layers.values() for side in (layer.lora_A, layer.lora_B)]


def low_rank(layers: dict[str, LoraLayer], alpha: float) -> dict[str, LowRank]:
    """A copy of the trained weights by layer path, float32 on the CPU."""
    return {
        path: LowRank(
            down=layer.lora_A[ADAPTER].weight.detach().cpu().clone(),
            up=layer.lora_B[ADAPTER].weight.detach().cpu().clone(),
            alpha=alpha,
        )
        for path, layer in layers.items()
    }
