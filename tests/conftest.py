"""Fixtures of all tests. The pack is imported as the package `isengard`, as ComfyUI would under that folder name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import hypothesis
import pytest

# the same examples every time, however slow the machine is
hypothesis.settings.register_profile(
    "here", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("here")

ROOT = Path(__file__).resolve().parents[1]


def _register_pack() -> None:
    spec = importlib.util.spec_from_file_location(
        "isengard", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["isengard"] = module
    spec.loader.exec_module(module)


_register_pack()

from isengard.tests.comfyui import installation  # noqa: E402
from isengard.tests.comfyui.boot import make_torchvision_importable  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402

make_torchvision_importable()  # peft imports transformers, which imports torchvision


@pytest.fixture(scope="session")
def comfyui():
    """A booted ComfyUI with the pack and both random checkpoints, shared by all tests."""
    with Server(shares_cores=True) as server:
        yield server


@pytest.fixture(scope="session")
def comfy_model():
    """`trainers.comfy_model`, imported as inside ComfyUI."""
    sys.path.append(str(installation.of_this_process().path))
    arguments, sys.argv = sys.argv, ["main.py", "--cpu"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        from isengard.trainers import comfy_model
    finally:
        sys.argv = arguments
    return comfy_model
