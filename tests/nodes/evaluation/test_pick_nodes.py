"""From a training's checkpoints to the one that is kept, on a real ComfyUI."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from isengard.nodes.characters.library import Library
from isengard.nodes.evaluation import packages
from isengard.sota.demo_base import people
from isengard.tests import graph
from isengard.tests.comfyui.installation import PACK
from isengard.tests.comfyui.server import Server
from isengard.trainers import lora_file
from isengard.workflows.client import NodeFailed

from .test_grid_nodes import grid_node
from .test_identity_nodes import draw

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With a node that gives a CLIP_VISION."""
    base = tmp_path_factory.mktemp("pick")
    (base / "custom_nodes").mkdir()
    shutil.copy(PACK / "tests" / "comfyui" / "small_clip_vision.py", base / "custom_nodes")
    draw(base / "input" / "others", [people.training_portrait(5, index).identity for index in range(8)], 8, seed=2)
    with Server(base, checkpoints=("sd3",), shares_cores=True) as running:
        yield running


def picked(train: str = "4", **weights) -> dict:
    """A training of 6 steps with validation and a checkpoint every 2, its grid, and the best of it."""
    prompt = graph.job(train__steps=6, train__learning_rate=1e-2)
    prompt = graph.with_settings(prompt, "IsengardRunSettings", checkpoint_every=2)
    prompt = graph.with_settings(prompt, "IsengardValidationSettings", every=2, share=0.2)
    prompt = graph.without(prompt, "sheet", "chart", "save")
    (dataset,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "dataset"]
    prompt["grid"] = grid_node(run=[train, 2], seeds=2, strengths="0.5, 1")
    prompt["others"] = graph.node(
        "IsengardLoadDataset", "others", **graph.DEFAULTS["IsengardLoadDataset"] | {"folder": "others"}
    )
    prompt["known"] = graph.node(
        "IsengardIdentity", "known", encoder=packages.EFFICIENTNET, references=[dataset, 0], others=["others", 0],
    )  # fmt: skip
    inputs = {"grid": ["grid", 0], "identity": ["known", 0]}
    prompt["pick"] = graph.node("IsengardPickBest", "pick", **graph.DEFAULTS["IsengardPickBest"] | inputs | weights)
    for name, place in (("strength", 1), ("label", 2)):
        prompt[name] = graph.node("PreviewAny", name, source=["pick", place])
    for name, place in (("chart", 6), ("pictures", 7)):
        prompt[name] = graph.node("SaveImage", name, images=["pick", place], filename_prefix=name)
    return prompt


def test_the_best_is_shown_saved_and_kept_with_its_scores(server):
    characters = Library(server.base / "user" / "default" / "isengard" / "characters")
    characters.put("Mira", trigger="mira", class_noun="woman")
    prompt = picked()
    prompt["who"] = graph.node("IsengardLoadCharacter", "who", character="mira")
    prompt["save"] = graph.node(
        "IsengardSaveLora", "save", lora=["pick", 0], run=["pick", 3], name="best", precision="fp32", trigger=""
    )
    prompt["kept"] = graph.node(
        "IsengardAddCharacterLora", "kept", character=["who", 0], lora=["pick", 0], run=["pick", 3], precision="fp32",
        note="", choice=["pick", 4],
    )  # fmt: skip
    finished = graph.run(server, prompt)
    (label,), (strength,) = (finished.outputs[name]["text"] for name in ("label", "strength"))
    rows = finished.outputs["pick"]["text"][0].splitlines()
    assert rows[1].startswith(f" 1. {label} ")
    assert len([row for row in rows if " @ " in row]) == 6, "three checkpoints at two strengths, and not the base"
    step = int(label.split()[1])
    assert label.endswith(f"@ {float(strength):g}")
    (checkpoint,) = server.base.glob(f"user/default/isengard/runs/*/checkpoints/step_{step:06}.safetensors")
    weights, said = lora_file.read(server.base / "models" / "loras" / "best.safetensors")
    expected = lora_file.load(checkpoint)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected), "another one, or it was scaled"
    assert said["ss_steps"] == str(step)
    version = characters.get("mira").character.version
    assert version.scores["strength"] == float(strength)
    random_weights_follow_no_prompt = {"adherence"}
    terms = {"identity", "adherence", "diversity", "validation", "total", "strength"}
    assert set(version.scores) | random_weights_follow_no_prompt == terms
    kept = yaml.safe_load((characters.folder("mira") / "character.yaml").read_text())
    assert kept["versions"][0]["scores"] == dict(version.scores)
    shown = [file.node for file in finished.files]
    assert (shown.count("pictures"), shown.count("chart")) == (4, 1)


