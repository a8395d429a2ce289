"""The main job over POST /prompt: pictures in, LoRA and pictures out, with nothing but a server."""

from __future__ import annotations

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from isengard.tests.comfyui.server import DIRECT
from isengard.workflows.client import Interrupted

from . import graph

pytestmark = pytest.mark.comfyui

UNMATCHED = ("lora key not loaded", "NOT LOADED")


def lora_folder(server) -> Path:
    return server.base / "models" / "loras"


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


def train_to_file(server, name: str, **inputs) -> dict[str, torch.Tensor]:
    events = []
    prompt = graph.without(graph.job(save__name=name, save__precision="fp32", **inputs), "sheet", "chart")
    graph.run(server, prompt, events.append)
    assert graph.losses(events), "ComfyUI gave the cached result: nothing was trained"
    return load_file(lora_folder(server) / f"{name}.safetensors")


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


def test_an_interrupt_ends_within_one_step_and_leaves_everything_as_it_was(comfyui):
    """The base that was interrupted in training is the one that samples afterwards: ComfyUI keeps it loaded."""
    prompt = graph.job("compare_lora", checkpoint__ckpt_name="sd15.safetensors", lora__strength_model=0.0)
    (lora,) = [node for node in prompt.values() if node["_meta"]["title"] == "lora"]
    lora["inputs"]["lora_name"] = train_any(comfyui)

    def sample(prefix: str) -> np.ndarray:
        (sheet,) = [node for node in prompt.values() if node["_meta"]["title"] == "sheet"]
        sheet["inputs"]["filename_prefix"] = prefix  # another prefix, or ComfyUI gives the picture it has
        return graph.picture(comfyui, graph.run(comfyui, prompt), "sheet", prompt)

    before = sample("before the interrupt")
    loads = comfyui.log().count("model_type ")
    files = sorted(path.name for path in lora_folder(comfyui).iterdir())
    # steps of about a second, so that "within one step" can be told from "within two"
    steps = interrupted_at(comfyui, graph.job(
        checkpoint__ckpt_name="sd15.safetensors", config__batch_size=4, config__resolution=128, train__steps=1000,
    ))  # fmt: skip
    assert steps["at the end"] <= steps["when asked"] + 1
    assert sorted(path.name for path in lora_folder(comfyui).iterdir()) == files
    assert np.array_equal(sample("after the interrupt"), before)
    assert comfyui.log().count("model_type ") == loads, "the model was loaded anew: this shows nothing of the old one"


def train_any(server) -> str:
    train_to_file(server, "any", dataset__default_caption=str(time.time()))
    return "any.safetensors"


def interrupted_at(server, prompt) -> dict[str, int]:
    """Interrupt a job at its third step; the step then, and the last step that was made."""
    steps = {"when asked": 0, "at the end": 0}
    with ThreadPoolExecutor() as threads:

        def on_event(event):
            if event["type"] == "progress":  # one for every step; our own events come five times a second at most
                steps["at the end"] = event["data"]["value"]
                if steps["at the end"] >= 3 and not steps["when asked"]:
                    steps["when asked"] = steps["at the end"]
                    threads.submit(interrupt, server)

        with pytest.raises(Interrupted, match="IsengardTrainLora"):
            graph.run(server, prompt, on_event)
    return steps


def interrupt(server) -> None:
    request = urllib.request.Request(f"{server.url}/interrupt", method="POST")
    DIRECT.open(request, timeout=10).close()
