"""Frozen layers: they compute in the type of their inputs, and keep nothing for gradients that nobody asks for.

A frozen weight of another type is cast for the forward pass and again for the backward one. PyTorch would keep the cast
one in between, which for a whole network is a second copy of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class Product(NamedTuple):
    """A low-rank change of a linear layer's weight that is trained: scale * up @ down."""

    down: Tensor  # rank, in
    up: Tensor  # out, rank
    scale: float


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, product: Product | None = None) -> Tensor:
    """x: ..., in -> ..., out, in x's type: of a frozen weight (out, in) and, beside it, a product."""
    return _Linear.apply(x, weight, bias, *(product or (None, None, 1.0)))


class _Linear(torch.autograd.Function):
    """One node of the graph for the layer and its product: their gradients for x are added where they come to be."""

    @staticmethod
    def forward(ctx, x, weight, bias, down, up, scale):
        rows = x.reshape(-1, x.shape[-1])
        out = functional.linear(rows, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        kept = ()
        if down is not None:
            down, up = down.to(x.dtype), up.to(x.dtype)
            inner = rows @ down.t()
            out.addmm_(inner, up.t(), alpha=scale)
            kept = (down, up, rows, inner)
        ctx.save_for_backward(weight, *kept)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        weight, *kept = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_x = rows @ weight.to(rows.dtype) if ctx.needs_input_grad[0] else None
        of_down = of_up = None
        if kept:
            down, up, x, inner = kept
            of_inner = (rows @ up).mul_(ctx.scale)
            of_down = of_inner.t() @ x  # autograd casts it to the parameter's type
            of_up = (rows.t() @ inner).mul_(ctx.scale)
            if of_x is not None:
                of_x.addmm_(of_inner, down)
        if of_x is not None:
            of_x = of_x.view(*gradient.shape[:-1], -1)
        return of_x, None, None, of_down, of_up, None


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, settings):
        ctx.save_for_backward(weight)
        ctx.shape, ctx.settings = x.shape, settings
        return functional.conv2d(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype), *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensors
        of_x = torch.nn.grad.conv2d_input(ctx.shape, weight.to(gradient.dtype), gradient, *ctx.settings)
        return of_x, None, None, None


@contextmanager
def computing_as_inputs(network: nn.Module) -> Iterator[None]:
    """Linear layers and 2D convolutions of `network` compute in the type of their inputs."""
    forwards = {"Linear": _linear_forward, "Conv2d": _conv2d_forward}
    plain = [module for module in network.modules() if type(module).__name__ in forwards and is_plain(module)]
    try:
        for module in plain:
            module.forward = functools.partial(forwards[type(module).__name__], module)
        yield
    finally:
        for module in plain:
            del module.forward  # the class's own shows again


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is computed from its weight and bias alone: no pack has given it another forward, ComfyUI patches
    no weight on the way, and it is not quantised."""
    forward = vars(layer).get("forward")
    is_own = forward is None or getattr(forward, "func", None) in (_linear_forward, _conv2d_forward)
    patched = getattr(layer, "weight_function", ()) or getattr(layer, "bias_function", ())
    is_zero_padded = getattr(layer, "padding_mode", "zeros") == "zeros" and not isinstance(
        getattr(layer, "padding", 0), str
    )
    return is_own and not patched and is_zero_padded and type(layer.weight) is nn.Parameter and _is_float(layer.weight)


def _is_float(weight: Tensor) -> bool:
    return weight.dtype in _FLOATS


def _linear_forward(layer: nn.Linear, x: Tensor) -> Tensor:
    return linear(x, layer.weight, layer.bias)


def _conv2d_forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return _Conv2d.apply(x, layer.weight, layer.bias, settings)
