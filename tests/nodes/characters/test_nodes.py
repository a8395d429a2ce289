"""The character nodes on a real ComfyUI: from pictures to a version that draws."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from isengard.nodes.characters.library import Library
from isengard.tests import graph
from isengard.workflows.client import NodeFailed, PromptRejected

pytestmark = pytest.mark.comfyui


@pytest.fixture
def characters(comfyui):
    """The server's own library, empty."""
    root = comfyui.base / "user" / "default" / "isengard" / "characters"
    shutil.rmtree(root, ignore_errors=True)
    return Library(root)


def saved(name: str, **more) -> dict:
    inputs = graph.DEFAULTS["IsengardSaveCharacter"] | {"name": name} | more
    return {"character": graph.node("IsengardSaveCharacter", "character", **inputs)}


def mira(**more) -> dict:
    sample = graph.DEFAULTS["IsengardLoadDataset"]
    dataset = {"pictures": graph.node("IsengardLoadDataset", "pictures", **sample)}
    return dataset | saved("Mira", trigger="mira", class_noun="woman", references=["pictures", 0], **more)


def test_a_character_is_saved_with_its_pictures_and_changed_by_its_name(comfyui, characters):
    shown = graph.run(comfyui, mira()).outputs["character"]["text"]
    assert shown == ["Mira (mira, woman): 20 pictures, no LoRA"]
    graph.run(comfyui, saved("mira", notes="kind"))
    found = characters.get("mira").character
    assert (found.name, found.trigger, found.notes, len(found.references)) == ("Mira", "mira", "kind", 20)
    assert found.references[0].caption.startswith("mira")


def test_a_character_is_trained_kept_and_drawn(comfyui, characters):
    """The version that was added draws what the training's own model draws."""
    graph.run(comfyui, mira())
    prompt = graph.job(train__steps=4, train__learning_rate=1e-2)
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    prompt["who"] = graph.node("IsengardLoadCharacter", "who", character="mira")
    prompt[train]["inputs"]["dataset"] = ["who", 1]
    prompt["kept"] = graph.node(
        "IsengardAddCharacterLora", "kept", character=["who", 0], lora=[train, 0], run=[train, 2], precision="fp32",
        note="first",
    )  # fmt: skip
    finished = graph.run(comfyui, graph.without(prompt, "save", "chart"))
    version = characters.get("mira").character.version
    assert (version.id, version.note) == ("v1", "first")
    assert finished.outputs["kept"]["text"] == ["Mira: v1"]
    drawn = graph.sampled("sd3.safetensors")
    drawn["who"] = graph.node("IsengardLoadCharacter", "who", character="mira")
    drawn["lora"] = graph.node("IsengardCharacterLora", "lora", character=["who", 0], version="")
    drawn["model"] = graph.node(  # bypass: of newer ComfyUIs
        "LoraModelLoader", "model", model=["1", 0], lora=["lora", 0], strength_model=1.0, bypass=False
    )
    plain = graph.picture(comfyui, graph.run(comfyui, graph.sampled("sd3.safetensors")), "save", drawn)
    drawn["6"]["inputs"]["model"] = ["model", 0]
    with_lora = graph.picture(comfyui, graph.run(comfyui, drawn), "save", drawn)
    assert not np.array_equal(plain, with_lora)


def test_a_change_by_another_program_is_seen(comfyui, characters):
    graph.run(comfyui, mira())
    prompt = {
        "who": graph.node("IsengardLoadCharacter", "who", character="mira"),
        "text": graph.node("PreviewAny", "text", source=["who", 2]),
    }
    assert graph.run(comfyui, prompt).outputs["text"]["text"] == ["mira"]
    characters.put("Mira", trigger="zorvik")
    assert graph.run(comfyui, prompt).outputs["text"]["text"] == ["zorvik"]


def test_a_character_goes_to_another_library_as_a_file(comfyui, characters):
    graph.run(comfyui, mira())
    prompt = {
        "who": graph.node("IsengardLoadCharacter", "who", character="mira"),
        "out": graph.node("IsengardExportCharacter", "out", character=["who", 0]),
    }
    (path,) = graph.run(comfyui, prompt).outputs["out"]["text"]
    shutil.move(comfyui.base / "output" / path, comfyui.base / "input" / "mira.zip")
    characters.delete("mira")
    graph.run(comfyui, {"in": graph.node("IsengardImportCharacter", "in", file="mira.zip")})
    assert len(characters.get("mira").character.references) == 20
    prompt = {
        "all": graph.node("IsengardListCharacters", "all"),
        "text": graph.node("PreviewAny", "text", source=["all", 1]),
    }
    shown = graph.run(comfyui, prompt).outputs["text"]["text"]
    assert shown == ["Mira (mira, woman): 20 pictures, no LoRA"]


def test_what_cannot_be_is_told(comfyui, characters):
    with pytest.raises(NodeFailed, match="a character needs a name"):
        graph.run(comfyui, saved(" "))
    graph.run(comfyui, saved("Mira"))
    who = {"who": graph.node("IsengardLoadCharacter", "who", character="mira")}
    lora = {"lora": graph.node("IsengardCharacterLora", "lora", character=["who", 0], version="")}
    shown = {"text": graph.node("PreviewAny", "text", source=["lora", 1])}
    with pytest.raises(NodeFailed, match="Mira has no LoRA yet"):
        graph.run(comfyui, who | lora | shown)
    chosen = {"v": graph.node("IsengardChooseCharacterVersion", "v", character=["who", 0], version="v2")}
    with pytest.raises(NodeFailed, match="Mira has no version v2. Choose one of none"):
        graph.run(comfyui, who | chosen)
    # 0.3.75 does not look whether the list has it
    with pytest.raises((NodeFailed, PromptRejected), match="is no character's folder name|not in list"):
        graph.run(comfyui, {"who": who["who"] | {"inputs": {"character": "../mira"}}} | shown | lora)
