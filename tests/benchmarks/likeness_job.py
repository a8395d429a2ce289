"""The graphs of the likeness benchmark: train a LoRA of a held-out identity and sample with it, on a real ComfyUI."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from isengard.sota.demo_base import drawing, people
from isengard.tests.benchmarks import prompts
from isengard.tests.comfyui.server import DIRECT
from isengard.tests.graph import node
from isengard.workflows.client import Client, Event, Finished

SEEDS = 2
RANK, BATCH = 16, 4
PRIOR_LOSS_WEIGHT = 3.0
SAMPLER = {"steps": 20, "cfg": 1.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@dataclass(frozen=True)
class Trained:
    """What one training gave. pictures: P,S,H,W,3 uint8 of the prompts with the trigger, bare: of those without;
    seconds: of encoding and training; encoding: of the node that only encodes, which core has."""

    pictures: np.ndarray
    bare: np.ndarray
    seconds: float
    encoding: float


def write_dataset(
    folder: Path, identity: people.Identity, size: int = drawing.SIZE, trigger: str = prompts.TRIGGER
) -> None:
    """Pictures of so many pixels a side, and captions, to train on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, look in enumerate(prompts.looks()[0], start=1):
        Image.fromarray(drawing.pixels(identity, look, size)).save(folder / f"{number:02}.png")
        caption = people.caption(f"{trigger} {prompts.NOUN}", look)
        (folder / f"{number:02}.txt").write_text(caption, encoding="utf-8")


def base_graph() -> dict:
    return {"base": node("IsengardDemoBase", "base")}


def training_graph(folder: str, steps: int, learning_rate: float, seed: int) -> dict:
    """Our trainer; the node "train" has the trained MODEL as output 1."""
    return base_graph() | {
        "dataset": node("IsengardLoadDataset", "dataset", folder=folder, default_caption=""),
        "config": node(
            "IsengardTrainConfig", "config", family="demo_base", budget="thorough", batch_size=BATCH,
            resolution=drawing.SIZE,
        ),
        "prior": node(
            "IsengardPriorPreservation", "prior", config=["config", 0], weight=PRIOR_LOSS_WEIGHT,
            trigger=prompts.TRIGGER, class_noun="",
        ),
        "train": node(
            "IsengardTrainLora", "train", model=["base", 0], clip=["base", 1], vae=["base", 2],
            dataset=["dataset", 0], config=["prior", 0], steps=steps, learning_rate=learning_rate, rank=RANK,
            seed=seed,
        ),
    }  # fmt: skip


CORE_SETTINGS = {"training_dtype": "bf16", "lora_dtype": "fp32", "gradient_checkpointing": False}


def core_training_graph(info: dict, folder: str, steps: int, learning_rate: float, seed: int) -> dict:
    """ComfyUI's own trainer; the node "trained" has the MODEL as output 0.

    It scales its LoRA by 1 / rank, where ours has alpha / rank, so it wants another learning rate. It computes in
    bfloat16, its default: in float32 it ends with "Inference tensors cannot be saved for backward" on this base.
    Without checkpointing it is faster. info: the server's /object_info; what newer versions ask for beside these
    settings stays at its default.
    """
    settings = defaults(info["TrainLoraNode"]) | CORE_SETTINGS | {
        "model": ["base", 0], "latents": ["encoded", 0], "positive": ["encoded", 1], "batch_size": BATCH,
        "steps": steps, "learning_rate": learning_rate, "rank": RANK, "seed": seed, "existing_lora": "[None]",
    }  # fmt: skip
    lora = info["TrainLoraNode"]["output_name"].index("lora")
    return base_graph() | {
        "dataset": node("LoadImageTextDataSetFromFolder", "dataset", folder=folder),
        "encoded": node(
            "MakeTrainingDataset", "encoded", images=["dataset", 0], texts=["dataset", 1], vae=["base", 2],
            clip=["base", 1],
        ),
        "train": node("TrainLoraNode", "train", **settings),
        "trained": node(
            "LoraModelLoader", "trained",
            **defaults(info["LoraModelLoader"]) | {"model": ["base", 0], "lora": ["train", lora]},
        ),
    }  # fmt: skip


def defaults(declared: dict) -> dict:
    """A node's required inputs that have a default, from /object_info."""
    rows = declared["input"]["required"].items()
    return {name: row[1]["default"] for name, row in rows if len(row) > 1 and "default" in row[1]}


