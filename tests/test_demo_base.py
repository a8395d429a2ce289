"""The node Isengard Demo Base on a real ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import save_file

from isengard.sota.demo_base import checkpoint_file
from isengard.tests import graph
from isengard.tests.benchmarks import likeness_job

pytestmark = pytest.mark.comfyui


@pytest.fixture
def as_checkpoint(comfyui):
    """The demo base, text encoder included, as a file that the stock loader takes."""
    file = comfyui.base / "models" / "checkpoints" / "demo_base.safetensors"
    save_file(checkpoint_file.state_dict(), file)
    yield file.name
    file.unlink()


def test_it_is_what_the_stock_loader_makes_of_the_same_weights(comfyui, as_checkpoint):
    stock = graph.sampled(as_checkpoint)
    ours = graph.sampled(as_checkpoint)
    ours["1"] = graph.node("IsengardDemoBase", "base")
    pictures = [graph.picture(comfyui, graph.run(comfyui, prompt), "save", prompt) for prompt in (stock, ours)]
    assert pictures[0].std() > 1
    np.testing.assert_array_equal(*pictures)


def test_the_picture_model_takes_latents_of_deviation_one(comfyui):
    """What the autoencoder was trained for, and what the model was trained on: encoding and SD3's scaling fit."""
    pictures = likeness_job.real_pictures(likeness_job.people.held_out()[10])[:4]
    again = likeness_job.roundtrip(comfyui.url, comfyui.base, pictures)
    error = np.square(pictures / 255 - again / 255).mean()
    assert -10 * np.log10(error) > 27, "the autoencoder that ComfyUI loads is not the one that was trained"