def test_weights_decide(server):
    """By validation alone the checkpoint is the one of the lowest loss, which is the training's result."""
    finished = graph.run(
        server, picked(identity_weight=0.0, adherence_weight=0.0, diversity_weight=0.0, validation_weight=1.0)
    )
    (metrics,) = server.base.glob("user/default/isengard/runs/*/metrics.jsonl")
    losses = {entry["step"]: entry["validation_loss"] for entry in map(json.loads, metrics.read_text().splitlines())}
    best = min((step for step in losses if losses[step] is not None), key=losses.get)
    assert finished.outputs["label"]["text"][0].startswith(f"step {best} @ ")


def test_a_grid_without_the_base_says_what_is_unscored(server):
    prompt = picked()
    prompt["grid"]["inputs"]["include_base"] = False
    (text,) = graph.run(server, prompt).outputs["pick"]["text"]
    assert "adherence is unscored (it takes two prompts or more, and the base's own pictures" in text


def test_a_file_of_its_own_has_no_run(server):
    (server.base / "models" / "loras" / "file.safetensors").write_bytes(
        next(server.base.glob("user/default/isengard/runs/*/checkpoints/step_000004.safetensors")).read_bytes()
    )
    prompt = picked()
    del prompt["grid"]["inputs"]["run"]
    prompt["grid"]["inputs"]["loras"] = "file"
    assert graph.run(server, prompt).outputs["label"]["text"][0].startswith("file @ ")
    prompt["save"] = graph.node(
        "IsengardSaveLora", "save", lora=["pick", 0], run=["pick", 3], name="again", precision="fp32", trigger=""
    )
    with pytest.raises(NodeFailed, match="this LoRA is no checkpoint of a run, and is in a file of its own"):
        graph.run(server, prompt)


def test_an_identity_by_a_clip_vision(server):
    """Random weights see little; what they see is told as for any other encoder."""
    prompt = {name: node for name, node in picked().items() if name in ("others", "known")}
    (dataset,) = [number for number, node in picked().items() if node["_meta"]["title"] == "dataset"]
    prompt |= {dataset: picked()[dataset], "sees": graph.node("SmallClipVision", "sees")}
    prompt["known"]["inputs"] |= {"encoder": "[clip_vision]", "clip_vision": ["sees", 0]}
    (report,) = graph.run(server, prompt).outputs["known"]["text"]
    assert "by the CLIP_VISION:" in report
    assert "Told apart" in report or "the CLIP_VISION does not tell" in report


@pytest.mark.parametrize("checkpoint", ["sd3.safetensors", "sd15.safetensors"])
def test_the_template_trains_chooses_and_saves(comfyui, checkpoint):
    """With an image encoder of a package in the place of the file that a person loads."""
    small = {"width": 64, "height": 64, "steps": 2, "seeds": 1}
    prompt = graph.job(
        "choose_checkpoint", checkpoint__ckpt_name=checkpoint, identity__encoder=packages.EFFICIENTNET,
        validation__every=2, save__name="best-of-template", **{f"grid__{name}": value for name, value in small.items()},
    )  # fmt: skip
    (identity,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "identity"]
    del identity["clip_vision"]
    finished = graph.run(comfyui, graph.without(prompt, "eyes"))
    shown = [prompt[file.node]["_meta"]["title"] for file in finished.files]
    assert {"grid", "chart", "pictures"} <= set(shown)
    titles = {node["_meta"]["title"]: number for number, node in prompt.items()}
    assert "20 references, 12 pictures of other people" in finished.outputs[titles["identity"]]["text"][0]
    (table,) = finished.outputs[titles["pick"]]["text"]
    assert "step 4 @ 0.7" in table and "step 4 @ 1" in table
    assert "validation is unscored" not in table
    assert lora_file.load(comfyui.base / "models" / "loras" / "best-of-template.safetensors")
