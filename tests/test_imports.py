"""Arrows go one way: a module may import only from its own room and from those to the right of it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMFY = {
    "comfy",
    "comfyui_version",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "folder_paths",
    "nodes",
    "node_helpers",
    "latent_preview",
    "server",
}
ALLOWED = {  # room -> rooms of the pack that it may import
    "nodes": {"nodes", "trainers", "sota"},
    "trainers": {"trainers"},
    "sota": {"sota", "trainers"},
    "workflows": {"workflows", "tests"},  # run.py boots the ComfyUI of the tests
}
LIBRARIES = {  # beside the standard library
    "nodes": {"torch", "numpy", "PIL", "matplotlib", "aiohttp", "yaml", "filelock", "re2"},
    "trainers": {"torch", "peft", "safetensors", "numpy", "yaml"},
    "sota": {"torch", "safetensors", "numpy", "yaml", "PIL", "dicebear", "resvg_py"},
    "workflows": {"aiohttp"},
}
DOORS = {
    "nodes.py",
    "scoring_nodes.py",
    "sockets.py",
    "progress.py",
    "extension.py",
    "routes.py",
}  # the files of nodes/ that may import ComfyUI


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path, source: str | None = None) -> list[tuple[str, ...]]:
    """Every module that a file imports, as path elements; those of the pack begin with "."."""
    found = []
    for node in ast.walk(ast.parse(source or path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(tuple(node.module.split(".")))
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(".", *package, *name.split(".")) for name in names]
    return found


def wrong_arrows(path: Path, source: str | None = None) -> list[str]:
    room, wrong = path.relative_to(ROOT).parts[0], []
    for module in imported(path, source):
        if module[0] == "." and module[1] not in ALLOWED[room]:
            wrong.append(f"{room} -> {module[1]}")
        elif module[0] != "." and not may_import(path, module[0]):
            wrong.append(f"{path.name} imports {module[0]}")
    return wrong


def may_import(path: Path, module: str) -> bool:
    if module == "isengard":  # the name that a script gives the pack, whatever its folder is called
        return path.name == "__main__.py"
    if module in COMFY:
        return may_import_comfy(path)
    return module in sys.stdlib_module_names or module in LIBRARIES[path.relative_to(ROOT).parts[0]]


def may_import_comfy(path: Path) -> bool:
    room, *rest = path.relative_to(ROOT).parts
    if room == "nodes":
        return path.name in DOORS or path.name.startswith("comfy_") or rest == ["__init__.py"]
    if room == "trainers":
        return path.name.startswith("comfy_")
    return (room, *rest) == ("sota", "demo_base", "comfy_parts.py")


@pytest.mark.parametrize("path", [path for room in ALLOWED for path in modules(room)], ids=str)
def test_arrows(path):
    assert wrong_arrows(path) == []


@pytest.mark.parametrize(
    "file, source, wrong",
    [
        ("trainers/loop.py", "from ..nodes import names", "trainers -> nodes"),
        ("trainers/loop.py", "import comfy.utils", "loop.py imports comfy"),
        ("trainers/loop.py", "import execution", "loop.py imports execution"),
        ("trainers/loop.py", "import isengard.nodes.names", "loop.py imports isengard"),
        ("nodes/dataset/folder.py", "from folder_paths import x", "folder.py imports folder_paths"),
        ("nodes/dataset/folder.py", "from ...workflows import client", "nodes -> workflows"),
        ("sota/__init__.py", "from ..nodes import names", "sota -> nodes"),
    ],
)
def test_a_wrong_arrow_is_seen(file, source, wrong):
    assert wrong_arrows(ROOT / file, source) == [wrong]