def sampling_graph(model: list, texts: Sequence[str], prefix: str, seeds: int = SEEDS) -> dict:
    """`seeds` pictures of every text, saved by the nodes "<prefix>0", "<prefix>1", …"""
    graph = {
        f"{prefix}_negative": node("CLIPTextEncode", "negative", clip=["base", 1], text=""),
        f"{prefix}_empty": node("EmptyLatentImage", "empty", width=drawing.SIZE, height=drawing.SIZE, batch_size=seeds),
    }
    for number, text in enumerate(texts):
        here = f"{prefix}{number}"
        graph |= {
            f"{here}_text": node("CLIPTextEncode", "text", clip=["base", 1], text=text),
            f"{here}_sampler": node(
                "KSampler", "sampler", model=model, positive=[f"{here}_text", 0], negative=[f"{prefix}_negative", 0],
                latent_image=[f"{prefix}_empty", 0], seed=1000 + number, **SAMPLER,
            ),
            f"{here}_decode": node("VAEDecode", "decode", samples=[f"{here}_sampler", 0], vae=["base", 2]),
            here: node("SaveImage", "save", images=[f"{here}_decode", 0], filename_prefix=f"likeness/{prefix}"),
        }  # fmt: skip
    return graph


def object_info(url: str) -> dict:
    async def ask() -> dict:
        async with Client(url) as client:
            return await client.object_info()

    return asyncio.run(ask())


def system(url: str) -> dict[str, str]:
    """What the server runs on: its versions and its device."""
    with DIRECT.open(f"{url}/system_stats", timeout=60) as answer:
        found = json.load(answer)
    versions = {name: found["system"][f"{name}_version"] for name in ("comfyui", "python", "pytorch")}
    return versions | {"device": ", ".join(device["name"] for device in found["devices"])}


def trained(url: str, training: dict, model: list) -> Trained:
    """Train, then sample the prompts with and without the trigger. training: empty for the base itself."""
    bare = [text for _, text in prompts.without_trigger()]
    sampling = sampling_graph(model, prompts.with_trigger(), "p") | sampling_graph(model, bare, "b")
    graph = (training or base_graph()) | sampling
    return asyncio.run(_trained(url, graph))


async def _trained(url: str, graph: dict) -> Trained:
    clock = Clock({"train": 0.0, "encoded": 0.0})  # our train node encodes too; core has a node for it
    async with Client(url) as client:
        finished = await client.run(graph, clock)
        return Trained(
            pictures=await pictures(client, finished, "p", len(prompts.with_trigger())),
            bare=await pictures(client, finished, "b", len(prompts.without_trigger())),
            seconds=sum(clock.seconds.values()),
            encoding=clock.seconds["encoded"],
        )


async def pictures(client: Client, finished: Finished, prefix: str, count: int) -> np.ndarray:
    """count,S,H,W,3 uint8 of the save nodes "<prefix>0" …"""
    rows = []
    for number in range(count):
        files = [file for file in finished.files if file.node == f"{prefix}{number}"]
        rows.append([np.asarray(Image.open(io.BytesIO(await client.download(file))).convert("RGB")) for file in files])
    return np.array(rows)


class Clock:
    """Listens to a prompt's events and adds up the seconds in which each of the watched nodes ran."""

    def __init__(self, seconds: dict[str, float]):
        self.seconds = seconds
        self._running: str | None = None
        self._since = 0.0

    def __call__(self, event: Event) -> None:
        if event["type"] != "executing":
            return
        now = time.monotonic()
        if self._running in self.seconds:
            self.seconds[self._running] += now - self._since
        self._running, self._since = event["data"].get("node"), now


def roundtrip(url: str, base: Path, originals: np.ndarray) -> np.ndarray:
    """The pictures, N,H,W,3 uint8, after ComfyUI has encoded and decoded them with the base's autoencoder."""
    folder = base / "input" / "likeness_roundtrip"
    folder.mkdir(parents=True, exist_ok=True)
    graph = base_graph()
    for number, picture in enumerate(originals):
        Image.fromarray(picture).save(folder / f"{number}.png")
        graph |= {
            f"load{number}": node("LoadImage", "load", image=f"likeness_roundtrip/{number}.png"),
            f"encode{number}": node("VAEEncode", "encode", pixels=[f"load{number}", 0], vae=["base", 2]),
            f"decode{number}": node("VAEDecode", "decode", samples=[f"encode{number}", 0], vae=["base", 2]),
            f"r{number}": node("SaveImage", "save", images=[f"decode{number}", 0], filename_prefix="likeness/r"),
        }

    async def session() -> np.ndarray:
        async with Client(url) as client:
            finished = await client.run(graph)
            return (await pictures(client, finished, "r", len(originals)))[:, 0]

    return asyncio.run(session())


def sampled(url: str, texts: Sequence[str], seeds: int = SEEDS) -> np.ndarray:
    """What the base draws for the texts: T,S,H,W,3 uint8."""

    async def session() -> np.ndarray:
        async with Client(url) as client:
            finished = await client.run(base_graph() | sampling_graph(["base", 0], texts, "s", seeds))
            return await pictures(client, finished, "s", len(texts))

    return asyncio.run(session())


def slug(identity: people.Identity) -> str:
    return "-".join(word for word in (identity.head, identity.hair, identity.skin) if word)
