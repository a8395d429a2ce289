"""Character References on a real ComfyUI with small edit models, beside core's own nodes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from isengard.nodes.characters.library import Library
from isengard.nodes.dataset import images
from isengard.nodes.sampling.references import AUTO, EDIT, LATENTS
from isengard.tests import graph
from isengard.tests.comfyui.server import Server
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui

CAPTIONS = {"a": "mira woman, smiling", "b": "mira woman, angry, red coat", "c": "mira woman, angry", "d": "a dog"}
PROMPT = "mira woman, angry, red coat"
NEAREST = ["b", "c", "a", "d"]
SIZE = (64, 96)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With the small models, Mira and her four pictures, which are in its input folder too."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    shutil.copy(Path(__file__).with_name("tiny_edit_models.py"), base / "custom_nodes")
    with Server(base, shares_cores=True) as server:
        library = Library(base / "user" / "default" / "isengard" / "characters")
        library.put("Mira", trigger="mira", class_noun="woman")
        library.put("Nobody")
        for number, (name, caption) in enumerate(CAPTIONS.items()):
            noise = np.random.default_rng(number).integers(0, 256, (12, 8, 3), np.uint8)
            picture = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
            library.add_reference("mira", f"{name}.png", images.png(picture), caption)
            picture.save(base / "input" / f"{name}.png")
        yield server


def parts(family: str = "TinyFlux") -> dict:
    """MODEL of "model", CLIP and VAE of the SD3-shaped checkpoint "1"; Mira is "mira"."""
    return {
        "1": graph.node("CheckpointLoaderSimple", "checkpoint", ckpt_name="sd3.safetensors"),
        "15": graph.node("CheckpointLoaderSimple", "other", ckpt_name="sd15.safetensors"),
        "model": graph.node(family, "model"),
        "mira": graph.node("IsengardLoadCharacter", "mira", character="mira"),
    }


def referred(family: str = "TinyFlux", name: str = "ours", **inputs) -> dict:
    """The node under this name."""
    values = graph.DEFAULTS["IsengardCharacterReferences"] | {"character": ["mira", 0], "prompt": PROMPT}
    values |= {"model": ["model", 0], "clip": ["model", 1] if family == "TinyQwen" else ["1", 1], "vae": ["1", 2]}
    return parts(family) | {name: graph.node("IsengardCharacterReferences", name, **values | inputs)}


def encoded(names: list[str], scaling: dict) -> dict:
    """Core's nodes: a latent of each picture, under its name."""
    nodes = {}
    for name in names:
        nodes[f"load {name}"] = graph.node("LoadImage", name, image=f"{name}.png")
        nodes[f"scale {name}"] = graph.node(title=name, **scaling, image=[f"load {name}", 0])
        nodes[name] = graph.node("VAEEncode", name, pixels=[f"scale {name}", 0], vae=["1", 2])
    return nodes


def chained(text: str, names: list[str], name: str, clip: tuple = ("1", 1)) -> dict:
    """Core's nodes: a text, and a ReferenceLatent for each picture; the last has this name."""
    steps = [f"{name} {place}" for place in range(len(names))] + [name]
    nodes = {steps[0]: graph.node("CLIPTextEncode", name, clip=list(clip), text=text)}
    for place, picture in enumerate(names):
        nodes[steps[place + 1]] = graph.node(
            "ReferenceLatent", name, conditioning=[steps[place], 0], latent=[picture, 0]
        )
    return nodes


def kept(server, prompt: dict, **sources: list) -> list[dict[str, torch.Tensor]]:
    """What the conditionings hold."""
    keeping = {
        f"keep {name}": graph.node("KeepConditioning", name, conditioning=source, name=name)
        for name, source in sources.items()
    }
    graph.run(server, prompt | keeping)
    return [load_file(server.base / "output" / f"{name}.safetensors") for name in sources]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


FOR_KONTEXT = {"class_type": "FluxKontextImageScale"}
FOR_QWEN = {
    "class_type": "ImageScale", "width": 840, "height": 1256, "upscale_method": "area", "crop": "disabled",
}  # fmt: skip


def test_flux_gets_what_cores_nodes_give(server):
    prompt = referred(count=2, negative="ugly") | encoded(NEAREST[:2], FOR_KONTEXT)
    prompt |= chained(PROMPT, NEAREST[:2], "good") | chained("ugly", NEAREST[:2], "bad")
    good, cores_good, bad, cores_bad = kept(
        server, prompt, ours=["ours", 0], good=["good", 0], ours_bad=["ours", 1], bad=["bad", 0]
    )
    assert same(good, cores_good)
    assert same(bad, cores_bad)
    references = [latent for key, latent in good.items() if key.startswith("reference_")]
    assert [tuple(latent.shape) for latent in references] == [(1, 16, 156, 104)] * 2, "832 x 1248 pixels"
    assert not torch.equal(*references)


def drawing(name: str, positive: list, negative: list) -> dict:
    """KSampler; the file is saved under the name."""
    return {
        f"sampler {name}": graph.node(
            "KSampler", name, model=["model", 0], positive=positive, negative=negative, latent_image=["empty", 0],
            seed=3, steps=2, cfg=2.0, sampler_name="euler", scheduler="simple", denoise=1.0,
        ),
        f"decode {name}": graph.node("VAEDecode", name, samples=[f"sampler {name}", 0], vae=["1", 2]),
        f"save {name}": graph.node("SaveImage", name, images=[f"decode {name}", 0], filename_prefix=name),
    }  # fmt: skip


