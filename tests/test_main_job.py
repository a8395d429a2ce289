"""The main job over POST /prompt: pictures in, LoRA and pictures out, with nothing but a server."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from . import graph
from .jobs import lora_folder, train_to_file

pytestmark = pytest.mark.comfyui


UNMATCHED = ("lora key not loaded", "NOT LOADED")


def log_of(server, action) -> str:
    """What the server logs while `action` runs."""
    before = len(server.log())
    action()
    return server.log()[before:]


@pytest.fixture(scope="module")
def trained(comfyui):
    """The whole job, once: events, what came out, and the LoRA file."""
    events = []
    prompt = graph.job(train__steps=60, save__name="main job", save__precision="fp32", sheet__seeds=2)
    finished = graph.run(comfyui, prompt, events.append)
    return prompt, events, finished


def test_training_lowers_the_loss(trained):
    losses = graph.losses(trained[1])
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_progress_is_shown_on_the_train_node(trained):
    prompt, events, _ = trained
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    steps = [
        event["data"]["value"] for event in events if event["type"] == "progress" and event["data"]["node"] == train
    ]
    assert steps[-1] == 60
    assert steps == sorted(steps)


def test_the_sheet_and_the_chart_come_out(comfyui, trained):
    prompt, _, finished = trained
    sheet = graph.picture(comfyui, finished, "sheet", prompt)
    assert sheet.shape[0] > 2 * 64
    assert sheet.shape[1] > 2 * 64
    assert graph.picture(comfyui, finished, "chart", prompt).std() > 5


def test_the_file_loads_with_no_unmatched_key_and_changes_the_picture(comfyui, trained):
    plain, loaded = graph.sampled("sd3.safetensors"), graph.sampled("sd3.safetensors", "main job.safetensors")
    base = graph.picture(comfyui, graph.run(comfyui, plain), "save", plain)
    pictures = []
    log = log_of(comfyui, lambda: pictures.append(graph.picture(comfyui, graph.run(comfyui, loaded), "save", loaded)))
    assert not [line for line in log.splitlines() if any(word in line for word in UNMATCHED)]
    assert (pictures[0] != base).mean() > 0.2


def test_an_unmatched_key_would_be_seen(comfyui, trained):
    """The control of the test above: one foreign key in the file shows up in the log."""
    weights = load_file(lora_folder(comfyui) / "main job.safetensors")
    save_file(
        weights | {"lora_unet_no_such_layer.lora_up.weight": torch.zeros(2, 2)},
        lora_folder(comfyui) / "odd.safetensors",
    )
    log = log_of(comfyui, lambda: graph.run(comfyui, graph.sampled("sd3.safetensors", "odd.safetensors")))
    assert any(word in log for word in UNMATCHED)


def test_strength_zero_is_the_base_bit_for_bit(comfyui, trained):
    plain = graph.sampled("sd3.safetensors", seed=8)
    off = graph.sampled("sd3.safetensors", "main job.safetensors", strength=0.0, seed=8)
    assert np.array_equal(
        graph.picture(comfyui, graph.run(comfyui, plain), "save", plain),
        graph.picture(comfyui, graph.run(comfyui, off), "save", off),
    )


def test_the_trained_model_draws_what_the_file_draws(comfyui, trained):
    """The MODEL that Train puts out, against the saved file through the stock loader; cells cut from both sheets."""
    prompt, _, finished = trained
    again = graph.job("compare_lora", lora__lora_name="main job.safetensors", lora__strength_model=1.0, sheet__seeds=2)
    second = graph.run(comfyui, again)
    first_sheet = graph.picture(comfyui, finished, "sheet", prompt)
    second_sheet = graph.picture(comfyui, second, "sheet", again)
    assert first_sheet.shape[1] > second_sheet.shape[1]  # it shows the data set too
    below_titles, within = -2 * 64, slice(second_sheet.shape[1] - 6)
    assert np.array_equal(first_sheet[below_titles:, within], second_sheet[below_titles:, within])


def test_the_sheet_shows_what_ksampler_gives_without_the_lora_on_the_left_and_with_it_on_the_right(comfyui, trained):
    prompt, _, finished = trained
    (settings,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "sheet"]
    sheet = graph.picture(comfyui, finished, "sheet", prompt)
    places = []
    for lora in (None, "main job.safetensors"):
        core = graph.sampled("sd3.safetensors", lora, seed=settings["seed"], prefix="core")
        core["6"]["inputs"] |= {key: settings[key] for key in ("steps", "cfg", "sampler_name", "scheduler")}
        core["3"]["inputs"]["text"], core["4"]["inputs"]["text"] = settings["prompts"], settings["negative"]
        places.append(left_of(graph.picture(comfyui, graph.run(comfyui, core), "save", core), sheet))
    assert places[0] < places[1]


def left_of(picture: np.ndarray, sheet: np.ndarray) -> int:
    """The only place where the sheet shows the picture, pixel by pixel: its left edge."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[:, :, 0]
    ((_, column),) = np.argwhere((windows == picture).all((-1, -2, -3)))
    return int(column)


