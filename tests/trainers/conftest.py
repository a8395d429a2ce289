"""ComfyUI's own modules in the test's process, for tests that need its networks but no server."""

from __future__ import annotations

import sys

import pytest
import torch

from isengard.tests.comfyui.installation import Installation, checkpoint, embedded, installation


@pytest.fixture(scope="session")
def comfy_model():
    """`trainers.comfy_model`, imported as inside ComfyUI."""
    sys.path.append(str(_comfyui().path))
    arguments, sys.argv = sys.argv, ["main.py", "--cpu"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        from isengard.trainers import comfy_model
    finally:
        sys.argv = arguments
    return comfy_model


@pytest.fixture(scope="session")
def load_all(comfy_model):
    """A function that loads MODEL, CLIP and VAE as CheckpointLoaderSimple does: under inference mode."""
    import comfy.sd

    def load_all(kind: str, **options):
        with torch.inference_mode():
            path = str(checkpoint(kind, _comfyui()))
            return comfy.sd.load_checkpoint_guess_config(path, **options)[:3]

    return load_all


@pytest.fixture
def load(load_all):
    """A function that loads a MODEL alone, anew at each call."""
    return lambda kind: load_all(kind, output_vae=False, output_clip=False)[0]


def _comfyui() -> Installation:
    """The ComfyUI under test where it runs on this Python; else the embedded one, whose requirements are here."""
    found = installation()
    return found if found.python == sys.executable else Installation(embedded(), sys.executable)
