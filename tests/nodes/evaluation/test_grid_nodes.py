"""Grids of checkpoints on a real ComfyUI."""

from __future__ import annotations

import copy
import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from isengard.nodes.characters.library import Library
from isengard.tests import graph
from isengard.tests.jobs import interrupt, lora_folder
from isengard.workflows.client import Interrupted, NodeFailed, PromptRejected

pytestmark = pytest.mark.comfyui

SMALL = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "width": 64, "height": 64}
ROUNDING = 2  # of 255: pictures that are drawn together are those that are drawn alone, but for it
LAYER = "transformer.transformer_blocks.1.attn.to_q"


def grid_node(**inputs) -> dict:
    values = graph.DEFAULTS["IsengardCheckpointGrid"] | SMALL | {"prompts": "mira woman\na man", "seeds": 1} | inputs
    loaded = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2]}
    return graph.node("IsengardCheckpointGrid", "grid") | {"inputs": loaded | values}


def of_files(**inputs) -> dict:
    """A grid of LoRA files on the SD3-shaped checkpoint."""
    prompt = {"1": graph.node("CheckpointLoaderSimple", "checkpoint", ckpt_name="sd3.safetensors")}
    prompt["report"] = graph.node("PreviewAny", "report", source=["grid", 2])
    return prompt | {"grid": grid_node(**inputs)}


def of_run(training_seed: int, **inputs) -> dict:
    """A training of 6 steps with a checkpoint every 2, and the grid of it."""
    prompt = graph.job(train__steps=6, train__learning_rate=1e-2, train__seed=training_seed)
    prompt = graph.with_settings(prompt, "IsengardRunSettings", checkpoint_every=2)
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    prompt = graph.without(prompt, "sheet", "chart", "save")
    prompt["report"] = graph.node("PreviewAny", "report", source=["grid", 2])
    return prompt | {"grid": grid_node(run=[train, 2], **inputs)}


@pytest.fixture
def kept(comfyui) -> Path:
    """Where pictures are kept; empty."""
    root = comfyui.base / "user" / "default" / "isengard" / "grids"
    shutil.rmtree(root, ignore_errors=True)
    return root


