"""Prompts for the tests that run on a server, made from the shipped workflow, and the pictures that come back."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from isengard.workflows import settings
from isengard.workflows.client import Client, Event, Finished, OutputFile

API = Path(__file__).resolve().parents[1] / "workflows" / "api"
TINY = {  # a job of seconds
    "checkpoint.ckpt_name": "sd3.safetensors",
    "train.steps": 4,
    "train.learning_rate": 0.001,
    "config.batch_size": 2,
    "config.resolution": 64,
    "sheet.width": 64,
    "sheet.height": 64,
    "sheet.steps": 2,
    "sheet.cfg": 4.0,
    "sheet.seeds": 1,
    "sheet.prompts": "mira woman",
}


def _defaults() -> dict[str, dict]:
    """Of every node of ours, the inputs that have one, by the snapshot of the schemas."""
    nodes = json.loads((Path(__file__).parent / "object_info.json").read_text(encoding="utf-8"))
    return {
        name: {
            key: declared[1]["default"]
            for group in node["input"].values()
            for key, declared in group.items()
            if len(declared) > 1 and "default" in declared[1]
        }
        for name, node in nodes.items()
    }


DEFAULTS = _defaults()


def job(workflow: str = "train_character", **inputs) -> dict:
    """A shipped workflow, made small; inputs: by title, as in {"train__steps": 5}."""
    prompt = settings.load(API / f"{workflow}.json")
    ids = {node["_meta"]["title"]: number for number, node in prompt.items()}
    wanted = TINY | {name.replace("__", "."): value for name, value in inputs.items()}
    for name, value in wanted.items():
        title, _, key = name.partition(".")
        if title in ids:
            assert key in prompt[ids[title]]["inputs"], f"{title} has no input {key}"
            prompt[ids[title]]["inputs"][key] = value
    return prompt


def without(prompt: dict, *titles: str) -> dict:
    """The prompt less the nodes of these titles (their readers must be among them)."""
    return {number: node for number, node in prompt.items() if node["_meta"]["title"] not in titles}


def with_settings(prompt: dict, class_type: str, **settings) -> dict:
    """The job with one more settings node before its train node; settings that are not named have their defaults."""
    (train,) = [node["inputs"] for node in prompt.values() if node["class_type"] == "IsengardTrainLora"]
    added = node(class_type, class_type, config=train["config"], **DEFAULTS[class_type] | settings)
    train["config"] = [class_type, 0]
    return prompt | {class_type: added}


def forget_runs(server, encoded: bool = False) -> None:
    """Else a run that was finished before is not trained again; encoded: nor its pictures and captions encoded."""
    for folder in ("runs", "cache") if encoded else ("runs",):
        shutil.rmtree(server.base / "user" / "default" / "isengard" / folder, ignore_errors=True)


def run(server, prompt: dict, on_event=lambda event: None) -> Finished:
    """Run a prompt to its end; raises what `Client.run` raises."""

    async def session() -> Finished:
        async with Client(server.url) as client:
            return await client.run(prompt, on_event)

    return asyncio.run(session())


def losses(events: list[Event]) -> list[float]:
    """Every step's loss, as the train node told it."""
    return [loss for event in events if event["type"] == "isengard.train" for _, loss in event["data"]["losses"]]


def picture(server, finished: Finished, title: str, prompt: dict) -> np.ndarray:
    """The one picture that the node of this title put out: H,W,3 uint8."""
    (file,) = [file for file in finished.files if prompt[file.node]["_meta"]["title"] == title]
    return np.asarray(Image.open(io.BytesIO(asyncio.run(_download(server, file)))).convert("RGB"))


async def _download(server, file: OutputFile) -> bytes:
    async with Client(server.url) as client:
        return await client.download(file)


def node(class_type: str, title: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def sampled(checkpoint: str, lora: str | None = None, strength: float = 1.0, seed: int = 3, prefix: str = "k") -> dict:
    """Core's nodes alone: a checkpoint, a LoRA where one is named, KSampler, SaveImage (title "save")."""
    prompt = {
        "1": node("CheckpointLoaderSimple", "checkpoint", ckpt_name=checkpoint),
        "3": node("CLIPTextEncode", "good", clip=["1", 1], text="mira woman"),
        "4": node("CLIPTextEncode", "bad", clip=["1", 1], text=""),
        "5": node("EmptyLatentImage", "empty", width=64, height=64, batch_size=1),
        "6": node(
            "KSampler", "sampler", model=["1", 0], positive=["3", 0], negative=["4", 0], latent_image=["5", 0],
            seed=seed, steps=2, cfg=4.0, sampler_name="euler", scheduler="simple", denoise=1.0,
        ),
        "7": node("VAEDecode", "decode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", "save", images=["7", 0], filename_prefix=prefix),
    }  # fmt: skip
    if lora:
        prompt["2"] = node("LoraLoaderModelOnly", "lora", model=["1", 0], lora_name=lora, strength_model=strength)
        prompt["6"]["inputs"]["model"] = ["2", 0]
    return prompt
