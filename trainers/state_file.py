"""Anything made of tensors and plain values in one safetensors file, written whole or not at all.

A checkpoint holds what `state_dict` gives: dictionaries, lists and numbers around tensors, at any depth. The tensors
become the file's tensors, named by where they stand; what is around them is JSON in the file's metadata. Reading it
runs nothing, where reading a pickle may run anything.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor


class DamagedState(ValueError):
    """A file is no saved state, or only a part of one; the message says what to do."""


_TREE = "tree"  # the metadata key
_TENSOR, _TUPLE, _PAIRS = "$tensor", "$tuple", "$pairs"  # marks in the JSON; _PAIRS: of a dictionary with other keys


def save(file: Path, tree: Mapping[str, Any]) -> None:
    """Write tensors, numbers, text, None, and lists, tuples and dictionaries of them. Raises TypeError for others."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_taken_apart(tree, "", tensors))
    write(file, safetensors.torch.save(tensors, {_TREE: skeleton}))


def load(file: Path) -> dict[str, Any]:
    """What `save` was given, with equal types and tensors. Raises DamagedState for a file that it did not write."""
    try:
        with safetensors.safe_open(file, "pt") as opened:
            skeleton = json.loads((opened.metadata() or {})[_TREE])
            return _put_together(skeleton, opened)
    except (safetensors.SafetensorError, KeyError) as error:
        raise DamagedState(f"{file} is no saved state, or is damaged ({error}). Move it away to begin anew.") from error


def write(file: Path, content: bytes) -> None:
    """Write through a temporary file in the same folder, on the disk before it is moved into place."""
    temporary = file.with_name(f".{file.stem}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _taken_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # safetensors refuses shared memory
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        pairs = [(key, _taken_apart(item, f"{name}/{key}".lstrip("/"), tensors)) for key, item in value.items()]
        plain = all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs)
        return dict(pairs) if plain else {_PAIRS: pairs}
    if isinstance(value, (list, tuple)):
        items = [_taken_apart(item, f"{name}/{place}".lstrip("/"), tensors) for place, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot save {name}: it is a {type(value).__name__}, and not a tensor, a number or text.")


def _put_together(value: Any, opened: Any) -> Any:
    if isinstance(value, list):
        return [_put_together(item, opened) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return opened.get_tensor(value[_TENSOR])
    if _TUPLE in value:
        return tuple(_put_together(item, opened) for item in value[_TUPLE])
    pairs = value[_PAIRS] if _PAIRS in value else value.items()
    return {key: _put_together(item, opened) for key, item in pairs}
