"""Adapters beside the layers of a frozen network: peft's, and a rotation of a layer's outputs (rotation.py)."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from peft.tuners.lycoris_utils import LycorisLayer
from torch import Tensor, nn
from torch.nn import functional

from . import frozen, rotation
from .config import AdapterConfig
from .errors import TrainingError
from .targets import target_layers

ADAPTER = "default"
DRAWING = ("loha", "lokr")  # kinds that draw random numbers even where nothing is dropped
_INITIAL = "initial"  # PiSSA: what the trained adapter began as, taken off again


class LowRank(NamedTuple):
    """A change of one layer's weight: up @ down."""

    down: Tensor  # rank, in (or rank,in,h,w)
    up: Tensor  # out, rank (or out,rank,1,1)


Layers = Mapping[str, nn.Module]  # adapted layers by path in the network; each has the frozen one as `base_layer`


@contextmanager
def attached(network: nn.Module, config: AdapterConfig, seed: int) -> Iterator[Layers]:
    """Put adapters around the target layers of `network`; take them off again whatever happens.

    Gives the layers by path. Adapter weights are float32 on the device of the layer they sit on, drawn from the seed on
    the CPU, so that all devices start alike; the network answers as it did before. Frozen weights are never written.
    """
    paths = target_layers(network, config)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed & (2**63 - 1))
            _attach(network, paths, config)
            layers = {path: network.get_submodule(path) for path in paths}
            for path, layer in layers.items():
                _ready(path, layer, config)
        yield layers
    finally:
        _detach(network)


def _attach(network: nn.Module, paths: list[str], config: AdapterConfig) -> None:
    if config.kind == "oft":
        rotation.attach(network, {path: rank_of(path, config) for path in paths})
    else:
        inject_adapter_in_model(_peft_config(paths, config), network, adapter_name=ADAPTER)


def _peft_config(paths: list[str], config: AdapterConfig) -> LoraConfig | LoHaConfig | LoKrConfig:
    own = {_exactly(path): rank_of(path, config) for path in paths if rank_of(path, config) != config.rank}
    alphas = {} if config.alpha else {pattern: float(rank) for pattern, rank in own.items()}
    common = {
        "r": config.rank, "target_modules": "|".join(map(_exactly, paths)), "rank_pattern": own,
        "alpha_pattern": alphas,
    }  # fmt: skip
    if config.kind in DRAWING:  # their dropout is ours: peft's divides by nothing where all rows are dropped
        return (LoHaConfig if config.kind == "loha" else LoKrConfig)(alpha=config.scaled_by, **common)
    return LoraConfig(
        lora_alpha=config.scaled_by, lora_dropout=config.dropout, use_dora=config.kind == "dora",
        use_rslora=config.scaling == "rslora", bias="none", **common,
    )  # fmt: skip


def rank_of(path: str, config: AdapterConfig) -> int:
    """The rank of the first of the config's expressions that the path contains, else the config's own."""
    return next((rank for pattern, rank in config.rank_patterns() if re.search(pattern, path)), config.rank)


def _exactly(path: str) -> str:
    """A pattern for peft that matches this path and no other (a plain name would match by suffix)."""
    return "^" + path.replace(".", r"\.") + "$"


def _ready(path: str, layer: nn.Module, config: AdapterConfig) -> None:
    """float32 weights, drawn on the CPU whatever the base's dtype and device (peft casts to them); the start that the
    config wants."""
    own = [parameter for name, parameter in layer.named_parameters() if not name.startswith("base_layer.")]
    device = layer.base_layer.weight.device
    for parameter in own:
        parameter.data = parameter.data.float().cpu()
        parameter.requires_grad_(True)
    if isinstance(layer, LoraLayer):
        layer.reset_lora_parameters(ADAPTER, init_lora_weights=True)
    elif isinstance(layer, LycorisLayer):
        layer.reset_adapter_parameters(ADAPTER)
        layer.module_dropout[ADAPTER] = -1.0  # at 0, one draw of random numbers in 2**24 leaves the layer out
        layer.get_delta_weight = functools.partial(_some_rows, layer, config.dropout)
    for parameter in own:
        parameter.data = parameter.data.to(device)
    if config.initialisation == "pissa":
        _start_from_principal(path, layer)
    if config.kind == "dora":
        _begin_magnitude(layer)
    if config.kind == "lora":
        _compute_in_the_bases_type(layer)


