"""What was encoded before, on disk: latents and text conditions by the content they were made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import state_file

Encode = Callable[[Sequence[int]], Iterable[Any]]


class Cache:
    """A folder of encoded values, each a file named by its key; none where folder is none.

    Keys are hashes of what a value follows from, and any file in the folder may be deleted at any time. warn: told once
    where the folder cannot be written; the run goes on without it.
    """

    def __init__(self, folder: Path | None, warn: Callable[[str], None] = logging.warning):
        self._folder, self._warn = folder, warn

    def values(self, keys: Sequence[str], encode: Encode, is_good: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        """The value of each key; `encode` is asked for those that are not there, by their places, and gives them one
        after the other. Each that is good is written as it comes, so that an interrupt loses none that was made."""
        found = {key: value for key in dict.fromkeys(keys) if (value := self._read(key)) is not None}
        missing = [place for place, key in enumerate(keys) if key not in found and keys.index(key) == place]
        for place, value in zip(missing, encode(missing), strict=True):
            found[keys[place]] = value
            if is_good(value):
                self._write(keys[place], value)
        return [found[key] for key in keys]

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> Any:
        if self._folder is None or not self._file(key).exists():
            return None
        try:
            return state_file.load(self._file(key))["value"]
        except state_file.DamagedState:
            return None  # a file that is cut off is made anew

    def _write(self, key: str, value: Any) -> None:
        if self._folder is None:
            return
        try:
            self._file(key).parent.mkdir(parents=True, exist_ok=True)
            state_file.save(self._file(key), {"value": value})
        except OSError as error:
            self._warn(f"what was encoded cannot be kept in {self._folder} ({error}); the next run encodes it again")
            self._folder = None
