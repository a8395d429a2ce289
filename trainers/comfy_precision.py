"""The type that a loaded model computes in while it is trained on; its weights keep their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import comfy.model_management
import torch
from torch import nn

from . import frozen


def compute_dtype(model, device: torch.device, precision: str) -> torch.dtype:
    """For a ComfyUI model and one of config.PRECISIONS. auto: bfloat16 where the device is fast at it (arXiv
    1905.12322: training needs float32's range, not its digits), else as loaded."""
    if precision == "auto":
        precision = "bf16" if _is_fast_at_bf16(device) else "loaded"
    if precision == "loaded":
        return model.manual_cast_dtype or model.get_dtype()
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def _is_fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cpu":  # ComfyUI says no for every CPU; some have instructions for it
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return comfy.model_management.should_use_bf16(device)


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
    if dtype == (before or model.get_dtype()):
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
