"""The node Isengard Demo Base on a real ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isengard.sota.demo_base import checkpoint_file, make
from isengard.tests import graph
from isengard.tests.benchmarks import bench_likeness

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


def test_the_first_template_runs_as_it_is(comfyui):
    """Open it, press Run: nothing to choose. Made small here."""
    prompt = graph.job("quickstart", save__name="quickstart")
    finished = graph.run(comfyui, prompt)
    assert graph.picture(comfyui, finished, "sheet", prompt).std() > 1
    assert (comfyui.base / "models" / "loras" / "quickstart.safetensors").is_file()


def test_the_autoencoder_gives_pictures_back(comfyui):
    """28 dB and more, through ComfyUI's own nodes, on people that training never saw."""
    assert bench_likeness.autoencoder_psnr(comfyui) > 28


def test_comfyui_gives_the_model_the_latents_that_it_was_trained_on(comfy_model):
    """SD3's scaling of latents and the autoencoder's own undo each other; a picture model fed otherwise draws badly."""
    import comfy.sd

    with torch.inference_mode():
        model, _, vae, _ = comfy.sd.load_state_dict_guess_config(checkpoint_file.state_dict(), output_clip=False)
        pictures = torch.from_numpy(make.held_out_pictures()[:40]).float().div(255)  # B,H,W,3
        seen = model.model.process_latent_in(vae.encode(pictures))
        encoder = vae.first_stage_model.taesd_encoder
        raw = encoder(pictures.movedim(-1, 1).to(next(encoder.parameters()).dtype)).float()
    torch.testing.assert_close(seen.cpu().float(), raw.cpu(), atol=0.01, rtol=0.01)
    assert abs(float(seen.mean())) < 0.1
    assert 0.9 < float(seen.std()) < 1.1
