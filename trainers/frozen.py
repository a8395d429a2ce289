"""Frozen linear layers and 2D convolutions that compute in the type of their inputs.

A weight of another type is cast for the forward pass and again for the backward one. PyTorch would keep the cast one in
between, which for a whole network is a second copy of it.
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

# Where the forwards stand that do nothing but apply weight and bias: PyTorch's, and ComfyUI's own with its casts.
_PLAIN_FORWARDS = ("torch.nn.modules.linear", "torch.nn.modules.conv", "comfy.ops")
# Up to so many rows a product with the float32 weight itself is faster than a cast of that to a smaller type. 1 and 4
# rows by 256 x 1536 took 20 and 30 microseconds, in bfloat16 with its casts 90; 16 rows as long (two cores with AMX).
_FEW_ROWS = 8
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Product(NamedTuple):
    """A low-rank change of a linear layer's weight that is trained: scale * up @ down."""

    down: Tensor  # rank, in
    up: Tensor  # out, rank
    scale: float


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, product: Product | None = None) -> Tensor:
    """x: ..., in -> ..., out, in x's type: of a frozen weight (out, in) and, beside it, a product."""
    few = x.numel() <= _FEW_ROWS * x.shape[-1]
    if few and x.dtype.itemsize < 4 and weight.dtype == torch.float32:
        return linear(x.float(), weight, bias, product).to(x.dtype)
    return _Linear.apply(x, weight, bias, *(product or (None, None, 1.0)))


class _Linear(torch.autograd.Function):
    """One node of the graph for the layer and its product: their gradients for x are added where they come to be."""

    @staticmethod
    def forward(ctx, x, weight, bias, down, up, scale):
        out = functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        kept = ()
        if down is not None:
            rows, down, up = x.reshape(-1, x.shape[-1]), down.to(x.dtype), up.to(x.dtype)
            inner = rows @ down.t()
            out.view(-1, len(weight)).addmm_(inner, up.t(), alpha=scale)
            kept = (down, up, rows, inner)
        ctx.save_for_backward(weight, *kept)
        ctx.scale = scale
        return out  # no view of something: networks add to it in place

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
            of_x = of_x.view(*gradient.shape[:-1], weight.shape[1])
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
    """The plain layers of `network` compute in the type of their inputs; others are left as they are."""
    plain = [module for module in network.modules() if is_plain(module)]
    try:
        for module in plain:
            forward = _linear_forward if isinstance(module, nn.Linear) else _conv2d_forward
            module.forward = functools.partial(forward, module)
        yield
    finally:
        for module in network.modules():
            if _is_ours(vars(module).get("forward")):  # somebody may have wrapped it meanwhile, and given it back
                del module.forward  # the class's own shows again


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a linear one or a 2D convolution that is computed from its weight and bias alone: no pack has
    put another forward or a hook on it, ComfyUI patches no weight on the way, and it is not quantised."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        return False
    own = vars(layer).get("forward")
    patched = getattr(layer, "weight_function", ()) or getattr(layer, "bias_function", ())
    hooked = any(getattr(layer, hooks) for hooks in _HOOKS)
    return (
        (own is None or _is_ours(own))
        and type(layer).forward.__module__ in _PLAIN_FORWARDS
        and not patched
        and not hooked
        and _is_float(layer.weight)
        and (isinstance(layer, nn.Linear) or _is_zero_padded(layer))
    )


def _is_ours(forward: object) -> bool:
    return getattr(forward, "func", None) in (_linear_forward, _conv2d_forward)


def _is_float(weight: object) -> bool:
    return type(weight) is nn.Parameter and weight.is_floating_point() and weight.dtype.itemsize > 1


def _is_zero_padded(layer: nn.Conv2d) -> bool:
    """Packs for tiles that fit together replace `_conv_forward`, and leave the padding mode as it is."""
    own = "_conv_forward" in vars(layer) or type(layer)._conv_forward is not nn.Conv2d._conv_forward
    return not own and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _linear_forward(layer: nn.Linear, x: Tensor) -> Tensor:
    return linear(x, layer.weight, layer.bias)


def _conv2d_forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return _Conv2d.apply(x, layer.weight, layer.bias, settings)
