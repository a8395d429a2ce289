"""What an adapter adds to the output of the layer beside which it stands: h(x), in the layer's own type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LowRank:
    """h(x) = up(down(x)) of a plain LoRA (arXiv 2106.09685, section 4.1). down: r,in or r,in,k,k; up: rows,r or
    rows,r,1,1, times the strength. rows: of the layer's outputs, that it adds to; None: all."""

    down: Tensor
    up: Tensor
    rows: slice | None = None

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        down, up = _like(self.down, x), _like(self.up, x)
        if x.dim() == 4 and down.dim() == 4:
            return functional.conv2d(_convolved(layer, x, down), up)
        return functional.linear(functional.linear(x, down.flatten(1)), up.flatten(1))


@dataclass(frozen=True)
class Difference:
    """h(x) = W'x, where W' is what any other kind of adapter makes of the weight, less the weight."""

    weight: Tensor
    rows: slice | None = None

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        weight = _like(self.weight, x)
        if x.dim() == 4 and weight.dim() == 4:
            return _convolved(layer, x, weight)
        return functional.linear(x, weight.flatten(1))


Branch = LowRank | Difference


def _convolved(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def _like(weight: Tensor, x: Tensor) -> Tensor:
    return weight if weight.dtype == x.dtype and weight.device == x.device else weight.to(x.device, x.dtype)


def added(out: Tensor, more: Tensor, picked: Tensor | None, rows: slice | None) -> Tensor:
    """`out` with `more` added to the batch rows `picked` (all where none are said) and, of the last axis (of axis 1
    where it is a picture), the outputs `rows`."""
    part = out if rows is None else out[..., rows] if out.dim() < 4 else out[:, rows]
    if picked is None:
        part += more.to(out.dtype)
    else:
        part.index_add_(0, picked, more.to(out.dtype))
    return out


def on_device(branch: Branch, device: torch.device, dtype: torch.dtype) -> Branch:
    """The same, ready for layers that compute there in that type."""
    if isinstance(branch, LowRank):
        return LowRank(branch.down.to(device, dtype), branch.up.to(device, dtype), branch.rows)
    return Difference(branch.weight.to(device, dtype), branch.rows)