def test_flux_draws_what_it_draws_behind_cores_nodes_and_other_pictures_change_that(server):
    prompt = referred(count=1) | referred(name="other", count=1, prompt="a dog")
    prompt["other"]["inputs"]["conditioning"] = ["plain", 0]  # the same words, another picture
    prompt |= encoded(NEAREST[:1], FOR_KONTEXT)
    prompt |= chained(PROMPT, NEAREST[:1], "good") | chained("", NEAREST[:1], "bad") | chained(PROMPT, [], "plain")
    prompt["empty"] = graph.node("EmptySD3LatentImage", "empty", width=64, height=64, batch_size=1)
    prompt |= drawing("ours", ["ours", 0], ["ours", 1]) | drawing("core", ["good", 0], ["bad", 0])
    prompt |= drawing("other", ["other", 0], ["other", 1]) | drawing("plain", ["plain", 0], ["plain", 0])
    finished = graph.run(server, prompt)
    only = {name: {key: node for key, node in prompt.items() if node["_meta"]["title"] == name} for name in DRAWN}
    ours, core, other, plain = (graph.picture(server, finished, name, {**prompt, **only[name]}) for name in DRAWN)
    assert np.array_equal(ours, core)
    assert not np.array_equal(ours, other)
    assert not np.array_equal(ours, plain)
    first, *rest = finished.outputs["ours"]["text"][0].splitlines()
    assert first.startswith("1 picture as reference latents. Trained for them: Flux.1 Kontext")
    assert rest == ["b.png: mira woman, angry, red coat"]


DRAWN = ("ours", "core", "other", "plain")


def test_a_conditioning_counts_before_the_prompt_and_a_data_set_before_the_character(server):
    loaded = graph.node("LoadImage", "load", image="d.png")
    dataset = graph.node("IsengardDatasetFromImages", "dataset", images=["loaded", 0], name="dog")
    prompt = referred(pictures=["dataset", 0], conditioning=["plain", 0]) | {"loaded": loaded, "dataset": dataset}
    prompt |= (
        chained("another text", [], "plain") | encoded(["d"], FOR_KONTEXT) | chained("another text", ["d"], "good")
    )
    assert same(*kept(server, prompt, ours=["ours", 0], good=["good", 0]))


def test_qwen_gets_what_cores_node_gives_and_its_text_encoder_sees_the_pictures(server):
    prompt = referred("TinyQwen", count=2, negative="ugly") | encoded(NEAREST[:2], FOR_QWEN)
    parts = {"clip": ["model", 1], "vae": ["1", 2], "image1": ["load b", 0], "image2": ["load c", 0]}
    prompt["good"] = graph.node("TextEncodeQwenImageEditPlus", "core", prompt=PROMPT, **parts)
    prompt["bad"] = graph.node("TextEncodeQwenImageEditPlus", "core", prompt="ugly", **parts)
    good, cores_good, bad, cores_bad = kept(
        server, prompt, ours=["ours", 0], good=["good", 0], ours_bad=["ours", 1], bad=["bad", 0]
    )
    assert same(good, cores_good)
    assert same(bad, cores_bad)
    assert {"reference_0", "reference_1"} < good.keys()
    prompt = referred("TinyQwen", count=1) | referred("TinyQwen", "other", count=1, prompt="a dog")
    one, other = kept(server, prompt, ours=["ours", 1], other=["other", 1])
    assert one["text"].shape == other["text"].shape, "the negative prompt is empty in both"
    assert not torch.equal(one["text"], other["text"]), "it is the picture that differs"


def test_qwen_can_have_reference_latents_alone(server):
    prompt = referred("TinyQwen", count=1, method=LATENTS) | encoded(NEAREST[:1], FOR_QWEN)
    prompt |= chained(PROMPT, NEAREST[:1], "good", ("model", 1))
    assert same(*kept(server, prompt, ours=["ours", 0], good=["good", 0]))


DEMO = {"model": ["demo", 0], "clip": ["demo", 1], "vae": ["demo", 2]}


@pytest.mark.parametrize(
    "family, inputs, message",
    [
        ("TinyFlux", DEMO, "Isengard Demo Base has no reference conditioning: use a LoRA .*Flux.1 .Flux.1 Kontext"),
        ("TinyFlux", DEMO | {"method": LATENTS}, "Isengard Demo Base has no reference conditioning"),
        ("TinyFlux", {"model": ["15", 0]}, "Stable Diffusion 1.5 has no reference conditioning"),
        ("TinyFlux", {"method": EDIT}, "Flux.1 is not shown pictures through its text encoder"),
        ("TinyFlux", {"vae": ["15", 2]}, "latents of 4 channels and the model takes 16"),
        ("TinyFlux", {"character": ["nobody", 0]}, "no pictures of Nobody"),
        ("TinyFlux", {"character": None}, "no pictures are connected"),
        ("TinyQwen", {"clip": ["1", 1]}, "SD3Tokenizer. does not look at pictures. Load Qwen2.5-VL"),
        ("TinyQwen", {"count": 4}, "4 pictures .*Qwen edit takes 3. Set count to 3"),
        ("TinyQwen", {"conditioning": ["plain", 0], "method": AUTO}, "Disconnect conditioning"),
    ],
)
def test_what_cannot_be_used_is_told(server, family, inputs, message):
    prompt = referred(family, **{"count": 1} | inputs) | chained("x", [], "plain") | {
        "demo": graph.node("IsengardDemoBase", "demo"),
        "nobody": graph.node("IsengardLoadCharacter", "nobody", character="nobody"),
    }  # fmt: skip
    if prompt["ours"]["inputs"]["character"] is None:
        del prompt["ours"]["inputs"]["character"]
    with pytest.raises(NodeFailed, match=message):
        graph.run(server, prompt)
