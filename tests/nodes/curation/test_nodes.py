"""The nodes that curate data sets, on a real ComfyUI."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from isengard.nodes.dataset import folder
from isengard.tests import graph, pictures
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui


@pytest.fixture
def place(comfyui, request):
    """A folder with four scenes, a copy of one, and a blurred one; gives its name."""
    name = request.node.name.partition("[")[0]
    shown = {f"scene {number}.png": pictures.scene(number, (400, 320)) for number in range(4)}
    shown["scene 1 copy.jpg"] = pictures.resized(shown["scene 1.png"], 0.9)
    shown["soft.png"] = pictures.blurred(pictures.scene(8, (400, 320)), 5)
    for file, picture in shown.items():
        saved = pictures.saved(picture, comfyui.base / "input" / name / file)
        saved.with_suffix(".txt").write_text(f"hero, {'indoors' if 'scene' in file else 'outdoors'}, {saved.stem}")
    return name


def node(class_type: str, title: str, **inputs) -> dict:
    return {title: graph.node(class_type, title, **graph.DEFAULTS[class_type] | inputs)}


def loaded(name: str) -> dict:
    return node("IsengardLoadDataset", "load", folder=name)


def found(comfyui, prompt: dict, outputs: dict[str, tuple[str, int]]) -> dict[str, list]:
    """The samples of data sets by what they are called, saved and read again."""
    saves = {}
    for what, source in outputs.items():
        saves |= node("IsengardSaveDataset", f"save {what}", dataset=list(source), name=f"{next(NUMBERS)} {what}")
    shown = graph.run(comfyui, prompt | saves).outputs
    root = comfyui.base / "output"
    return {what: folder.load(root / shown[f"save {what}"]["text"][0], "x").dataset.samples for what in outputs}


NUMBERS = itertools.count()


def names(samples) -> list[str]:
    return [sample.name for sample in samples]


def test_copies_and_poor_pictures_come_out_of_a_second_socket(comfyui, place):
    prompt = (
        loaded(place)
        | node("IsengardDeduplicateDataset", "once", dataset=["load", 0])
        | node("IsengardDropPoorPictures", "good", dataset=["once", 0])
        | node("IsengardMergeDatasets", "out", dataset_1=["once", 1], dataset_2=["good", 1])
    )
    got = found(comfyui, prompt, {"kept": ("good", 0), "out": ("out", 0)})
    assert names(got["kept"]) == [f"scene {number}.png" for number in range(4)]
    assert names(got["out"]) == ["scene 1 copy.jpg", "soft.png"]
    copy, soft = got["out"]
    assert copy.reason.startswith("near-duplicate of scene 1.png (similarity 0.9")
    assert soft.reason.startswith("blurred (sharpness 0.")
    assert [sample.caption for sample in got["out"]] == ["hero, indoors, scene 1 copy", "hero, outdoors, soft"]


def test_tags_scores_samples_and_weights(comfyui, place):
    prompt = (
        loaded(place)
        | node("IsengardFilterByTag", "inside", dataset=["load", 0], tags="indoors")
        | node("IsengardMeasureDataset", "measured", dataset=["inside", 0])
        | node("IsengardFilterByScore", "sharp", dataset=["measured", 0], score="sharpness", least=0.2)
        | node("IsengardSampleDataset", "three", dataset=["sharp", 0], count=3, how="first")
        | node("IsengardWeighDataset", "weighed", dataset=["three", 0], repeats=4, weight=0.5, tags="scene 0")
    )
    got = found(comfyui, prompt, {"inside": ("inside", 0), "weighed": ("weighed", 0), "left": ("three", 1)})
    assert len(got["inside"]) == 5
    assert [(sample.repeats, sample.weight) for sample in got["weighed"]] == [(4, 0.5), (1, 1.0), (1, 1.0)]
    assert set(got["weighed"][0].scores) >= {"sharpness", "blockiness"}
    assert {sample.reason for sample in got["left"]} == {"not among the 3 that were chosen (first)"}


def test_a_split_reaches_training(comfyui, place):
    prompt = loaded(place) | node("IsengardSplitDataset", "split", dataset=["load", 0], share=0.3)
    got = found(comfyui, prompt, {"all": ("split", 0), "trained": ("split", 1), "out": ("split", 2)})
    assert sorted(names(got["trained"]) + names(got["out"])) == sorted(names(got["all"]))
    assert {sample.split for sample in got["out"]} == {"held_out"}
    text = {"text": graph.node("PreviewAny", "text", source=["split", 3])}
    shown = graph.run(comfyui, prompt | text)
    (text,) = shown.outputs["text"]["text"]
    assert text == f"all: {len(got['out'])} of 6 held out ({round(100 * len(got['out']) / 6)} %)"


def test_nothing_left_is_said_at_the_node(comfyui, place):
    prompt = loaded(place) | node("IsengardFilterByTag", "none", dataset=["load", 0], tags="dragon")
    with pytest.raises(NodeFailed, match="none of 6 pictures would be left .* Ask for less") as error:
        found(comfyui, prompt, {"kept": ("none", 0)})
    assert "IsengardFilterByTag" in str(error.value) or "Filter" in str(error.value)


@pytest.fixture(scope="module")
def clip_vision(comfy_model, tmp_path_factory):
    """ComfyUI's own class, small and with random weights."""
    import comfy.clip_vision

    config = {
        "attention_dropout": 0.0, "dropout": 0.0, "hidden_act": "quick_gelu", "hidden_size": 64, "image_size": 56,
        "intermediate_size": 128, "layer_norm_eps": 1e-5, "model_type": "clip_vision_model", "num_attention_heads": 4,
        "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 48, "torch_dtype": "float32",
    }  # fmt: skip
    file = tmp_path_factory.mktemp("clip") / "config.json"
    file.write_text(json.dumps(config))
    model = comfy.clip_vision.ClipVisionModel(str(file))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.normal_(0, 0.2)
    return model


def test_a_clip_vision_sees_who_is_odd(clip_vision, tmp_path):
    from isengard.nodes.curation.nodes import DropOddOnesOut

    person = [pictures.person(2, look, 96) for look in range(10)]
    odd = Image.fromarray(255 - np.asarray(person[0]))
    shown = pictures.dataset(tmp_path, {f"{n:02}.png": each for n, each in enumerate([*person, odd])})
    with torch.inference_mode():
        kept, dropped = DropOddOnesOut.execute(shown, clip_vision, 3.5).args
    assert names(dropped.samples) == ["10.png"]
    assert len(kept.samples) == 10


def test_a_clip_vision_takes_look_alikes_out(clip_vision, tmp_path):
    from isengard.nodes.curation.nodes import DeduplicateDataset

    scenes = {f"{number}.png": pictures.scene(number, (200, 200)) for number in range(4)}
    mirrored = {"mirrored.png": scenes["1.png"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)}
    shown = pictures.dataset(tmp_path, scenes | mirrored)
    with torch.inference_mode():
        assert DeduplicateDataset.execute(shown, 0.75).args[1].samples == ()
        vectors = [clip_vision.encode_image(torch.rand(1, 64, 64, 3), crop=False)["image_embeds"].shape]
        kept, dropped = DeduplicateDataset.execute(shown, 0.75, clip_vision, 0.0).args
    assert vectors == [(1, 48)]
    assert len(kept.samples) + len(dropped.samples) == 5
    assert dropped.samples
    assert all(sample.reason.startswith("look-alike of") for sample in dropped.samples)
