"""Models loaded by ComfyUI's own code in the test's process, for tests that need its networks but no server."""

from __future__ import annotations

import pytest
import torch

from isengard.tests.comfyui.installation import checkpoint, of_this_process


@pytest.fixture(scope="session")
def load_all(comfy_model):
    """A function that loads MODEL, CLIP and VAE as CheckpointLoaderSimple does: under inference mode."""
    import comfy.sd

    def load_all(kind: str, **options):
        with torch.inference_mode():
            path = str(checkpoint(kind, of_this_process()))
            return comfy.sd.load_checkpoint_guess_config(path, **options)[:3]

    return load_all


@pytest.fixture
def load(load_all):
    """A function that loads a MODEL alone, anew at each call."""
    return lambda kind: load_all(kind, output_vae=False, output_clip=False)[0]


@pytest.fixture
def one_thread():
    """The network is so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
