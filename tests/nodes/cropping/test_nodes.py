"""The cropping nodes on a real ComfyUI."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from isengard.nodes.dataset import folder
from isengard.tests import graph
from isengard.trainers import buckets
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui

TO_SUBJECT = {"subject_by": "mask", "framing": "full", "margin": 0.0, "if_not_found": "drop"}
TO_BUCKETS = {
    "resolution": 128, "crop": "buckets", "bucket_step": 32, "subject_by": "mask", "upscale_limit": 1.5,
    "too_small": "drop",
}  # fmt: skip


@pytest.fixture
def pictures(comfyui, request):
    """A folder with a masked picture and one without a mask; gives its name."""
    name = request.node.name.partition("[")[0]
    place = comfyui.base / "input" / name
    place.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate([(400, 200), (200, 100)]):
        Image.radial_gradient("L").resize(size).convert("RGB").save(place / f"{number}.png")
        (place / f"{number}.txt").write_text(f"mira, {number}")
    mask = Image.new("L", (400, 200))
    mask.paste(255, (250, 0, 350, 200))
    mask.save(place / "0-masklabel.png")
    return name


def loaded(name: str) -> dict:
    inputs = graph.DEFAULTS["IsengardLoadDataset"] | {"folder": name}
    return {"load": graph.node("IsengardLoadDataset", "load", **inputs)}


def cropped(source: str, node: str = "IsengardCropToSubject", title: str = "crop", **more) -> dict:
    inputs = (TO_SUBJECT if node == "IsengardCropToSubject" else TO_BUCKETS) | more
    return {title: graph.node(node, title, dataset=[source, 0], **inputs)}


def saved(name: str, socket: int = 0) -> dict:
    inputs = graph.DEFAULTS["IsengardSaveDataset"] | {"name": name}
    return {f"save {socket}": graph.node("IsengardSaveDataset", "save", dataset=["crop", socket], **inputs)}


def shown(socket: int = 2) -> dict:
    return {"text": graph.node("PreviewAny", "text", source=["crop", socket])}


def result(comfyui, name: str):
    return folder.load(comfyui.base / "output/isengard/datasets" / name, "x").dataset.samples


def test_pictures_are_cropped_to_their_masks_and_the_rest_comes_out_apart(comfyui, pictures):
    prompt = loaded(pictures) | cropped("load", framing="face + full") | saved(f"{pictures} kept")
    prompt |= {"dropped": graph.node("IsengardSaveDataset", "dropped", dataset=["crop", 1],
               **graph.DEFAULTS["IsengardSaveDataset"] | {"name": f"{pictures} dropped"})} | shown()  # fmt: skip
    finished = graph.run(comfyui, prompt)
    assert [(sample.name, sample.size, sample.tags) for sample in result(comfyui, f"{pictures} kept")] == [
        ("0 face.png", (52, 52), ("face",)),
        ("0 full.png", (100, 200), ("full",)),
    ]
    (dropped,) = result(comfyui, f"{pictures} dropped")
    assert (dropped.name, dropped.captions, dropped.reason) == ("1.png", ("mira, 1",), "it has no mask")
    assert "Dropped, 1:\n- 1.png: it has no mask" in finished.outputs["text"]["text"][0]


@pytest.mark.parametrize("as_list", [True, False])
def test_boxes_come_from_any_node(comfyui, pictures, as_list):
    """A text here: for all pictures, or made by a node that runs once for each."""
    box = {"x": 10, "y": 20, "width": 50, "height": 40}
    prompt = loaded(pictures) | {
        "apart": graph.node("IsengardDatasetToImages", "apart", dataset=["load", 0]),
        "all boxes": graph.node("PrimitiveString", "all boxes", value=json.dumps([[box], []])),
        "each box": graph.node(
            "RegexReplace", "each box", string=["apart", 1], regex_pattern="^.+$", replace=json.dumps(box)
        ),
    }  # fmt: skip
    source = "each box" if as_list else "all boxes"
    prompt |= cropped("load", subject_by="boxes", boxes=[source, 0]) | saved(f"{pictures} {as_list}")
    graph.run(comfyui, prompt)
    found = result(comfyui, f"{pictures} {as_list}")
    assert [sample.size for sample in found] == [(50, 40)] * (2 if as_list else 1)


def test_cores_own_boxes_are_understood(comfyui, pictures):
    prompt = loaded(pictures) | {
        "box": graph.node("PrimitiveBoundingBox", "box", x=10, y=20, width=50, height=40),
    } | cropped("load", subject_by="boxes", boxes=["box", 0]) | saved(pictures)  # fmt: skip
    try:
        graph.run(comfyui, prompt)
    except Exception as error:
        if "PrimitiveBoundingBox" in str(error):
            pytest.skip("this ComfyUI has no such node")
        raise
    assert [sample.size for sample in result(comfyui, pictures)] == [(50, 40)] * 2


def test_boxes_that_are_missing_or_none_are_told(comfyui, pictures):
    with pytest.raises(NodeFailed, match="no boxes are connected"):
        graph.run(comfyui, loaded(pictures) | cropped("load", subject_by="boxes") | shown())
    prompt = loaded(pictures) | cropped("load", subject_by="boxes", boxes=["load", 0]) | shown()
    with pytest.raises(NodeFailed, match="is no box"):
        graph.run(comfyui, prompt)


def test_pictures_are_cut_to_the_buckets_of_the_training(comfyui, pictures):
    prompt = loaded(pictures) | cropped("load", "IsengardCropToBuckets") | saved(pictures) | shown()
    finished = graph.run(comfyui, prompt)
    found = result(comfyui, pictures)
    for sample, before in zip(found, [(400, 200), (200, 100)], strict=True):
        width, height = sample.size
        assert before[0] == width or before[1] == height
        rows, columns = buckets.size_of(height, width, 128, 32)
        assert abs(width / height - columns / rows) < 0.02
    report = finished.outputs["text"]["text"][0]
    assert "Noted, 1:\n- 1.png: cut around its middle: it has no mask" in report


def test_crops_of_crops_are_trained_on(comfyui, pictures):
    """Face and all of it, in buckets; more around the face is shown than first asked for."""
    prompt = graph.job(dataset__folder=pictures, train__steps=1)
    (load,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "dataset"]
    (train,) = [node for node in prompt.values() if node["_meta"]["title"] == "train"]
    prompt |= cropped(load, title="faces", framing="face + full")
    prompt |= cropped("faces", "IsengardCropToBuckets", too_small="show more", upscale_limit=1.0) | saved(pictures)
    train["inputs"]["dataset"] = ["crop", 0]
    graph.run(comfyui, graph.without(prompt, "sheet", "chart"))
    face, full = result(comfyui, pictures)
    assert (face.tags, full.tags) == (("face",), ("full",))
    assert min(face.size) >= 96 > 52
    assert face.origin.parent == full.origin.parent != ""


def test_a_setting_that_training_refuses_is_told(comfyui, pictures):
    prompt = loaded(pictures) | cropped("load", "IsengardCropToBuckets", resolution=100) | shown()
    with pytest.raises(NodeFailed, match="resolution is 100; it must be a multiple of 8. The nearest is 96"):
        graph.run(comfyui, prompt)
