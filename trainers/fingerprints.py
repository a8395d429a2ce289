"""Hashes that tell weights and pictures apart."""

from __future__ import annotations

import functools
import hashlib
import secrets
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


def of_anything(value: Any, within: tuple[int, ...] = ()) -> str:
    """sha256 over whatever nodes leave on a model: plain values, functions with what they close over, objects with what
    they hold; tensors by some of their values. What cannot be looked into has another hash every time.

    within: ids of the values that this one stands in.
    """
    if id(value) in within:
        return of_parts("itself", str(len(within) - within.index(id(value))))
    parts = _parts_of(value) if len(within) < _DEEPEST else None
    if parts is None:
        return secrets.token_hex(32)
    name, *inside = parts
    return of_parts(name, *(of_anything(each, (*within, id(value))) for each in inside))


_DEEPEST = 20


def _parts_of(value: Any) -> list[Any] | None:
    """What kind it is, as text that says all of a plain value; and what it holds. None for what cannot be told."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.dtype, torch.device)):
        return [f"{kind} {value!r}"]
    if isinstance(value, (Tensor, nn.Module)):
        return [f"{kind} {of_weights(value.state_dict() if isinstance(value, nn.Module) else {'': value})}"]
    if isinstance(value, Mapping):
        return [kind, *(part for pair in value.items() for part in pair)]
    if isinstance(value, (list, tuple)):
        return [kind, *value]
    if isinstance(value, (set, frozenset)):
        return [kind, *sorted(value, key=repr)]
    if isinstance(value, type):
        return [f"{value.__module__}.{value.__qualname__}"]
    if isinstance(value, types.MethodType):
        return [kind, value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [kind, value.func, value.args, value.keywords]
    if isinstance(value, types.FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
        return [
            f"{value.__module__}.{value.__qualname__}",
            value.__code__,
            held,
            value.__defaults__,
            value.__kwdefaults__,
        ]
    if isinstance(value, types.CodeType):
        return [f"{value.co_code.hex()} {value.co_names}", *value.co_consts]
    is_open = hasattr(value, "__dict__") and not hasattr(value, "patches_uuid")  # that of a MODEL tells it apart
    return [kind, vars(value)] if is_open else None


def of_parts(*parts: str | bytes) -> str:
    """sha256 over parts, of which none can run into the next."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(f"{len(raw)} ".encode())
        digest.update(raw)
    return digest.hexdigest()
