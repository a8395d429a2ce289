"""The type that a loaded model computes in while it is trained on; its weights keep their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import comfy.model_management
import torch
from comfy.cli_args import args
from torch import nn

from . import frozen, lora_file


def compute_dtype(patcher, precision: str) -> torch.dtype:
    """For a ComfyUI MODEL and one of config.PRECISIONS. auto: bfloat16 where the model would compute in float32,
    nobody asked for that, and the device is fast at bfloat16; else as loaded. (Training needs float32's range, not its
    digits: arXiv 1905.12322.)"""
    loaded = _loaded_dtype(patcher.model)
    if precision == "auto":
        slow = loaded == torch.float32 and not _is_fp32_wanted(patcher)
        return torch.bfloat16 if slow and _is_fast_at_bf16(patcher.load_device) else loaded
    return loaded if precision == "loaded" else lora_file.PRECISIONS[precision]


def name_of(dtype: torch.dtype) -> str:
    """As users write it: "bf16"."""
    return next((name for name, each in lora_file.PRECISIONS.items() if each == dtype), str(dtype))


def _loaded_dtype(model) -> torch.dtype:
    return model.manual_cast_dtype or model.get_dtype()


def _is_fp32_wanted(patcher) -> bool:
    """By an option of ComfyUI's command line, or a node (core's ModelComputeDtype)."""
    return args.force_fp32 or args.fp32_unet or "manual_cast_dtype" in patcher.object_patches


def _is_fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cpu":  # ComfyUI says no for every CPU; some have instructions for it
        return any(_cpu_features().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return comfy.model_management.should_use_bf16(device)


def _cpu_features() -> Mapping[str, bool]:
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}  # an older PyTorch


class Precision:
    """Has a ComfyUI model compute in `dtype` while it is entered, but for what is `suspended`."""

    def __init__(self, model, dtype: torch.dtype):
        self.dtype = dtype
        self._model = model
        self._changes = ExitStack()

    def __enter__(self) -> Precision:
        self._begin()
        return self

    def __exit__(self, *_) -> None:
        self._changes.close()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The model computes as it was loaded."""
        self._changes.close()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        self._changes.enter_context(computing_in(self._model, self.dtype))


@contextmanager
def computing_in(model, dtype: torch.dtype) -> Iterator[None]:
    """A ComfyUI model computes in `dtype`: its inputs are cast to it, and every layer casts its weights."""
    network, before = model.diffusion_model, model.manual_cast_dtype
    if dtype == _loaded_dtype(model):
        yield
        return
    try:
        model.manual_cast_dtype = dtype
        with _casting(network), frozen.computing_as_inputs(network):
            yield
    finally:
        model.manual_cast_dtype = before


@contextmanager
def _casting(network: nn.Module) -> Iterator[None]:
    """ComfyUI's own layers cast their weights to the type of their inputs (comfy/ops.py)."""
    modules = [module for module in network.modules() if getattr(module, "comfy_cast_weights", None) is False]
    own = [vars(module).get("comfy_cast_weights") for module in modules]
    try:
        for module in modules:
            module.comfy_cast_weights = True
        yield
    finally:
        for module, before in zip(modules, own, strict=True):
            if before is None:
                del module.comfy_cast_weights
            else:
                module.comfy_cast_weights = before
