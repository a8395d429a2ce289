"""ComfyUI's own modules in the test's process, for tests that need its networks but no server."""

from __future__ import annotations

import sys

import pytest
import torch

from isengard.tests.comfyui.installation import checkpoint, installation


@pytest.fixture(scope="session")
def comfy_model():
    """`trainers.comfy_model`, imported as inside ComfyUI."""
    found = installation()
    sys.path.append(str(found.path))
    arguments, sys.argv = sys.argv, ["main.py", "--cpu"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        from isengard.trainers import comfy_model
    finally:
        sys.argv = arguments
    return comfy_model


@pytest.fixture
def load(comfy_model):
    """A function that loads a MODEL as CheckpointLoaderSimple does: under inference mode, nothing shared."""
    import comfy.sd

    def load(kind: str):
        with torch.inference_mode():
            path = str(checkpoint(kind, installation()))
            return comfy.sd.load_checkpoint_guess_config(path, output_vae=False, output_clip=False)[0]

    return load
