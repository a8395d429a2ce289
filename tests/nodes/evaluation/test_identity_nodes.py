"""Identity and Score Images on a real ComfyUI, with drawings of people and a real image encoder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from isengard.nodes.characters.library import Library
from isengard.nodes.evaluation import packages, scoring
from isengard.sota.demo_base import drawing, people
from isengard.tests import graph
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui

OWN, OTHER = people.held_out()[4], people.held_out()[7]


def draw(folder, identities, count: int, seed: int) -> None:
    """Pictures of people in turn, with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for number in range(count):
        who = identities[number % len(identities)]
        Image.fromarray(drawing.pixels(who, people.random_look(generator))).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text("person")


@pytest.fixture(scope="module")
def folders(comfyui):
    """Data sets: eight pictures of one person, twenty of others, and three of that person with three of another."""
    root = comfyui.base / "input"
    strangers = [people.training_portrait(5, index).identity for index in range(20)]
    draw(root / "identity_own", [OWN], 8, seed=1)
    draw(root / "identity_others", strangers, 20, seed=2)
    draw(root / "identity_mixed", [OWN, OTHER], 6, seed=3)
    return root


def dataset(folder: str) -> dict:
    values = graph.DEFAULTS["IsengardLoadDataset"] | {"folder": folder}
    return graph.node("IsengardLoadDataset", folder, **values)


def scored() -> dict:
    """The six mixed pictures, those of the character kept."""
    prompt = {
        "own": dataset("identity_own"), "others": dataset("identity_others"),
        "who": graph.node("IsengardIdentity", "who", encoder=packages.EFFICIENTNET, references=["own", 0],
                          others=["others", 0]),
    }  # fmt: skip
    for number in range(6):
        file = f"identity_mixed/{number:02}.png"
        prompt[f"load{number}"] = graph.node("LoadImage", "load", image=file, upload="image")
    batch = "load0"
    for number in range(1, 6):
        prompt[f"with{number}"] = graph.node("ImageBatch", "b", image1=[batch, 0], image2=[f"load{number}", 0])
        batch = f"with{number}"
    values = graph.DEFAULTS["IsengardScoreImages"] | {"keep": scoring.SAME}
    return prompt | {
        "score": graph.node("IsengardScoreImages", "score", images=[batch, 0], identity=["who", 0], **values),
        "kept": graph.node("SaveImage", "kept", images=["score", 0], filename_prefix="identity_kept"),
        "annotated": graph.node("SaveImage", "annotated", images=["score", 1], filename_prefix="identity_annotated"),
        "values": graph.node("PreviewAny", "values", source=["score", 2]),
    }


def test_pictures_of_the_character_score_above_those_of_another(comfyui, folders):
    prompt = scored()
    finished = graph.run(comfyui, prompt)
    (report,), (table,) = (finished.outputs[node]["text"] for node in ("who", "score"))
    assert "identity_own by EfficientNet-lite0: 8 references, 20 pictures of other people" in report
    values = [float(value) for value in finished.outputs["values"]["text"]]
    own, other = values[::2], values[1::2]
    assert min(own) > max(other), table
    shown = [file.node for file in finished.files]
    assert (shown.count("kept"), shown.count("annotated")) == (3, 6)
    assert table.count("* picture") == 3


def test_others_come_from_the_library_where_none_are_connected(comfyui, folders):
    root = comfyui.base / "user" / "default" / "isengard" / "characters"
    shutil.rmtree(root, ignore_errors=True)
    library = Library(root)
    library.put("Own")
    prompt = {"who": graph.node("IsengardIdentity", "who", encoder=packages.EFFICIENTNET, character=["load", 0]),
              "load": graph.node("IsengardLoadCharacter", "load", character="own")}  # fmt: skip
    for number in range(5):
        library.add_reference("own", f"{number}.png", (folders / "identity_own" / f"{number:02}.png").read_bytes())
    assert "there are 0 pictures of other people" in graph.run(comfyui, prompt).outputs["who"]["text"][0]
    library.put("Others")
    for number in range(12):
        library.add_reference(
            "others", f"{number}.png", (folders / "identity_others" / f"{number:02}.png").read_bytes()
        )
    assert "5 references, 12 pictures of other people" in graph.run(comfyui, prompt).outputs["who"]["text"][0]


def test_a_clip_without_the_encoder_of_the_pictures_is_told(comfyui, folders):
    prompt = scored()
    prompt["checkpoint"] = graph.node("CheckpointLoaderSimple", "checkpoint", ckpt_name="sd3.safetensors")
    prompt["score"]["inputs"] |= {"prompts": "a person", "clip": ["checkpoint", 1]}
    with pytest.raises(NodeFailed, match="and clip_vision is missing. Give all three, or none"):
        graph.run(comfyui, prompt)


def test_what_is_missing_is_told(comfyui, folders):
    nobody = {"who": graph.node("IsengardIdentity", "who", encoder=packages.EFFICIENTNET)}
    with pytest.raises(NodeFailed, match="nobody is connected"):
        graph.run(comfyui, nobody)
    prompt = {"own": dataset("identity_own"), "who": graph.node("IsengardIdentity", "who", encoder="[clip_vision]",
                                                                references=["own", 0])}  # fmt: skip
    with pytest.raises(NodeFailed, match="no CLIP_VISION is connected"):
        graph.run(comfyui, prompt)