@pytest.fixture
def lora(comfyui):
    """A function that puts a LoRA of some layer into the server's folder of them."""

    def lora(name: str, layer: str = LAYER, seed: int = 1, value: float | None = None, rows: int = 256) -> str:
        generator = torch.Generator().manual_seed(seed)
        down, up = torch.randn(4, rows, generator=generator), torch.randn(rows, 4, generator=generator)
        weights = {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        if value is not None:
            weights = {key: torch.full_like(tensor, value) for key, tensor in weights.items()}
        safetensors.torch.save_file(weights, lora_folder(comfyui) / f"{name}.safetensors")
        return name

    return lora


def apart(one: bytes | Path, other: bytes | Path) -> int:
    """The largest difference of two pictures' values."""
    first, second = (
        np.asarray(Image.open(io.BytesIO(each) if isinstance(each, bytes) else each)).astype(int)
        for each in (one, other)
    )
    return int(np.abs(first - second).max())


def report(comfyui, prompt: dict) -> list[str]:
    return graph.run(comfyui, prompt).outputs["report"]["text"][0].splitlines()


def pictures(root: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in root.rglob("*.png")}


def again(prompt: dict, **inputs) -> dict:
    """The same grid for us, another one for ComfyUI."""
    prompt = copy.deepcopy(prompt)
    prompt["grid"]["inputs"] |= {"title": str(np.random.default_rng().integers(1 << 40))} | inputs
    return prompt


def test_every_checkpoint_is_drawn_once_and_what_is_missing_is_drawn_alone(comfyui, kept):
    graph.forget_runs(comfyui)
    prompt = of_run(4, strengths="0.5, 1")
    assert report(comfyui, prompt) == ["14 pictures: 14 drawn, 0 from disk, 0 failed."]
    first = pictures(kept)
    assert len(first) == 14
    drawn = [np.asarray(Image.open(file)) for file in first]
    assert all(not np.array_equal(one, other) for place, one in enumerate(drawn) for other in drawn[:place])
    assert report(comfyui, again(prompt)) == ["14 pictures: 0 drawn, 14 from disk, 0 failed."]
    assert pictures(kept) == first
    gone = sorted(first)[3]
    before = gone.read_bytes()
    gone.unlink()
    assert report(comfyui, prompt) == ["14 pictures: 1 drawn, 13 from disk, 0 failed."], "ComfyUI gave what it had"
    now = pictures(kept)
    assert {file for file in first if now[file] != first[file]} == {gone}
    assert apart(gone.read_bytes(), before) <= ROUNDING
    assert report(comfyui, again(prompt, prompts="mira woman\nb")) == ["14 pictures: 7 drawn, 7 from disk, 0 failed."]
    (second,) = comfyui.base.glob("user/default/isengard/runs/*/checkpoints/step_000004.safetensors")
    second.unlink()
    said = report(comfyui, again(prompt, include_base=False))
    assert said[0] == "12 pictures: 0 drawn, 8 from disk, 4 failed."
    assert "step 4 @ 0.5, step 4 @ 1 (4 failed): its file step_000004.safetensors is gone." in said[1]


def test_the_last_checkpoint_draws_what_the_training_itself_draws(comfyui, kept):
    """As core's own nodes do with the LoRA that was saved, to the last bit."""
    graph.forget_runs(comfyui)
    prompt = of_run(5, prompts="mira woman", strengths="0.6", seed=3, include_base=False)
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    shutil.rmtree(lora_folder(comfyui) / "grids", ignore_errors=True)
    prompt["save"] = graph.node(
        "IsengardSaveLora", "save", lora=[train, 0], run=[train, 2], name="grids/last", precision="fp32", trigger=""
    )
    graph.run(comfyui, prompt)
    core = graph.sampled("sd3.safetensors", "grids/last.safetensors", strength=0.6, seed=3)
    expected = graph.picture(comfyui, graph.run(comfyui, core), "save", core)
    found = [np.asarray(Image.open(file)) for file in pictures(kept)]
    assert len(found) == 3
    assert sum(np.array_equal(picture, expected) for picture in found) == 1


@pytest.mark.parametrize("checkpoint", ["sd3.safetensors", "sd15.safetensors"])
def test_pictures_that_are_drawn_together_are_those_of_ksampler(comfyui, kept, checkpoint):
    """Other prompts and other seeds in one batch."""
    prompt = of_files(prompts="mira woman\na man, (green:1.4) coat", seeds=3, seed=3, loras="", include_base=True)
    prompt["1"]["inputs"]["ckpt_name"] = checkpoint
    assert report(comfyui, prompt) == ["6 pictures: 6 drawn, 0 from disk, 0 failed."]
    core = graph.sampled(checkpoint, seed=4)
    for text in ("mira woman", "a man, (green:1.4) coat"):
        core["3"]["inputs"]["text"] = text
        expected = graph.picture(comfyui, graph.run(comfyui, core), "save", core)
        differences = [np.abs(np.asarray(Image.open(file)).astype(int) - expected).max() for file in pictures(kept)]
        assert sorted(differences)[0] <= ROUNDING < 10 < sorted(differences)[1], differences


def test_samplers_that_put_noise_in_draw_as_ksampler_does(comfyui, kept):
    prompt = of_files(prompts="mira woman", seeds=2, seed=3, loras="", sampler_name="euler_ancestral", cfg=4.0)
    graph.run(comfyui, prompt)
    core = graph.sampled("sd3.safetensors", seed=4)
    core["6"]["inputs"]["sampler_name"] = "euler_ancestral"
    expected = graph.picture(comfyui, graph.run(comfyui, core), "save", core)
    assert sum(np.array_equal(np.asarray(Image.open(file)), expected) for file in pictures(kept)) == 1


def test_a_lora_that_does_not_fit_fails_alone_and_is_tried_again(comfyui, kept, lora):
    lora("grid-good"), lora("grid-other", "diffusion_model.double_blocks.0.img_attn.qkv"), lora("grid-size", rows=320)
    lora("grid-nan", value=float("nan"))
    (lora_folder(comfyui) / "grid-text.safetensors").write_text("no LoRA")
    prompt = of_files(loras="grid-*", strengths="1", include_base=False)
    said = report(comfyui, prompt)
    assert said[0] == "10 pictures: 2 drawn, 0 from disk, 8 failed."
    reasons = dict(line.split(": ", 1) for line in said[1:])
    assert "2 of its 2 weights belong to no layer" in reasons["grid-other @ 1 (2 failed)"]
    assert "another size" in reasons["grid-size @ 1 (2 failed)"]
    assert "no number any more (NaN)" in reasons["grid-nan @ 1 (2 failed)"]
    assert "no safetensors file" in reasons["grid-text @ 1 (2 failed)"]
    lora("grid-nan", value=0.01)
    assert report(comfyui, prompt)[0] == "10 pictures: 2 drawn, 2 from disk, 6 failed."
    with pytest.raises(NodeFailed, match=r"(?s)none of 2 pictures could be drawn.*grid-other.*belong to no layer"):
        graph.run(comfyui, of_files(loras="grid-other", strengths="1", include_base=False))


def test_an_interrupt_keeps_what_was_drawn(comfyui, kept, lora):
    lora("grid-good")
    prompt = of_files(loras="grid-good", strengths="0.5, 1", seeds=16, seed=77, steps=4)
    with ThreadPoolExecutor() as threads:

        def on_event(event):
            if event["type"] == "progress" and event["data"]["node"] == "grid" and event["data"]["value"] > 150:
                threads.submit(interrupt, comfyui)

        with pytest.raises(Interrupted):
            graph.run(comfyui, prompt, on_event)
    before = pictures(kept)
    assert 150 // 4 - 8 <= len(before) < 96, "all but those that were being drawn together"
    assert report(comfyui, prompt) == [f"96 pictures: {96 - len(before)} drawn, {len(before)} from disk, 0 failed."]
    assert {file: time for file, time in pictures(kept).items() if file in before} == before


def test_a_lora_of_the_text_encoder_changes_what_the_texts_say(comfyui, kept, lora):
    name = "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"
    down, up = torch.ones(1, 768) * 0.1, torch.ones(3072, 1) * 0.1
    weights = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    safetensors.torch.save_file(weights, lora_folder(comfyui) / "grid-words.safetensors")
    lora("grid-good")
    prompt = of_files(loras="grid-words\ngrid-good", strengths="1", prompts="mira woman", seed=3, include_base=True)
    said = report(comfyui, prompt)
    assert said == ["3 pictures: 3 drawn, 0 from disk, 0 failed."]
    files = {_said(file)["lora"]: np.asarray(Image.open(file)) for file in pictures(kept)}
    for name, strengths in (("grid-words", 1.0), ("grid-good", 1.0), (None, 1.0)):
        core = graph.sampled("sd3.safetensors", seed=3)
        if name:
            core["2"] = graph.node(
                "LoraLoader", "lora", model=["1", 0], clip=["1", 1], lora_name=f"{name}.safetensors",
                strength_model=strengths, strength_clip=strengths,
            )  # fmt: skip
            core["6"]["inputs"]["model"] = ["2", 0]
            core["3"]["inputs"]["clip"] = core["4"]["inputs"]["clip"] = ["2", 1]
        expected = graph.picture(comfyui, graph.run(comfyui, core), "save", core)
        np.testing.assert_array_equal(files[name or "base"], expected)


def _said(file: Path) -> dict:
    import json

    with Image.open(file) as opened:
        return json.loads(opened.info["isengard"])


def test_what_is_on_the_model_decides_the_picture(comfyui, kept, lora):
    """A LoRA before the grid, or another noise schedule, is another picture."""
    lora("grid-good"), lora("grid-before", seed=2)
    prompt = of_files(loras="grid-good", strengths="1", prompts="mira woman", include_base=False)
    one = ["1 pictures: 1 drawn, 0 from disk, 0 failed."]
    assert report(comfyui, prompt) == one
    other = copy.deepcopy(prompt)
    other["before"] = graph.node(
        "LoraLoaderModelOnly", "before", model=["1", 0], lora_name="grid-before.safetensors", strength_model=1.0
    )
    other["grid"]["inputs"]["model"] = ["before", 0]
    assert report(comfyui, other) == one
    other["before"] = graph.node("ModelSamplingSD3", "before", model=["1", 0], shift=5.0)
    assert report(comfyui, other) == one
    assert report(comfyui, again(prompt)) == ["1 pictures: 0 drawn, 1 from disk, 0 failed."]
    assert report(comfyui, again(other)) == ["1 pictures: 0 drawn, 1 from disk, 0 failed."]


def test_a_characters_versions_are_drawn_with_its_words(comfyui, kept, lora):
    root = comfyui.base / "user" / "default" / "isengard" / "characters"
    shutil.rmtree(root, ignore_errors=True)
    characters = Library(root)
    characters.put("Mira", trigger="mira", class_noun="woman")
    lora("grid-good")
    prompt = of_files(strengths="1", prompts="{trigger} {class}, smiling", include_base=False)
    prompt["who"] = graph.node("IsengardLoadCharacter", "who", character="mira")
    prompt["grid"]["inputs"]["character"] = ["who", 0]
    with pytest.raises(NodeFailed, match="Mira has no LoRA yet"):
        graph.run(comfyui, prompt)
    for _ in range(2):
        characters.add_version("mira", lora_folder(comfyui) / "grid-good.safetensors")
    assert report(comfyui, prompt) == ["2 pictures: 1 drawn, 1 from disk, 0 failed."], "both are the same LoRA"
    (file,) = pictures(kept)
    assert _said(file)["prompt"] == "mira woman, smiling"
    del prompt["grid"]["inputs"]["character"], prompt["who"]
    with pytest.raises(NodeFailed, match=r"has \{trigger\} and no character is connected"):
        graph.run(comfyui, prompt | {"grid": grid_node(prompts="{trigger}", loras="grid-good")})


def test_what_cannot_be_drawn_is_told_at_once(comfyui):
    with pytest.raises((NodeFailed, PromptRejected), match="there is no LoRA '../../secrets'"):
        graph.run(comfyui, of_files(loras="../../secrets"))
    with pytest.raises(PromptRejected, match="'much' in strengths is no number"):
        graph.run(comfyui, of_files(strengths="much"))
    with pytest.raises(PromptRejected, match="there is no prompt"):
        graph.run(comfyui, of_files(prompts=" \n"))
    with pytest.raises(NodeFailed, match="there is no LoRA to draw with"):
        graph.run(comfyui, of_files(include_base=False))
