"""The graphs of the choosing benchmark: train with checkpoints, draw the grid, pick; and every checkpoint judged."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isengard.nodes.evaluation import packages
from isengard.sota.demo_base import drawing, people
from isengard.tests import graph
from isengard.tests.benchmarks import likeness_job, prompts
from isengard.tests.benchmarks.likeness_job import SAMPLER, base_graph, node, training_graph
from isengard.tests.graph import DEFAULTS
from isengard.workflows.client import Client

STEPS, EVERY = 1000, 200
STRENGTHS = (0.7, 1.0)
OTHERS = "sampling_others"
_SEED = 31
SHEET = {name: value for name, value in SAMPLER.items() if name != "denoise"} | {
    "width": drawing.SIZE, "height": drawing.SIZE,
}  # fmt: skip


@dataclass(frozen=True)
class Picked:
    """What Pick Best chose: after which step, and at which strength; and its table."""

    step: int
    strength: float
    table: str


def write_others(input_folder: Path, count: int = 24) -> None:
    """Pictures of people whom the base was trained on, for the scale of identities."""
    folder = input_folder / OTHERS
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        who = people.training_portrait(_SEED, number)
        likeness_job.Image.fromarray(drawing.pixels(who.identity, who.look)).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(who.caption, encoding="utf-8")


def grid_prompts(trigger: str) -> list[str]:
    """Looks of their own: neither the training pictures' nor those that are judged by."""
    generator = np.random.default_rng(_SEED)
    known = {*prompts.looks()[0], *prompts.looks()[1]}
    looks = (people.level(people.random_look(generator)) for _ in range(99))
    return [people.caption(f"{trigger} person", look) for look in looks if look not in known][:3]


def picking_graph(folder: str, trigger: str, steps: int, learning_rate: float) -> dict:
    """Training to choosing in one prompt; "pick" shows the table."""
    prompt = training_graph(folder, steps, learning_rate, seed=0)
    prompt["prior"]["inputs"]["trigger"] = trigger
    prompt["every"] = node(
        "IsengardRunSettings", "every",
        **DEFAULTS["IsengardRunSettings"] | {"checkpoint_every": EVERY, "config": ["prior", 0]},
    )  # fmt: skip
    prompt["train"]["inputs"]["config"] = ["every", 0]
    loaded = DEFAULTS["IsengardLoadDataset"]
    return prompt | {
        "others": node("IsengardLoadDataset", "others", **loaded | {"folder": OTHERS}),
        "identity": node(
            "IsengardIdentity", "identity", encoder=packages.EFFICIENTNET, references=["dataset", 0],
            others=["others", 0],
        ),
        "grid": grid_node(["train", 2], grid_prompts(trigger), STRENGTHS, seeds=4),
        "pick": node(
            "IsengardPickBest", "pick",
            **DEFAULTS["IsengardPickBest"] | {"grid": ["grid", 0], "identity": ["identity", 0]},
        ),
    }  # fmt: skip


def grid_node(run: list | None, texts: Sequence[str], strengths: Sequence[float], seeds: int, **inputs) -> dict:
    given = {"model": ["base", 0], "clip": ["base", 1], "vae": ["base", 2], "prompts": "\n".join(texts),
             "strengths": ", ".join(map(str, strengths)), "seeds": seeds, "seed": 500}  # fmt: skip
    made = node("IsengardCheckpointGrid", "grid")
    made["inputs"] = DEFAULTS["IsengardCheckpointGrid"] | SHEET | given | ({"run": run} if run else {}) | inputs
    return made


def picked(server, prompt: dict) -> Picked:
    (table,) = graph.run(server, prompt).outputs["pick"]["text"]
    step, strength = re.search(r"^ 1\. step (\d+) @ ([\d.]+)", table, re.MULTILINE).groups()
    return Picked(int(step), float(strength), table)


def checkpoints(server) -> dict[int, Path]:
    """The files of the run that was trained last, by step."""
    runs = sorted((server.base / "user" / "default" / "isengard" / "runs").glob("*/checkpoints"))
    return {int(file.stem.split("_")[1]): file for file in sorted(runs[-1].glob("*.safetensors"))}


def judged_texts(trigger: str) -> list[str]:
    return [people.caption(f"{trigger} person", look) for look in prompts.looks()[1]]


def drawn(url: str, lora_name: str, strength: float, texts: Sequence[str]) -> np.ndarray:
    """What a LoRA in ComfyUI's folder draws: P,S,H,W,3 uint8."""
    lora = node("LoraLoaderModelOnly", "lora", model=["base", 0], lora_name=lora_name, strength_model=strength)
    prompt = base_graph() | {"lora": lora} | likeness_job.sampling_graph(["lora", 0], texts, "p")

    async def session() -> np.ndarray:
        async with Client(url) as client:
            return await likeness_job.pictures(client, await client.run(prompt), "p", len(texts))

    return asyncio.run(session())


@dataclass(frozen=True)
class Seconds:
    """Of prompts one after the other: in samplers, in decoders, in grids, and from the first to the last."""

    sampling: float
    decoding: float
    grids: float
    all: float


def grid_seconds(url: str, names: Sequence[str], texts: Sequence[str]) -> Seconds:
    """These LoRAs at two strengths, three prompts, two seeds, as one grid."""
    prompt = base_graph() | {
        "grid": grid_node(None, texts, STRENGTHS, seeds=2, loras="\n".join(names), include_base=False)
    }
    return _seconds(url, [prompt])


def prompts_seconds(url: str, names: Sequence[str], texts: Sequence[str]) -> Seconds:
    """The same pictures by core's nodes, a prompt each."""
    cells = [
        _single(name, strength, text, 500 + place)
        for name in names for strength in STRENGTHS for text in texts for place in range(2)
    ]  # fmt: skip
    return _seconds(url, cells)


def _single(name: str, strength: float, text: str, seed: int) -> dict:
    lora = node("LoraLoaderModelOnly", "lora", model=["base", 0], lora_name=name, strength_model=strength)
    prompt = base_graph() | {"lora": lora} | likeness_job.sampling_graph(["lora", 0], [text], "p", seeds=1)
    prompt["p0_sampler"]["inputs"]["seed"] = seed
    return prompt


def _seconds(url: str, graphs: Sequence[dict]) -> Seconds:
    async def session() -> Seconds:
        clock, began = likeness_job.Clock({"p0_sampler": 0.0, "p0_decode": 0.0, "grid": 0.0}), time.monotonic()
        async with Client(url) as client:
            for each in graphs:
                await client.run(each, clock)
        return Seconds(*clock.seconds.values(), time.monotonic() - began)

    return asyncio.run(session())