def _compute_in_the_bases_type(layer: LoraLayer) -> None:
    """The products are formed in the type of the layer's inputs, with weights that stay float32: peft would make the
    inputs float32 and keep them for the backward pass."""
    layer.cast_input_dtype_enabled = False
    if isinstance(layer, LoraLinear):
        layer.forward = functools.partial(_base_and_product, layer)
        return
    for side in (*layer.lora_A.values(), *layer.lora_B.values()):
        side.forward = functools.partial(_as_the_inputs, side)


def _base_and_product(layer: LoraLinear, x: Tensor) -> Tensor:
    """peft's forward of a linear layer, ..., in -> ..., out, as one operation where nothing is dropped in between."""
    if layer.disable_adapters:
        return layer.base_layer(x)
    name, *more = layer.active_adapters
    base, dropout = layer.base_layer, layer.lora_dropout[name]
    drops = dropout.training and not isinstance(dropout, nn.Identity)
    if frozen.is_plain(base) and not drops:
        result = frozen.linear(x, base.weight, base.bias, _product(layer, name))
    else:
        result = _with_product(base(x), layer, name, x)
    for other in more:
        result = _with_product(result, layer, other, x)
    return result


def _product(layer: LoraLinear, name: str) -> frozen.Product:
    return frozen.Product(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def _with_product(result: Tensor, layer: LoraLinear, name: str, x: Tensor) -> Tensor:
    down, up, scale = _product(layer, name)
    inner = functional.linear(layer.lora_dropout[name](x), down.to(x.dtype))
    rows = torch.addmm(result.flatten(0, -2), inner.flatten(0, -2), up.to(x.dtype).t(), alpha=scale)
    return rows.view(result.shape)


def _as_the_inputs(side: nn.Conv2d, x: Tensor) -> Tensor:
    return side._conv_forward(x, side.weight.to(x.dtype), None)


def _some_rows(layer: LycorisLayer, dropout: float, name: str, **options) -> Tensor:
    """peft's product of a layer, out,in, of which some outputs are left out while it trains. The others are scaled up,
    so that the file is as strong as what was trained."""
    change = type(layer).get_delta_weight(layer, name, **options)
    if not (dropout and layer.training):
        return change
    kept = torch.rand(len(change), *[1] * (change.dim() - 1)) >= dropout  # drawn on the CPU, so that devices agree
    return change * (kept / (1 - dropout)).to(change)


@torch.no_grad()
def _begin_magnitude(layer: LoraLayer) -> None:
    """DoRA's magnitudes are the norms of the weight as it is now, in float32: peft takes them in the base's type, and
    before a LoRA is begun with."""
    weight = layer.base_layer.weight.detach().float() + layer.get_delta_weight(ADAPTER).detach().float()
    magnitude = layer.lora_magnitude_vector[ADAPTER].weight
    magnitude.copy_(weight.flatten(1).norm(dim=1).reshape(magnitude.shape))


@torch.no_grad()
def _start_from_principal(path: str, layer: LoraLayer) -> None:
    """Begin with the frozen weight's largest singular values (PiSSA, arXiv 2404.02948, equations 2 and 3).

    The paper takes them out of the frozen weight; here a second adapter, which stays as it is, takes them off, so that
    the weight is not written.
    """
    rank, scale = layer.r[ADAPTER], layer.scaling[ADAPTER]
    weight = layer.base_layer.weight.detach().float()
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)  # out,k  k  k,in
    if rank > len(values):
        raise TrainingError(
            f"pissa begins with {rank} singular values, and {path} has {len(values)}. Lower rank, or exclude the layer."
        )
    root = (values[:rank] / scale).sqrt()
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    down.copy_((root[:, None] * right[:rank]).reshape(down.shape))
    up.copy_((left[:, :rank] * root).reshape(up.shape))
    layer.lora_A[_INITIAL], layer.lora_B[_INITIAL] = _frozen_copy(layer.lora_A), _frozen_copy(layer.lora_B)
    layer.lora_dropout[_INITIAL] = nn.Identity()
    layer.r[_INITIAL], layer.scaling[_INITIAL] = rank, -scale
    layer.use_dora[_INITIAL] = False
    layer._active_adapter = [ADAPTER, _INITIAL]


