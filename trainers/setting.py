"""Fields of frozen config dataclasses that know what they may be, checked when a config is made.

A field says its default, range or choices once; `check` enforces them, and the nodes that show a setting take its
default and limits from the same place (`limits`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class ConfigError(ValueError):
    """A training setting that cannot be used; the message says what was got and what to do."""


@dataclass(frozen=True)
class Limits:
    """What a setting may be. kind: "whole", "number", "choice", "text", "flag" or "texts"."""

    kind: str
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def whole(default: int, low: int, high: int) -> Any:
    """A field for a whole number from low to high."""
    return _field(Limits("whole", default, low, high))


def number(default: float, low: float, high: float) -> Any:
    """A field for a finite number from low to high."""
    return _field(Limits("number", default, low, high))


def choice(default: str, choices: Sequence[str]) -> Any:
    """A field for one of a few words."""
    return _field(Limits("choice", default, choices=tuple(choices)))


def text(default: str = "") -> Any:
    return _field(Limits("text", default))


def texts() -> Any:
    """A field for any number of texts, a tuple."""
    return _field(Limits("texts", ()))


def flag(default: bool) -> Any:
    return _field(Limits("flag", default))


def _field(limits: Limits) -> Any:
    return dataclasses.field(default=limits.default, metadata={"limits": limits})


def limits(config: type, name: str) -> Limits:
    """What the setting `name` of a config class may be."""
    (found,) = [field for field in dataclasses.fields(config) if field.name == name]
    return found.metadata["limits"]


def check(config: Any) -> None:
    """Raise ConfigError for the first setting that is not what its field allows."""
    for field in dataclasses.fields(config):
        if "limits" in field.metadata:
            _CHECKS[field.metadata["limits"].kind](field.name, getattr(config, field.name), field.metadata["limits"])


def _check_number(name: str, value: Any, limits: Limits) -> None:
    kinds = int if limits.kind == "whole" else (int, float)
    expected = f"a {limits.kind} number" if limits.kind == "whole" else "a number"
    fits = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if not (fits and limits.low <= value <= limits.high):
        raise ConfigError(
            f"{name} is {value!r}; it must be {expected} from {limits.low:g} to {limits.high:g}. Set it in that range."
        )


def _check_choice(name: str, value: Any, limits: Limits) -> None:
    if value not in limits.choices:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(limits.choices)}.")


def _check_text(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; it must be text.")


def _check_texts(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{name} is {value!r}; it must be a list of texts.")


def _check_flag(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be true or false.")


_CHECKS = {
    "whole": _check_number,
    "number": _check_number,
    "choice": _check_choice,
    "text": _check_text,
    "texts": _check_texts,
    "flag": _check_flag,
}
