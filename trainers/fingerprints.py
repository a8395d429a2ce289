"""Hashes that tell weights and pictures apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SAMPLED = 1024  # values of each weight


def of_weights(weights: Mapping[str, Tensor]) -> str:
    """sha256 over every weight's name, type, shape and about a thousand of its values.

    Whole files of 20 GB would take longer to hash than a short run takes to train.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        flat = weight.detach().flatten()
        # an odd stride goes through all columns, as no power of two is a multiple of it
        digest.update(flat[:: len(flat) // SAMPLED | 1].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def of_tensor(tensor: Tensor) -> str:
    """sha256 over the size, the type and all values."""
    whole = tensor.detach().cpu().contiguous().flatten()
    return of_parts(f"{tensor.dtype} {tuple(tensor.shape)}", whole.view(torch.uint8).numpy().tobytes())


def of_nested(value: Any) -> str:
    """sha256 over lists, tuples and dictionaries of tensors and plain values, all of them."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, Mapping):
        return of_parts(*(part for key, item in value.items() for part in (repr(key), of_nested(item))))
    if isinstance(value, (list, tuple)):
        return of_parts(type(value).__name__, *(of_nested(item) for item in value))
    return of_parts(repr(value))


def of_parts(*parts: str | bytes) -> str:
    """sha256 over parts, of which none can run into the next."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(f"{len(raw)} ".encode())
        digest.update(raw)
    return digest.hexdigest()
