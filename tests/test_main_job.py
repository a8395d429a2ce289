"""The main job over POST /prompt: pictures in, LoRA and pictures out, with nothing but a server."""

from __future__ import annotations

import copy
import json
import shutil
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
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
    graph.forget_runs(server)
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


class Job(NamedTuple):
    """The LoRA that a job saved, the losses that its node showed, and how many steps it made."""

    lora: dict[str, torch.Tensor]
    losses: list[float]
    made: int


def train(server, prompt: dict, name: str) -> Job:
    events = []
    (save,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "save"]
    save |= {"name": name, "precision": "fp32"}
    graph.run(server, graph.without(prompt, "sheet", "chart"), events.append)
    (node,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    steps = [event["data"] for event in events if event["type"] == "isengard.train" and event["data"]["node"] == node]
    begun = next((event["step"] for event in steps if event["step"]), 0)  # those made before come in one event
    resumed = begun if begun == len(next((event["losses"] for event in steps if event["step"]), [])) > 1 else 0
    shown = graph.losses(events)
    return Job(load_file(lora_folder(server) / f"{name}.safetensors"), shown, len(shown) - resumed)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def again(prompt: dict) -> dict:
    """The same job, told apart by ComfyUI alone: the default caption is used by no picture of Mira's."""
    (dataset,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "dataset"]
    dataset["default_caption"] = str(time.time())
    return prompt


EVERYTHING = {
    "IsengardPictureSettings": {"batch_size": 2, "resolution": 64, "crop": "buckets", "bucket_step": 16,
                                "caption_dropout": 0.3, "shuffle": "on"},
    "IsengardAdapterSettings": {"dropout": 0.2, "ranks": "qkv=8"},
    "IsengardLossSettings": {"loss": "huber", "weighting": "min_snr", "timestep_sampling": "beta",
                             "timestep_shift": "model", "noise_offset": 0.05},
    "IsengardOptimizerSettings": {"accumulation": 2, "ema_decay": 0.9, "warmup_steps": 2, "lr_schedule": "restarts"},
    "IsengardValidationSettings": {"every": 4},
    "IsengardRunSettings": {"gradient_checkpointing": "blocks", "checkpoint_every": 3},
}  # fmt: skip


def job_with_everything(**inputs) -> dict:
    prompt = graph.job(train__steps=40, **inputs)
    for class_type, settings in EVERYTHING.items():
        prompt = graph.with_settings(prompt, class_type, **settings)
    return prompt


def test_an_interrupted_run_goes_on_to_the_same_lora_and_a_finished_one_is_not_trained_again(comfyui):
    """With every setting that has a state of its own."""
    graph.forget_runs(comfyui)
    whole = train(comfyui, job_with_everything(), "whole")
    assert len(whole.losses) == 40
    graph.forget_runs(comfyui)
    made = interrupted_at(comfyui, graph.without(again(job_with_everything()), "sheet", "chart"))["at the end"]
    rest = train(comfyui, again(job_with_everything()), "rest")
    assert 0 < made < 40
    assert rest.made == 40 - made
    assert rest.losses == pytest.approx(whole.losses, abs=1e-6), "the curve shows all steps"
    assert same(rest.lora, whole.lora)
    third = train(comfyui, again(job_with_everything()), "third")
    assert third.made == 0
    assert same(third.lora, whole.lora)


def test_finish_now_goes_on_with_what_was_learned(comfyui):
    graph.forget_runs(comfyui)
    steps, answers = [], []
    prompt = graph.job(train__steps=5000, train__seed=91, save__name="finished early", save__precision="fp32")
    (node,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]

    def on_event(event):
        if event["type"] == "progress" and event["data"]["node"] == node:
            steps.append(event["data"]["value"])
            if len(steps) == 5:
                answers.append(finish(comfyui, node))

    graph.run(comfyui, graph.without(prompt, "sheet", "chart"), on_event)
    assert answers == [200]
    assert 5 <= steps[-1] < 500
    weights = load_file(lora_folder(comfyui) / "finished early.safetensors")
    assert any(weights[name].any() for name in weights if "lora_B" in name)
    assert finish(comfyui, node) == 404, "nothing runs any more"
    made = len(steps)
    kept = train(comfyui, again(prompt), "kept")
    assert kept.made == 0
    assert same(kept.lora, load_file(lora_folder(comfyui) / "finished early.safetensors"))
    steps.clear()
    on = graph.with_settings(again(prompt), "IsengardRunSettings", after_finish_now="go_on")
    graph.run(comfyui, graph.without(on, "sheet", "chart"), on_event)
    assert steps[0] >= made, "it goes on where it was ended"


@pytest.mark.parametrize(
    ("body", "kind", "code"), [(b'{"node": "1"}', "text/plain", 415), (b"{}", "application/json", 400),
                               (b"[1]", "application/json", 400), (b"{", "application/json", 400)],
)  # fmt: skip
def test_finish_takes_what_another_site_cannot_send(comfyui, body, kind, code):
    assert finish(comfyui, "", body, kind) == code


def finish(server, node: str, body: bytes | None = None, kind: str = "application/json") -> int:
    """The status of the answer."""
    content = body or json.dumps({"node": node}).encode()
    request = urllib.request.Request(f"{server.url}/isengard/train/finish", content, {"Content-Type": kind})
    try:
        return DIRECT.open(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_previews_are_drawn_from_the_live_weights_and_change_nothing_of_the_training(comfyui, precision):
    """The last of them is what the finished LoRA draws, whatever the training computes in."""
    run = {"precision": precision, "gradient_checkpointing": "blocks"}
    prompt = graph.with_settings(graph.job(train__steps=6, train__learning_rate=0.01), "IsengardRunSettings", **run)
    graph.forget_runs(comfyui)
    plain = train(comfyui, again(copy.deepcopy(prompt)), f"without previews {precision}").lora
    graph.forget_runs(comfyui)
    shutil.rmtree(comfyui.base / "output" / "isengard" / "previews", ignore_errors=True)
    prompt = again(prompt)
    sampler = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "width": 64, "height": 64}
    prompt["previews"] = graph.node(
        "IsengardTrainingPreviews", "previews", prompts="mira woman", every=3, negative="", seed=3, **sampler
    )
    (node,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "train"]
    node["previews"] = ["previews", 0]
    with_previews = train(comfyui, prompt, name := f"with previews {precision}")
    assert same(with_previews.lora, plain)
    files = sorted((comfyui.base / "output" / "isengard" / "previews").rglob("*.png"))
    assert [file.name.split("_step_")[1][:6] for file in files] == ["000003", "000006"]
    first, last = (np.asarray(Image.open(file)) for file in files)
    core = graph.sampled("sd3.safetensors", f"{name}.safetensors", seed=3)
    drawn = graph.picture(comfyui, graph.run(comfyui, core), "save", core)
    assert np.abs(last.astype(int) - drawn).max() <= 1
    assert np.abs(first.astype(int) - drawn).max() > 1


def train_any(server) -> str:
    train_to_file(server, "any", dataset__default_caption=str(time.time()))
    return "any.safetensors"


def interrupted_at(server, prompt) -> dict[str, int]:
    """Interrupt a job at its third step; the step then, and the last step that was made."""
    steps = {"when asked": 0, "at the end": 0}
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    with ThreadPoolExecutor() as threads:

        def on_event(event):
            if (
                event["type"] == "progress" and event["data"]["node"] == train
            ):  # one for every step; our own events come five times a second at most
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
