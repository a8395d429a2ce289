"""The graphs of the training benchmark: our trainer and ComfyUI's own on the same base, pictures, batch and rank."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from isengard.sota import registry
from isengard.tests.benchmarks import likeness_job
from isengard.tests.graph import DEFAULTS, node
from isengard.trainers.config import TrainConfig
from isengard.workflows.client import Client, Event

RANK = 16


@dataclass(frozen=True)
class Case:
    """A base and how it is trained on. checkpoint: a file, or none for the demo base; resolution in pixels; preset:
    ours for the base, of which the layers and what is recomputed count (core trains every matrix, norm and bias, and
    recomputes as it is set)."""

    name: str
    checkpoint: str | None
    resolution: int
    batch_size: int
    preset: TrainConfig

    @property
    def is_demo(self) -> bool:
        return self.checkpoint is None


def _preset(family: str) -> TrainConfig:
    return registry.families()[family].presets["standard"]


CASES = tuple(
    Case(f"{name}, batch {batch}", checkpoint, resolution, batch, _preset(family))
    for name, checkpoint, resolution, family in (
        ("demo base", None, 128, "demo_base"),
        ("SD 1.5 shape", "sd15.safetensors", 256, "sd15"),
    )
    for batch in (1, 4)
)


LEARNING = CASES[1]  # on which held-out losses are compared


def base_graph(case: Case) -> dict:
    if case.is_demo:
        return {"base": node("IsengardDemoBase", "base")}
    return {"base": node("CheckpointLoaderSimple", "base", ckpt_name=case.checkpoint)}


def our_graph(case: Case, folder: str, steps: int, seed: int, learning_rate: float = 1e-3) -> dict:
    """The node "train" has the LoRA as output 0."""
    pictures = DEFAULTS["IsengardPictureSettings"] | {"batch_size": case.batch_size, "resolution": case.resolution}
    adapter = DEFAULTS["IsengardAdapterSettings"] | {"targets": case.preset.adapter.targets}
    run = DEFAULTS["IsengardRunSettings"] | {"gradient_checkpointing": case.preset.gradient_checkpointing}
    return base_graph(case) | {
        "dataset": node("IsengardLoadDataset", "dataset", folder=folder, default_caption=""),
        "pictures": node("IsengardPictureSettings", "pictures", **pictures),
        "adapter": node("IsengardAdapterSettings", "adapter", config=["pictures", 0], **adapter),
        "run": node("IsengardRunSettings", "run", config=["adapter", 0], **run),
        "train": node(
            "IsengardTrainLora", "train", model=["base", 0], clip=["base", 1], vae=["base", 2],
            dataset=["dataset", 0], config=["run", 0], steps=steps, learning_rate=learning_rate, rank=RANK,
            seed=seed,
        ),
        "kept": node(
            "IsengardSaveLora", "kept", lora=["train", 0], run=["train", 2], name=f"bench_{seed}", precision="fp32"
        ),
    }  # fmt: skip


def core_variants(info: dict) -> list[dict]:
    """Settings of ComfyUI's own trainer that may make it faster than its defaults, as far as this version has them."""
    inputs = info["TrainLoraNode"]["input"]["required"]
    plain = {"gradient_checkpointing": False}
    wanted = [plain] + [plain | more for more in (
        {"lora_dtype": "fp32"}, {"training_dtype": "fp32", "lora_dtype": "fp32"},
        {"training_dtype": "none", "lora_dtype": "fp32"}, {"bypass_mode": True},
        {"bypass_mode": True, "training_dtype": "none", "lora_dtype": "fp32"},
    )]  # fmt: skip
    return [each for each in wanted if all(_is_there(inputs, name, value) for name, value in each.items())]


def _is_there(inputs: dict, name: str, value) -> bool:
    """Whether a node has the input, and the value among its choices where it has choices."""
    if name not in inputs:
        return False
    kind, *more = inputs[name]
    choices = kind if isinstance(kind, list) else (more[0] if more else {}).get("options")
    return isinstance(value, bool) or value in choices


def core_graph(
    info: dict, case: Case, folder: str, steps: int, seed: int, learning_rate: float = 1e-3, **settings
) -> dict:
    """settings: of TrainLoraNode, over its defaults. The node "train" has the LoRA, "kept" uses it."""
    lora = info["TrainLoraNode"]["output_name"].index("lora")
    values = likeness_job.defaults(info["TrainLoraNode"]) | {
        "model": ["base", 0], "latents": ["encoded", 0], "positive": ["encoded", 1], "batch_size": case.batch_size,
        "steps": steps, "learning_rate": learning_rate, "rank": RANK, "seed": seed, "existing_lora": "[None]",
        **settings,
    }  # fmt: skip
    return base_graph(case) | {
        "dataset": node("LoadImageTextDataSetFromFolder", "dataset", folder=folder),
        "encoded": node(
            "MakeTrainingDataset", "encoded", images=["dataset", 0], texts=["dataset", 1], vae=["base", 2],
            clip=["base", 1],
        ),
        "train": node("TrainLoraNode", "train", **values),
        "kept": node("SaveLoRA", "kept", lora=["train", lora], prefix=f"bench/{folder}_{seed}", steps=["train", -1]),
    }  # fmt: skip


def sampling_graph(case: Case) -> dict:
    """A picture of the base, so that it is loaded."""
    side = case.resolution
    return {
        "text": node("CLIPTextEncode", "text", clip=["base", 1], text="a woman"),
        "empty": node("EmptyLatentImage", "empty", width=side, height=side, batch_size=1),
        "sampler": node(
            "KSampler", "sampler", model=["base", 0], positive=["text", 0], negative=["text", 0],
            latent_image=["empty", 0], seed=0, steps=2, cfg=2.0, sampler_name="euler", scheduler="simple", denoise=1.0,
        ),
        "decode": node("VAEDecode", "decode", samples=["sampler", 0], vae=["base", 2]),
        "save": node("SaveImage", "save", images=["decode", 0], filename_prefix="bench"),
    }  # fmt: skip


@dataclass
class StepClock:
    """Listens to a prompt's events: when each step of the train node ended."""

    ends: list[float] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if event["type"] == "progress" and event["data"]["node"] == "train":
            self.ends.append(time.monotonic())


def steps_of(url: str, graph: dict) -> list[float]:
    """Seconds of each step but the first, which warms up, as the train node told its progress."""
    clock = StepClock()

    async def session() -> None:
        async with Client(url) as client:
            await client.run(graph, clock)

    asyncio.run(session())
    return [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