def _frozen_copy(sides: nn.ModuleDict) -> nn.Module:
    copy = type(sides[ADAPTER]).__new__(type(sides[ADAPTER]))
    copy.__dict__ = {**sides[ADAPTER].__dict__, "_parameters": dict(sides[ADAPTER]._parameters)}
    copy.weight = nn.Parameter(sides[ADAPTER].weight.detach().clone(), requires_grad=False)
    return copy


def _detach(network: nn.Module) -> None:
    layers = adapted(network)
    _put(network, {path: layer.base_layer for path, layer in layers.items()})
    for layer in layers.values():
        for name, module in layer.named_modules():
            if name.split(".")[0] != "base_layer":
                for own in ("forward", "get_delta_weight"):  # they hold the layer, which would stay in memory
                    vars(module).pop(own, None)
    network.__dict__.pop("peft_config", None)


@contextmanager
def taken_off(network: nn.Module) -> Iterator[None]:
    """The network as it is without adapters, for what may move its weights about; they are put back on afterwards."""
    layers = adapted(network)
    try:
        _put(network, {path: layer.base_layer for path, layer in layers.items()})
        yield
    finally:
        _put(network, layers)


def _put(network: nn.Module, layers: Layers) -> None:
    for path, layer in layers.items():
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, layer)


def adapted(network: nn.Module) -> Layers:
    """The layers of a network that have an adapter now."""
    modules = network.named_modules()
    return {path: module for path, module in modules if isinstance(getattr(module, "base_layer", None), nn.Module)}


@torch.no_grad()
def start_from(layers: Layers, before: Mapping[str, LowRank]) -> None:
    """Begin with a LoRA's products instead of with nothing. What a larger rank has room for begins as always.

    Raises TrainingError for layers that are not trained, or products of a larger rank than theirs.
    """
    fit = {path for path, layer in layers.items() if isinstance(layer, LoraLayer) and _INITIAL not in layer.lora_A}
    other = [path for path in before if path not in fit]
    if other:
        raise TrainingError(
            f"the LoRA to start from has {len(other)} of {len(before)} layers that would not be trained with it "
            f"({other[0]}, …). Choose targets that have them, kind lora or dora, and initialisation kaiming."
        )
    for path, (down, up) in before.items():
        layer, rank = layers[path], len(down)
        own_down, own_up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if rank > len(own_down):
            raise TrainingError(
                f"the LoRA to start from has rank {rank} at {path}, and the training has {len(own_down)}. Set rank to "
                f"{rank} or more."
            )
        own_down[:rank] = down.reshape(rank, *own_down.shape[1:]).to(own_down)
        own_up[:, :rank] = (up / layer.scaling[ADAPTER]).reshape(-1, rank, *own_up.shape[2:]).to(own_up)
        if ADAPTER in layer.lora_magnitude_vector:
            _begin_magnitude(layer)


@contextmanager
def disabled(layers: Layers) -> Iterator[None]:
    """The network answers as the base alone; the adapters stay on and are used again afterwards."""
    trained = [(each, each.requires_grad) for layer in layers.values() for each in layer.parameters()]
    try:
        for layer in layers.values():
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers.values():
            layer.enable_adapters(True)
        for parameter, requires_grad in trained:  # peft lets every active adapter be trained
            parameter.requires_grad_(requires_grad)


