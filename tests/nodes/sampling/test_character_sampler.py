"""The Character Sampler on a real ComfyUI, beside the nodes that do the same one by one."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from isengard.tests import graph
from isengard.tests.jobs import interrupt
from isengard.workflows.client import Client, Finished, Interrupted, NodeFailed, PromptRejected

from .conftest import UNET_LAYER

pytestmark = pytest.mark.comfyui

SMALL = {"width": 64, "height": 64, "steps": 2, "cfg": 4.0, "scheduler": "simple"}
TEMPLATES = ("{trigger} {class}, {red|green|blue|white} coat", "{description} {trigger}, {tags}")


def sampled(checkpoint: str = "sd3.safetensors", **inputs) -> dict:
    """A checkpoint, the Character Sampler ("sampler") and what it puts out beside the pictures."""
    values = graph.DEFAULTS["IsengardCharacterSampler"] | SMALL | {"name": "mira", "tags": "in a street"} | inputs
    parts = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2]}
    return {
        "1": graph.node("CheckpointLoaderSimple", "checkpoint", ckpt_name=checkpoint),
        "sampler": graph.node("IsengardCharacterSampler", "sampler", **parts | values),
        "prompts": graph.node("PreviewAny", "prompts", source=["sampler", 1]),
        "labels": graph.node("PreviewAny", "labels", source=["sampler", 2]),
    }


def step_by_step(template: str, strength: float, seed: int, checkpoint: str = "sd3.safetensors") -> dict:
    """Apply Character, Character Prompt, KSampler, VAEDecode."""
    prompt = graph.sampled(checkpoint, seed=seed)
    apply = graph.DEFAULTS["IsengardApplyCharacter"] | {"name": "mira", "strength": strength}
    prompt["who"] = graph.node("IsengardApplyCharacter", "who", model=["1", 0], clip=["1", 1], **apply)
    words = {"template": template, "tags": "in a street", "seed": seed}
    prompt["words"] = graph.node("IsengardCharacterPrompt", "words", clip=["who", 1], character=["who", 2], **words)
    prompt["4"]["inputs"] |= {"clip": ["who", 1], "text": "ugly"}
    prompt["6"]["inputs"] |= {"model": ["who", 0], "positive": ["words", 0]}
    return prompt


def pictures(comfyui, finished: Finished) -> list[Image.Image]:
    """The sampler's files in the order that it tells them."""

    async def download():
        async with Client(comfyui.url) as client:
            return [await client.download(file) for file in finished.files if file.node == "sampler"]

    return [Image.open(io.BytesIO(data)) for data in asyncio.run(download())]


def output(comfyui, prefix: str) -> list[str]:
    return sorted(file.name for file in (comfyui.base / "output" / "isengard").glob(f"{prefix}_*.png"))


def add_lora(characters, lora, kind: str, text: bool = False) -> None:
    layer = {} if kind == "sd3" else {"layer": UNET_LAYER, "columns": 320, "rows": 320}
    characters.add_version("mira", lora(**layer, text=text))


@pytest.mark.parametrize("kind, text", [("sd3", True), ("sd3", False), ("sd15", True)])
def test_each_picture_is_the_one_of_the_nodes_one_by_one(comfyui, characters, lora, kind, text):
    add_lora(characters, lora, kind, text)
    checkpoint = f"{kind}.safetensors"
    inputs = {"prompts": "\n".join(TEMPLATES), "strengths": "0.5, 1", "seeds": "3, 8", "negative": "ugly"}
    finished = graph.run(comfyui, sampled(checkpoint, **inputs))
    drawn = [np.asarray(picture) for picture in pictures(comfyui, finished)]
    wanted = [(strength, template, seed) for strength in (0.5, 1.0) for template in TEMPLATES for seed in (3, 8)]
    assert len(drawn) == len(wanted)
    for number, (strength, template, seed) in enumerate(wanted):
        prompt = step_by_step(template, strength, seed, checkpoint)
        one = graph.run(comfyui, prompt)
        np.testing.assert_array_equal(drawn[number], graph.picture(comfyui, one, "save", prompt))
        words = one.outputs["words"]["text"][0]
        assert finished.outputs["prompts"]["text"][number] == words
        assert finished.outputs["labels"]["text"][number] == f"seed {seed} · {strength:g} · {words}"
    assert len({each.tobytes() for each in drawn}) == len(drawn), "all differ"


def test_every_file_tells_how_it_was_drawn(comfyui, characters, lora):
    add_lora(characters, lora, "sd3")
    inputs = {"prompts": "mira, {a|b}", "strengths": "0.5, 1", "seeds": "3", "negative": "ugly"}
    finished = graph.run(comfyui, sampled(filename_prefix="isengard/told", **inputs))
    files = output(comfyui, "told")
    assert files == ["told_00001_.png", "told_00002_.png"]
    for strength, picture in zip((0.5, 1.0), pictures(comfyui, finished), strict=True):
        assert json.loads(picture.text["prompt"])["sampler"]["inputs"]["seeds"] == "3", "as SaveImage writes it"
        told = json.loads(picture.text["isengard"])
        words = finished.outputs["prompts"]["text"][0]
        assert told == {"strength": strength, "prompt": words, "seed": 3, "negative": "ugly", "lora": "Mira's LoRA v1"}
    (said,) = finished.outputs["sampler"]["text"]
    assert said == "2 pictures with Mira's LoRA v1: output/isengard/told_00001_.png to told_00002_.png"


