"""A workflow in ComfyUI's API format, and values set in it by name."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .client import Prompt, title


class WorkflowError(ValueError):
    """A file that is no workflow for /prompt; the message says what it is."""


class SettingError(ValueError):
    """A name=value that does not fit the workflow; the message lists what does."""


def load(path: Path) -> Prompt:
    """Read a workflow in the API format. Raises WorkflowError."""
    try:
        prompt = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise WorkflowError(f"{path} is not JSON ({error}). Give a workflow in ComfyUI's API format.") from error
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise WorkflowError(
            f"{path} is in the graph editor's format; this wants the API format. Open it in ComfyUI, choose "
            "Export (API) in the menu, and give that file."
        )
    if not isinstance(prompt, dict) or not prompt or not all(_is_node(node) for node in prompt.values()):
        raise WorkflowError(
            f'{path} is no workflow in ComfyUI\'s API format, which is {{"id": {{"class_type": …, "inputs": …}}, …}}.'
        )
    return prompt


def apply(prompt: Prompt, settings: Iterable[str], info: Mapping[str, Any]) -> Prompt:
    """A copy of the prompt with each `node.input=value` set; info: the server's /object_info.

    node: a title or an id. The value is converted to the type that the input has on the server.
    Raises SettingError.
    """
    prompt = copy.deepcopy(prompt)
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise SettingError(f"'{setting}' sets nothing. Write it as node.input=value, as in train.steps=200.")
        node, input_name = _find(prompt, name)
        kind, options = _declared(prompt, node, input_name, info)
        prompt[node]["inputs"][input_name] = _converted(name, value, kind, options)
    return prompt


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _find(prompt: Prompt, name: str) -> tuple[str, str]:
    """Node id and input of `node.input`; both may have dots in them, and the longest node name wins."""
    dots = [place for place, character in enumerate(name) if character == "."]
    for dot in reversed(dots):
        nodes = [node for node in prompt if name[:dot] in (node, title(prompt, node))]
        if len(nodes) > 1:
            raise SettingError(f"'{name[:dot]}' names more than one node. Use an id: {', '.join(nodes)}.")
        if nodes:
            return nodes[0], name[dot + 1 :]
    known = ", ".join(f"{title(prompt, node)} ({node})" for node in prompt)
    raise SettingError(f"'{name}' names no input of this workflow. Write node.input; the nodes are: {known}.")


def _declared(prompt: Prompt, node: str, input_name: str, info: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type and the options of a value that can be set. Raises SettingError for anything else."""
    class_type, label = prompt[node]["class_type"], title(prompt, node)
    if class_type not in info:
        raise SettingError(f"{label}: the server has no node '{class_type}'. Install its pack there and start it anew.")
    inputs = declared_inputs(info[class_type])
    now = prompt[node]["inputs"].get(input_name)
    if input_name in inputs and isinstance(now, list):
        raise SettingError(f"{label}.{input_name} comes from {title(prompt, str(now[0]))} and cannot be set here.")
    values = [name for name, (kind, _) in inputs.items() if kind in VALUE_TYPES]
    if input_name not in values:
        raise SettingError(f"{label} has no value '{input_name}' to set. It has: {', '.join(values) or 'none'}.")
    return inputs[input_name]


VALUE_TYPES = ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO")  # those that a person enters


def declared_inputs(node_info: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Type and options by input name, as one node's /object_info tells; a plain list of choices is a COMBO too."""
    declared = {}
    for group in ("required", "optional"):
        for name, (kind, *options) in (node_info["input"].get(group) or {}).items():
            options = dict(options[0]) if options else {}
            if isinstance(kind, list):
                kind, options = "COMBO", {**options, "options": kind}
            declared[name] = kind, options
    return declared


def _converted(name: str, value: str, kind: str, options: dict[str, Any]) -> Any:
    if kind == "COMBO":
        return _choice(name, value, options.get("options"))
    convert, expected = _CONVERSIONS[kind]
    try:
        return convert(value)
    except (ValueError, KeyError):
        raise SettingError(f"{name} is '{value}'; it must be {expected}.") from None


def _choice(name: str, value: str, choices: list[Any] | None) -> Any:
    if choices is None:  # asked from somewhere by the editor: only the server knows
        return value
    for choice in choices:
        if str(choice) == value:
            return choice
    raise SettingError(f"{name} is '{value}'; choose one of: {', '.join(map(str, choices)) or '(there is none)'}.")


def _finite(value: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

_CONVERSIONS = {
    "INT": (int, "a whole number"),
    "FLOAT": (_finite, "a number"),
    "BOOLEAN": (lambda value: _BOOLEANS[value.lower()], "true or false"),
    "STRING": (str, "text"),
}