@contextmanager
def without_dropout(layers: Layers) -> Iterator[None]:
    """The adapters answer as they will when they are used; the frozen layers are left alone."""
    own = [
        module
        for layer in layers.values()
        for name, module in layer.named_modules()
        if name.split(".")[0] != "base_layer" and module.training
    ]
    try:
        for module in own:
            module.training = False
        yield
    finally:
        for module in own:
            module.training = True


def parameters(layers: Layers) -> dict[str, nn.Parameter]:
    """The trained parameters by name, in the order of the layers."""
    return {
        f"{path}.{name}": parameter
        for path, layer in layers.items()
        for name, parameter in layer.named_parameters()
        if parameter.requires_grad
    }


def state(layers: Layers) -> dict[str, Tensor]:
    """A copy of the trained parameters, on the CPU."""
    return {name: parameter.detach().cpu().clone() for name, parameter in parameters(layers).items()}


@torch.no_grad()
def load_state(layers: Layers, saved: Mapping[str, Tensor]) -> None:
    """Put back what `state` gave, of adapters of the same config on the same network."""
    for name, parameter in parameters(layers).items():
        parameter.copy_(saved[name])


def file_weights(layers: Layers, config: AdapterConfig) -> dict[str, dict[str, Tensor]]:
    """What a LoRA file holds of each layer: tensors by the ends of their names, float32 on the CPU.

    lora_down.weight, lora_up.weight and alpha (sd-scripts), dora_scale, hada_*, lokr_*, oft_blocks (LyCORIS, and
    ComfyUI's comfy/weight_adapter).
    """
    ends = {"loha": _lycoris_ends, "lokr": _lokr_ends, "oft": rotation.file_weights}.get(config.kind, _lora_ends)
    return {
        path: {end: tensor.detach().float().cpu().contiguous().clone() for end, tensor in ends(layer).items()}
        for path, layer in layers.items()
    }


def _lora_ends(layer: LoraLayer) -> dict[str, Tensor]:
    """alpha is such that alpha / rank is the scale, however it was made (rsLoRA, or PiSSA's two adapters in one)."""
    down, up = ([side[name].weight for name in side] for side in (layer.lora_A, layer.lora_B))
    signs = [math.copysign(1, layer.scaling[name]) for name in layer.lora_A]
    down, up = torch.cat(down), torch.cat([sign * each for sign, each in zip(signs, up, strict=True)], 1)
    ends = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(layer.scaling[ADAPTER] * len(down))}
    return ends | {"dora_scale": _dora_scale(layer)} if ADAPTER in layer.lora_magnitude_vector else ends


def _dora_scale(layer: LoraLayer) -> Tensor:
    """The magnitudes as ComfyUI and Forge take them, one for each output: out,1 (or out,1,1,1).

    DoRA's weight is m (W + D) / |W + D| with the change D (arXiv 2402.09353, equation 5); they divide by |W| instead
    (`weight_decompose` in comfy/weight_adapter/base.py), so the file has m |W| / |W + D|.
    """
    weight = layer.base_layer.weight.detach().float()
    changed = weight + layer.get_delta_weight(ADAPTER).detach().float()
    magnitudes = layer.lora_magnitude_vector[ADAPTER].weight.flatten()
    scale = magnitudes * weight.flatten(1).norm(dim=1) / changed.flatten(1).norm(dim=1)
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def _lycoris_ends(layer: nn.Module) -> dict[str, Tensor]:
    sides = {name: getattr(layer, name) for name in layer.adapter_layer_names}
    ends = {name: side[ADAPTER] for name, side in sides.items() if ADAPTER in side}
    return ends | {"alpha": torch.tensor(layer.scaling[ADAPTER] * layer.r[ADAPTER])}


def _lokr_ends(layer: nn.Module) -> dict[str, Tensor]:
    """Programs know the rank by a factor that is split in two; where none is, they take the scale for 1."""
    ends = _lycoris_ends(layer)
    if not any(name.endswith("_a") for name in ends):
        ends["lokr_w1"] = ends["lokr_w1"] * layer.scaling[ADAPTER]
    return ends
