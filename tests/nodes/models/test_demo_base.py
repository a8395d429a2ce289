"""The node Isengard Demo Base on a real ComfyUI."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isengard.sota.demo_base import checkpoint_file, drawing, make, people
from isengard.tests import graph
from isengard.tests.benchmarks import bench_likeness
from isengard.tests.comfyui.installation import PACK
from isengard.workflows import settings

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


def test_the_first_template_draws_what_its_prompts_ask_for(comfyui):
    """Press Run: nothing to choose. As it is shipped, but for the length of the training."""
    prompt = settings.load(graph.API / "quickstart.json")
    titles = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
    titles["train"]["steps"] = 5
    titles["save"]["name"] = "quickstart"
    sheet = graph.picture(comfyui, graph.run(comfyui, prompt), "sheet", prompt)
    rows = titles["sheet"]["prompts"].splitlines()
    asked = {word for row in rows for word in people.BACKGROUND if f"{word} background" in row}
    cells = 2 * titles["sheet"]["seeds"]
    for word in asked - {"white"}:  # as the sheet itself
        colour = np.array([*bytes.fromhex(people.BACKGROUND[word][1:])])
        shown = (np.abs(sheet.astype(int) - colour).max(2) < 12).sum() / (cells * drawing.SIZE**2)
        assert 0.25 < shown < 0.9, (word, shown)
    assert len(asked) == len(rows)
    assert (comfyui.base / "models" / "loras" / "quickstart.safetensors").is_file()


LOAD_ONCE_MORE = """
import sys, types
pack, comfyui = sys.argv.pop(1), sys.argv.pop(1)
sys.path.insert(0, comfyui)
sys.modules["isengard"] = types.ModuleType("isengard")
sys.modules["isengard"].__path__ = [pack]
from isengard.tests.comfyui.boot import make_torchvision_importable
make_torchvision_importable()
import comfy.options
comfy.options.enable_args_parsing()
import inspect, torch, comfy.sd
if "disable_dynamic" not in inspect.signature(comfy.sd.load_state_dict_guess_config).parameters:
    sys.exit("no such thing")
from isengard.nodes.models.nodes import DemoBase

model, clip, vae = DemoBase.execute().args
for patcher in (model, clip.patcher, vae.patcher):
    load, arguments = patcher.cached_patcher_init
    again = load(*arguments, disable_dynamic=True)
    expected, got = patcher.model.state_dict(), again.model.state_dict()
    assert again is not patcher and expected.keys() == got.keys()
    assert all(torch.equal(weight, got[name]) for name, weight in expected.items())
"""


def test_a_newer_comfyui_loads_the_same_once_more(comfyui):
    """For training on a card whose memory it pages, or for another card. A process of its own: the pack has a folder
    named as ComfyUI's nodes.py."""
    installed = comfyui.comfyui
    command = [installed.python, "-c", LOAD_ONCE_MORE, PACK, installed.path, "--cpu"]
    result = subprocess.run(list(map(str, command)), cwd=comfyui.base, capture_output=True, text=True)
    if result.stderr.endswith("no such thing\n"):
        pytest.skip(f"{installed.version} has no such thing")
    assert result.returncode == 0, result.stderr


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
