"""The nodes of data sets on a real ComfyUI."""

from __future__ import annotations

import json
import zipfile

import pytest
from PIL import Image

from isengard.nodes.dataset import folder
from isengard.tests import graph
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui


@pytest.fixture
def pictures(comfyui, request):
    """A folder with two pictures of different size, one masked, and a damaged one; gives its name."""
    name = request.node.name.partition("[")[0]
    place = comfyui.base / "input" / name
    place.mkdir(parents=True, exist_ok=True)
    for number, (colour, size) in enumerate([("red", (64, 48)), ("blue", (32, 32))]):
        Image.new("RGB", size, colour).save(place / f"{number}.png")
        (place / f"{number}.txt").write_text(f"mira, {colour}")
    Image.new("L", (32, 32), 255).save(place / "1-masklabel.png")
    (place / "2.png").write_text("no picture")
    return name


def loaded(name: str, **more) -> dict:
    inputs = graph.DEFAULTS["IsengardLoadDataset"] | {"folder": name, "skip_unreadable": True} | more
    return {"load": graph.node("IsengardLoadDataset", "load", **inputs)}


def saved(source: str, **more) -> dict:
    inputs = graph.DEFAULTS["IsengardSaveDataset"] | more
    return {"save": graph.node("IsengardSaveDataset", "save", dataset=[source, 0], **inputs)}


def test_a_data_set_goes_through_other_nodes_and_to_disk(comfyui, pictures):
    """Every picture is turned by a node of ComfyUI's own that works on one picture at a time."""
    prompt = loaded(pictures) | {
        "apart": graph.node("IsengardDatasetToImages", "apart", dataset=["load", 0]),
        "turned": graph.node("ImageRotate", "turned", image=["apart", 0], rotation="90 degrees"),
        "again": graph.node(
            "IsengardDatasetFromImages", "again", images=["turned", 0], captions=["apart", 1], name="x"
        ),
    } | saved("again", name=pictures)  # fmt: skip
    graph.run(comfyui, prompt)
    found = folder.load(comfyui.base / "output/isengard/datasets" / pictures, "x").dataset
    assert [(sample.size, sample.captions) for sample in found.samples] == [
        ((48, 64), ("mira, red",)),
        ((32, 32), ("mira, blue",)),
    ]


def test_the_report_names_what_was_left_out(comfyui, pictures):
    prompt = loaded(pictures) | {"text": graph.node("PreviewAny", "text", source=["load", 1])}
    (shown,) = graph.run(comfyui, prompt).outputs["text"]["text"]
    assert shown == (
        f"{pictures}: 2 pictures, 32 x 32 to 64 x 48 pixels, 1 with a mask\n\n"
        f"Left out, 1:\n- {pictures}/2.png: not a picture, 10 bytes"
    )


@pytest.mark.parametrize("layout", ["folder", "kohya", "ai-toolkit", "imagefolder"])
def test_what_was_saved_can_be_trained_on(comfyui, pictures, layout):
    """Saved below input/ in effect: moved there, as the help says."""
    name = f"{pictures} {layout}"
    graph.run(comfyui, loaded(pictures) | saved("load", name=name, layout=layout))
    (comfyui.base / "output/isengard/datasets" / name).rename(comfyui.base / "input" / name)
    prompt = graph.without(graph.job(dataset__folder=name, train__steps=1), "sheet", "chart")
    assert graph.run(comfyui, prompt).files == []
    original = folder.load(comfyui.base / "input" / pictures, "x", folder.Options(skip_unreadable=True)).dataset
    assert folder.load(comfyui.base / "input" / name, "x").dataset.hash == original.hash


def test_an_archive_that_exists_is_kept(comfyui, pictures):
    for _ in range(2):
        prompt = loaded(pictures) | saved("load", name=pictures, zip=True)
        (comfyui.base / "input" / pictures / "0.txt").write_text("another caption")
        graph.run(comfyui, prompt)
    place = comfyui.base / "output/isengard/datasets"
    for name in (pictures, f"{pictures}-2"):
        with zipfile.ZipFile(place / f"{name}.zip") as archive:
            lines = archive.read(f"{name}/manifest.jsonl").splitlines()
            assert len(lines) == 3
            assert json.loads(lines[0])["name"] == pictures


def test_a_picture_without_a_caption_is_not_trained_on(comfyui, pictures):
    (comfyui.base / "input" / pictures / "1.txt").unlink()
    prompt = graph.job(dataset__folder=pictures, dataset__skip_unreadable=True)
    with pytest.raises(NodeFailed, match=r"1 of 2 pictures of .* have no caption \(1.png\)"):
        graph.run(comfyui, prompt)


def test_loading_shows_its_progress(comfyui, pictures):
    events = []
    graph.run(comfyui, loaded(pictures) | saved("load", name=pictures), events.append)
    for node in ("load", "save"):
        told = [event["data"] for event in events if event["type"] == "progress" and event["data"]["node"] == node]
        assert (told[-1]["value"], told[-1]["max"]) == ((3, 3) if node == "load" else (2, 2))


def test_a_changed_caption_is_loaded_anew(comfyui, pictures):
    prompt = loaded(pictures) | {
        "apart": graph.node("IsengardDatasetToImages", "apart", dataset=["load", 0]),
        "text": graph.node("PreviewAny", "text", source=["apart", 1]),
    }
    graph.run(comfyui, prompt)
    (comfyui.base / "input" / pictures / "0.txt").write_text("changed")
    assert "changed" in str(graph.run(comfyui, prompt).outputs["text"]["text"])


@pytest.mark.parametrize("name", ["../up", "/tmp/x", ""])
def test_a_name_that_climbs_out(comfyui, pictures, name):
    with pytest.raises(NodeFailed, match="is not a plain name"):
        graph.run(comfyui, loaded(pictures) | saved("load", name=name))