def test_the_report_says_what_is_wrong_with_a_prompt(comfyui, characters, lora):
    add_lora(characters, lora, "sd3")
    prompts = "{class}\n{trigger}" + ", a coat" * 60
    (said,) = graph.run(comfyui, sampled(prompts=prompts, strengths="0.5, 1")).outputs["sampler"]["text"]
    first, second, third = said.splitlines()
    assert second == "woman: The trigger 'mira' is not in the prompt."
    assert third.startswith("mira, a coat, a coat")
    assert "takes 77 at once" in third


def test_it_works_behind_another_lora(comfyui, characters, lora):
    """That of core's own loader, at half its strength: one and a half together."""
    add_lora(characters, lora, "sd3", text=True)
    shutil.copy(lora(text=True), comfyui.base / "models" / "loras" / "before.safetensors")
    before = graph.node(
        "LoraLoader", "before", model=["1", 0], clip=["1", 1], lora_name="before.safetensors", strength_model=0.5,
        strength_clip=0.5,
    )  # fmt: skip
    ours = sampled(prompts="{trigger}", negative="ugly", seeds="3") | {"before": before}
    ours["sampler"]["inputs"] |= {"model": ["before", 0], "clip": ["before", 1]}
    (picture,) = pictures(comfyui, graph.run(comfyui, ours))
    cores = step_by_step("{trigger}", 1.0, 3) | {"before": before}
    cores["who"]["inputs"] |= {"model": ["before", 0], "clip": ["before", 1]}
    one = graph.picture(comfyui, graph.run(comfyui, cores), "save", cores)
    np.testing.assert_array_equal(np.asarray(picture), one)
    alone = step_by_step("{trigger}", 1.0, 3)
    assert not np.array_equal(one, graph.picture(comfyui, graph.run(comfyui, alone), "save", alone))


@pytest.mark.parametrize("kind", ["sd3", "sd15"])
def test_a_latent_is_drawn_over(comfyui, characters, lora, kind):
    add_lora(characters, lora, kind)
    checkpoint = f"{kind}.safetensors"
    Image.linear_gradient("L").resize((64, 96)).convert("RGB").save(comfyui.base / "input" / "gradient.png")
    encoded = {
        "load": graph.node("LoadImage", "load", image="gradient.png"),
        "encode": graph.node("VAEEncode", "encode", pixels=["load", 0], vae=["1", 2]),
        "mask": graph.node("SolidMask", "mask", value=0.5, width=64, height=96),
        "masked": graph.node("SetLatentNoiseMask", "masked", samples=["encode", 0], mask=["mask", 0]),
    }
    steps = {"prompts": "{trigger}", "negative": "ugly", "seeds": "3", "steps": 4, "denoise": 0.5}
    for place in ("encode", "masked"):
        ours = sampled(checkpoint, **steps, latent=[place, 0]) | encoded
        (picture,) = pictures(comfyui, graph.run(comfyui, ours))
        cores = step_by_step("{trigger}", 1.0, 3, checkpoint) | encoded
        cores["6"]["inputs"] |= {"latent_image": [place, 0], "denoise": 0.5, "steps": 4}
        cores = graph.without(cores, "empty")
        np.testing.assert_array_equal(
            np.asarray(picture), graph.picture(comfyui, graph.run(comfyui, cores), "save", cores)
        )
    twice = graph.node("RepeatLatentBatch", "twice", samples=["encode", 0], amount=2)
    with pytest.raises(NodeFailed, match="latent holds 2 pictures, and one can be drawn over"):
        graph.run(comfyui, sampled(checkpoint, **steps, latent=["twice", 0]) | encoded | {"twice": twice})


def test_cancel_keeps_what_was_drawn(comfyui, characters, lora):
    """One bar for all steps; it ends within the picture at which the person cancelled."""
    add_lora(characters, lora, "sd15")
    prompt = sampled("sd15.safetensors", seeds="0-199", steps=5, filename_prefix="isengard/cancelled")
    seen = []
    with ThreadPoolExecutor() as threads:

        def on_event(event):
            if event["type"] == "progress" and event["data"]["node"] == "sampler":
                seen.append(event["data"])
                if len(seen) == 12:
                    threads.submit(interrupt, comfyui)

        with pytest.raises(Interrupted, match="IsengardCharacterSampler"):
            graph.run(comfyui, prompt, on_event)
    values = [each["value"] for each in seen]
    assert {each["max"] for each in seen} == {1000}
    assert values == sorted(set(values))
    assert 2 <= len(output(comfyui, "cancelled")) <= values[-1] // 5
    assert values[-1] < 100


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"strengths": "0.8, x"}, "'x' in strengths is no number"),
        ({"seeds": "7-3"}, "the range 7-3 in seeds goes backwards"),
        ({"seeds": " "}, "there is no seed"),
        ({"prompts": ""}, "there is no prompt to draw"),
        ({"prompts": "{trigger"}, "the template has a { without"),
        ({"seeds": "0-199", "strengths": "1, 2"}, "1 prompts x 2 strengths x 200 seeds are 400 pictures"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_runs(comfyui, characters, lora, inputs, message):
    with pytest.raises(PromptRejected, match=message):
        graph.run(comfyui, sampled(**inputs))


def test_what_comes_through_a_link_is_refused_when_it_runs(comfyui, characters, lora):
    add_lora(characters, lora, "sd3")
    prompt = sampled(strengths=["text", 0]) | {"text": graph.node("PrimitiveString", "text", value="0.8, x")}
    with pytest.raises(NodeFailed, match="'x' in strengths is no number"):
        graph.run(comfyui, prompt)


def test_a_lora_of_another_kind_of_model_is_refused(comfyui, characters, lora):
    add_lora(characters, lora, "sd15")
    with pytest.raises(NodeFailed, match="Mira's LoRA v1 .* 2 of its 2 weights"):
        graph.run(comfyui, sampled(filename_prefix="isengard/refused"))
    assert output(comfyui, "refused") == []
