"""Which layers of a network get an adapter."""

from __future__ import annotations

import re

from torch import Tensor, nn

from .config import AdapterConfig
from .errors import TrainingError

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


def target_layers(network: nn.Module, config: AdapterConfig) -> list[str]:
    """Paths of the layers that get an adapter, in the network's own order: linear ones, and convolutions with
    all_layers.

    Raises TrainingError where the network has none of them, or has them quantised.
    """
    modules = [(path, module) for path, module in network.named_modules() if path and _is_wanted(path, config)]
    kinds = (nn.Linear, nn.Conv2d) if config.targets == "all_layers" else nn.Linear
    chosen = [path for path, module in modules if isinstance(module, kinds)]
    other = [path for path, module in modules if _is_quantised(module)]
    if other:
        raise TrainingError(
            f"{len(other)} of {len({*other, *chosen})} layers to train are quantised ({other[0]}, …), which cannot "
            "be trained on yet. Load the model in fp16, bf16 or fp32."
        )
    if not chosen:
        linear = sum(isinstance(module, nn.Linear) for module in network.modules())
        raise TrainingError(
            f"no layer to train: {type(network).__name__} has {linear} linear layers and none of them is "
            f"'{config.targets}'{_narrowed(config)}. Set targets to 'all_linear', or widen include and exclude."
        )
    return chosen


def _narrowed(config: AdapterConfig) -> str:
    return " within include and exclude" if config.include or config.exclude else ""


def _is_wanted(path: str, config: AdapterConfig) -> bool:
    included = not config.include or any(re.search(pattern, path) for pattern in config.include)
    excluded = any(re.search(pattern, path) for pattern in config.exclude)
    return included and not excluded and _is_target(path.split("."), config.targets)


def _is_quantised(module: nn.Module) -> bool:
    """A matrix of one byte a weight (fp8, int8), or in a class of ComfyUI's for quantised weights."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        return False
    return weight.dtype.itemsize < 2 or not isinstance(module, (nn.Linear, nn.Embedding))


def _is_target(elements: list[str], targets: str) -> bool:
    if targets in ("all_linear", "all_layers"):
        return True
    if targets == "text":
        return _is_target(elements, "attention_mlp") and _is_of_words(elements)
    wanted = {*_ATTENTION, *_FUSED} if targets == "attention" else {*_ATTENTION, *_MLP, *_FUSED}
    return not wanted.isdisjoint(elements)


def _is_of_words(elements: list[str]) -> bool:
    across = elements[-1] in _KEYS_VALUES and not {*_CROSS_ATTENTION}.isdisjoint(elements)
    return across or not {*_TEXT_STREAM}.isdisjoint(elements)
