"""Interrupting a training, going on, ending it early, and looking at it meanwhile."""

from __future__ import annotations

import copy
import json
import shutil
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from isengard.tests.comfyui.server import DIRECT

from . import graph
from .jobs import again, interrupted_at, lora_folder, same, train, train_to_file

pytestmark = pytest.mark.comfyui


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
