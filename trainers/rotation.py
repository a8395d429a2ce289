"""Orthogonal fine-tuning as LoRA files hold it: blocks of a layer's outputs are rotated (OFT, arXiv 2306.07280).

peft's OFT rotates a layer's inputs, which no LoRA file can say. LyCORIS and ComfyUI (comfy/weight_adapter/oft.py)
rotate outputs, so this does: W' = R^T W, with R = (I + Q)(I - Q)^-1 of Q = B - B^T for each block B (Cayley's
transform, section 4.2). The product is formed with the layer's outputs, never with its weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Rotation(nn.Module):
    """A frozen layer whose outputs, without its bias, are rotated in blocks. oft_blocks: blocks,size,size, all 0."""

    def __init__(self, base_layer: nn.Module, blocks: int):
        super().__init__()
        self.base_layer = base_layer
        outputs = base_layer.weight.shape[0]
        count = nearest_divisor(outputs, blocks)
        size = outputs // count
        self.oft_blocks = nn.Parameter(torch.zeros(count, size, size, device=base_layer.weight.device))
        self._enabled = True

    def enable_adapters(self, enabled: bool) -> None:
        self._enabled = enabled

    def forward(self, x: Tensor, *arguments, **options) -> Tensor:
        y = self.base_layer(x, *arguments, **options)
        if not self._enabled:
            return y
        channels = -1 if isinstance(self.base_layer, nn.Linear) else 1  # B,…,C or B,C,H,W
        y = y.movedim(channels, -1)
        bias = self.base_layer.bias
        centred = y if bias is None else y - bias.to(y)
        # y + (R^T - I) y: where nothing is rotated, nothing is rounded either
        change = torch.einsum(
            "kmn,...kn->...km", self._change().to(y), centred.unflatten(-1, self.oft_blocks.shape[:2])
        )
        return (y + change.flatten(-2)).movedim(-1, channels)

    def _change(self) -> Tensor:
        """R^T - I of every block."""
        skew = self.oft_blocks - self.oft_blocks.transpose(1, 2)
        eye = torch.eye(skew.shape[-1], device=skew.device)
        return _solved(eye - skew, eye + skew).transpose(1, 2) - eye


def _solved(a: Tensor, b: Tensor) -> Tensor:
    """b a^-1 of blocks,size,size.

    One block at a time on a CPU: once anything in the process has called torch.set_num_threads, MKL factors a batch of
    blocks in threads within threads and never ends, or fails (pytorch/pytorch#142815, #141358).
    """
    if a.device.type != "cpu":
        return torch.linalg.solve(a, b, left=False)
    return torch.stack([torch.linalg.solve(*pair, left=False) for pair in zip(a, b, strict=True)])


def attach(network: nn.Module, blocks: Mapping[str, int]) -> None:
    """Put a Rotation around the layers; blocks: how many by path."""
    for path, count in blocks.items():
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, Rotation(network.get_submodule(path), count))


def file_weights(layer: Rotation) -> dict[str, Tensor]:
    """alpha: the constraint of constrained OFT, 0 for none."""
    return {"oft_blocks": layer.oft_blocks, "alpha": torch.tensor(0.0)}


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of `number` nearest to `wanted`, the smaller of two."""
    return min(
        (each for each in range(1, number + 1) if number % each == 0), key=lambda each: (abs(each - wanted), each)
    )
