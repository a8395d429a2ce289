"""The graphs of the scene benchmark: characters in a library, scenes of them, and what scenes are compared with."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from isengard.nodes.characters.library import Library
from isengard.sota.demo_base import people
from isengard.tests.benchmarks.likeness_job import SAMPLER, Clock, base_graph
from isengard.tests.benchmarks.scene_layouts import Layout, Place
from isengard.tests.graph import DEFAULTS, node
from isengard.workflows.client import Client

NOUN = "person"
WHOLE = 0.2  # how much the prompt of the whole counts beside stacked LoRAs, as in a scene


@dataclass(frozen=True)
class Member:
    """Somebody of whom a LoRA was trained: the file of it, and the word that calls it."""

    identity: people.Identity
    trigger: str
    lora: Path


def write_library(server_base: Path, members: Sequence[Member]) -> None:
    """The members as characters of the server's library, named by their triggers; and their LoRAs for core's loader."""
    library = Library(server_base / "user" / "default" / "isengard" / "characters")
    for member in members:
        library.put(member.trigger, trigger=member.trigger, class_noun=NOUN)
        library.add_version(member.trigger, member.lora)
        target = server_base / "models" / "loras" / f"{member.trigger}.safetensors"
        target.write_bytes(member.lora.read_bytes())


def words(place: Place, members: Sequence[Member]) -> str:
    return people.caption(f"{members[place.who].trigger} {NOUN}", place.look)


def whole(layout: Layout) -> str:
    return f"{NOUN}, {layout.background} background"


def scene_graph(layout: Layout, members: Sequence[Member], seed: int, **settings) -> dict:
    """By the Scene node; settings: of it."""
    graph = base_graph()
    for number, place in enumerate(layout.places, 1):
        who = {"name": members[place.who].trigger, "prompt": words(place, members)}
        graph[f"who{number}"] = node("IsengardSceneCharacter", "who", **DEFAULTS["IsengardSceneCharacter"] | who)
    values = DEFAULTS["IsengardScene"] | {
        "width": layout.width, "height": layout.height, "boxes": layout.boxes, "prompt": whole(layout),
    }  # fmt: skip
    graph["scene"] = node(
        "IsengardScene", "scene", model=["base", 0], clip=["base", 1], **values | settings,
        **{f"character_{number}": [f"who{number}", 0] for number in range(1, len(layout.places) + 1)},
    )  # fmt: skip
    return graph | _sampled(["scene", 0], ["scene", 1], ["scene", 2], layout, seed)


def stacked_graph(layout: Layout, members: Sequence[Member], seed: int) -> dict:
    """The same words in the same areas by core's nodes, with all LoRAs on the model at once."""
    graph, model, texts = base_graph(), ["base", 0], []
    for number, place in enumerate(layout.places):
        graph[f"lora{number}"] = node(
            "LoraLoaderModelOnly", "lora", model=model, lora_name=f"{members[place.who].trigger}.safetensors",
            strength_model=1.0,
        )  # fmt: skip
        graph[f"text{number}"] = node("CLIPTextEncode", "text", clip=["base", 1], text=words(place, members))
        graph[f"area{number}"] = node(
            "ConditioningSetArea", "area", conditioning=[f"text{number}", 0], width=place.width, height=place.height,
            x=place.left, y=place.top, strength=1.0,
        )  # fmt: skip
        model, texts = [f"lora{number}", 0], [*texts, f"area{number}"]
    graph["whole"] = node("CLIPTextEncode", "whole", clip=["base", 1], text=whole(layout))
    graph["share"] = node("ConditioningSetAreaStrength", "share", conditioning=["whole", 0], strength=WHOLE)
    positive = "share"
    for text in texts:
        graph[f"with_{text}"] = node(
            "ConditioningCombine", "both", conditioning_1=[positive, 0], conditioning_2=[text, 0]
        )
        positive = f"with_{text}"
    return graph | _empty(layout) | _sampled(model, [positive, 0], ["negative", 0], layout, seed)


def plain_graph(layout: Layout, seed: int) -> dict:
    """The base alone, by the prompt of the whole."""
    text = {"text": node("CLIPTextEncode", "text", clip=["base", 1], text=whole(layout))}
    return base_graph() | _empty(layout) | text | _sampled(["base", 0], ["text", 0], ["negative", 0], layout, seed)


def _empty(layout: Layout) -> dict:
    return {
        "negative": node("CLIPTextEncode", "negative", clip=["base", 1], text=""),
        "empty": node("EmptyLatentImage", "empty", width=layout.width, height=layout.height, batch_size=1),
    }


def _sampled(model: list, positive: list, negative: list, layout: Layout, seed: int) -> dict:
    latent = ["scene", 3] if model[0] == "scene" else ["empty", 0]
    return {
        "sampler": node(
            "KSampler", "sampler", model=model, positive=positive, negative=negative, latent_image=latent, seed=seed,
            **SAMPLER,
        ),
        "decode": node("VAEDecode", "decode", samples=["sampler", 0], vae=["base", 2]),
        "save": node("SaveImage", "save", images=["decode", 0], filename_prefix="scene/s"),
    }  # fmt: skip


def drawn(url: str, graph: dict) -> tuple[np.ndarray, float]:
    """The picture H,W,3 uint8, and the seconds that its sampler ran."""

    async def session() -> tuple[np.ndarray, float]:
        clock = Clock({"sampler": 0.0})
        async with Client(url) as client:
            finished = await client.run(graph, clock)
            (file,) = [file for file in finished.files if file.node == "save"]
            picture = np.asarray(Image.open(io.BytesIO(await client.download(file))).convert("RGB"))
        return picture, clock.seconds["sampler"]

    return asyncio.run(session())