def test_the_file_says_how_it_was_trained(comfyui, trained):
    with safe_open(lora_folder(comfyui) / "main job.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["ss_network_dim"], said["ss_steps"], said["isengard.prediction"]) == ("16", "60", "flow")
    assert len(said["isengard.base_hash"]) == len(said["isengard.dataset_hash"]) == 64


def test_a_file_that_is_there_is_kept(comfyui, trained):
    before = (lora_folder(comfyui) / "main job.safetensors").read_bytes()
    prompt = graph.job(save__name="main job", train__seed=77)
    finished = graph.run(comfyui, graph.without(prompt, "sheet", "chart"))
    assert (lora_folder(comfyui) / "main job.safetensors").read_bytes() == before
    assert (lora_folder(comfyui) / "main job-2.safetensors").is_file()
    assert ["saved as main job-2.safetensors"] in [
        shown["text"] for shown in finished.outputs.values() if "text" in shown
    ]


def test_the_same_seed_gives_the_same_lora_and_another_seed_another(comfyui):
    # the default caption is used by no picture of Mira's; changing it makes ComfyUI run the nodes again
    first = train_to_file(comfyui, "seed 1", train__seed=1, dataset__default_caption="a")
    second = train_to_file(comfyui, "seed 1 again", train__seed=1, dataset__default_caption="b")
    other = train_to_file(comfyui, "seed 2", train__seed=2)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_an_sd15_model_trains_too_and_its_file_loads(comfyui):
    weights = train_to_file(comfyui, "sd15", checkpoint__ckpt_name="sd15.safetensors", train__steps=2)
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v.lora_up.weight" in weights
    assert all(weights[name].any() for name in weights if "lora_up" in name)
    log = log_of(comfyui, lambda: graph.run(comfyui, graph.sampled("sd15.safetensors", "sd15.safetensors")))
    assert not any(word in log for word in UNMATCHED)


def test_a_v_prediction_model_trains_and_draws_with_its_lora(comfyui):
    """Core's own node makes the SD1.5-shaped model one of v prediction."""
    prompt = graph.job(checkpoint__ckpt_name="sd15.safetensors", train__steps=4, save__name="v prediction")
    prompt["v"] = graph.node("ModelSamplingDiscrete", "v", model=["1", 0], sampling="v_prediction", zsnr=False)
    for number, node in prompt.items():
        if number != "v":
            links = {name: ["v", 0] for name, value in node["inputs"].items() if value == ["1", 0]}
            node["inputs"] |= links
    finished = graph.run(comfyui, prompt)
    with safe_open(lora_folder(comfyui) / "v prediction.safetensors", "pt") as file:
        said, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    assert (said["isengard.prediction"], said["modelspec.prediction_type"]) == ("v", "v")
    assert all(weights[name].any() for name in weights if "lora_up" in name)
    sheet = graph.picture(comfyui, finished, "sheet", prompt)
    assert sheet.std() > 1


def test_a_lora_is_trained_on_from_its_file(comfyui):
    """With nothing to learn (a rate of 1e-12) what comes out is what was loaded, of sd-scripts' names and alpha."""
    first = train_to_file(comfyui, "to train on", train__steps=6, train__learning_rate=1e-2)
    prompt = graph.job(train__steps=2, train__learning_rate=1e-12, save__name="trained on", save__precision="fp32")
    prompt["load"] = graph.node("IsengardLoadLora", "load", lora_name="to train on.safetensors")
    (train,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "train"]
    train["start_from"] = ["load", 0]
    graph.run(comfyui, graph.without(prompt, "sheet", "chart"))
    again = load_file(lora_folder(comfyui) / "trained on.safetensors")
    plain = train_to_file(comfyui, "begun anew", train__steps=2, train__learning_rate=1e-12)
    changes, found, none = (changes_of(each) for each in (first, again, plain))
    assert changes.keys() == found.keys()
    assert sum(change.abs().max() > 1e-4 for change in changes.values()) > len(changes) / 2, "it learned too little"
    assert max(change.abs().max() for change in none.values()) < 1e-6
    for layer, change in changes.items():
        torch.testing.assert_close(found[layer], change, rtol=1e-3, atol=1e-6)


def changes_of(lora: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a file in diffusers' names adds to each layer's weight."""
    layers = [name.removesuffix(".lora_A.weight") for name in lora if name.endswith(".lora_A.weight")]
    return {layer: lora[f"{layer}.lora_B.weight"] @ lora[f"{layer}.lora_A.weight"] for layer in layers}
