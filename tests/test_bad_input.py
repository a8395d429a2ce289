"""What people get wrong, through the graph: a clear message each, and nothing half-written."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from isengard.sota import sample_character
from isengard.tests.comfyui.installation import checkpoint
from isengard.workflows.client import NodeFailed, PromptRejected

from . import graph

pytestmark = pytest.mark.comfyui


@pytest.fixture
def hero(comfyui, request):
    """A folder in ComfyUI's input folder with one good picture, named after the test."""
    folder = comfyui.base / "input" / re.sub(r"\W+", " ", request.node.name).strip()
    folder.mkdir()
    Image.new("RGB", (64, 64), "teal").save(folder / "good.png")
    (folder / "good.txt").write_text("mira woman")
    return folder


def written(server) -> set[str]:
    """Every file that a run could leave: LoRAs, pictures, anything below user/."""
    roots = [server.base / "models" / "loras", server.base / "output", server.base / "user"]
    return {str(path) for root in roots for path in root.rglob("*") if path.is_file() and "comfyui.db" not in path.name}


def refusal(server, error, prompt) -> str:
    before = written(server)
    with pytest.raises(error) as raised:
        graph.run(server, prompt)
    assert written(server) == before
    return str(raised.value)


def test_a_missing_folder(comfyui):
    message = refusal(comfyui, PromptRejected, graph.job(dataset__folder="nobody"))
    assert "there is no folder 'nobody' in ComfyUI's input folder. Put the pictures in input/nobody/." in message


def test_an_empty_folder(comfyui):
    (comfyui.base / "input" / "empty one").mkdir()
    message = refusal(comfyui, PromptRejected, graph.job(dataset__folder="empty one"))
    assert "folder 'empty one' holds no picture" in message


@pytest.mark.parametrize("name", ["../..", "/etc", "..\\..", "mira/../../../x"])
def test_a_folder_that_climbs_out(comfyui, name):
    assert f"folder '{name}' is not a plain name" in refusal(comfyui, PromptRejected, graph.job(dataset__folder=name))


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", ""])
def test_a_lora_name_that_climbs_out(comfyui, name):
    # this output alone: ComfyUI starts the good ones of a prompt before the client can stop them
    prompt = graph.without(graph.job(save__name=name), "sheet", "chart")
    message = refusal(comfyui, PromptRejected, prompt)
    assert f"LoRA name '{name}' is not a plain name" in message


def test_a_text_file_called_png(comfyui, hero):
    (hero / "bad.png").write_text("this is text")
    message = refusal(comfyui, NodeFailed, graph.job(dataset__folder=hero.name))
    assert f"1 of 2 pictures could not be read ({hero.name}/bad.png: not a picture, 12 bytes)" in message


def test_a_truncated_jpeg(comfyui, hero):
    Image.effect_noise((64, 64), 50).convert("RGB").save(hero / "bad.jpg")
    (hero / "bad.jpg").write_bytes((hero / "bad.jpg").read_bytes()[:700])
    message = refusal(comfyui, NodeFailed, graph.job(dataset__folder=hero.name))
    assert "bad.jpg: damaged or cut off after 700 bytes" in message


def test_a_caption_that_is_no_text(comfyui, hero):
    (hero / "good.txt").write_bytes(b"\x89PNG\x00\x01\x02")
    message = refusal(comfyui, NodeFailed, graph.job(dataset__folder=hero.name))
    assert "its caption good.txt is no text" in message
    assert "save it as UTF-8" in message


def test_a_picture_without_a_caption(comfyui, hero):
    (hero / "good.txt").unlink()
    message = refusal(comfyui, NodeFailed, graph.job(dataset__folder=hero.name))
    assert "1 of 1 pictures" in message
    assert "have no caption (good.png)" in message


def test_fewer_steps_than_none(comfyui):
    message = refusal(comfyui, PromptRejected, graph.job(train__steps=-1))
    assert "IsengardTrainLora" in message
    assert "steps" in message
    assert "smaller than min of 0" in message.lower()


def test_a_warm_up_longer_than_the_run(comfyui):
    message = refusal(
        comfyui, NodeFailed, graph.with_settings(graph.job(train__steps=4), "IsengardOptimizerSettings", warmup_steps=9)
    )
    assert "warmup_steps is 9 and steps is 4" in message


def test_no_prompt_for_the_sheet(comfyui):
    prompt = graph.without(graph.job(sheet__prompts=" \n "), "save", "chart")
    assert "no prompt to sample" in refusal(comfyui, PromptRejected, prompt)


def test_a_vae_that_gives_nan(comfyui):
    """A real one: the autoencoder of the checkpoint with its scale at 0, by which it divides."""
    weights = load_file(checkpoint("sd3", comfyui.comfyui))
    prefix = "first_stage_model."
    vae = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    (comfyui.base / "models" / "vae").mkdir(exist_ok=True)
    save_file(vae | {"vae_scale": torch.zeros(())}, comfyui.base / "models" / "vae" / "nan.safetensors")
    prompt = graph.job() | {"vae": graph.node("VAELoader", "vae", vae_name="nan.safetensors")}
    for entry in prompt.values():
        if "vae" in entry["inputs"]:
            entry["inputs"]["vae"] = ["vae", 0]
    message = refusal(comfyui, NodeFailed, prompt)
    count = len(list(sample_character.FOLDER.glob("*.png")))
    assert f"latents with NaN or infinity for {count} of {count} pictures (mira_01.png, " in message
