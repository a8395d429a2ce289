"""The overview nodes on a real ComfyUI."""

from __future__ import annotations

import pytest
from PIL import Image

from isengard.tests import graph

pytestmark = pytest.mark.comfyui

SHOWN = {"columns": 3, "picture_size": 96, "per_page": 12, "most": 240, "show_masks": True}


@pytest.fixture
def hero(comfyui, request):
    """A folder with three pictures, of which the second is masked and the third has no caption; gives its name."""
    name = request.node.name
    place = comfyui.base / "input" / name
    place.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate([(64, 48), (32, 32), (48, 96)], 1):
        Image.new("RGB", size, "teal").save(place / f"{number}.png")
    (place / "1.txt").write_text("mira, 日本, from side", encoding="utf-8")
    (place / "2.txt").write_text("mira $x^ smiling", encoding="utf-8")
    Image.new("L", (32, 32), 128).save(place / "2-masklabel.png")
    return name


def loaded(name: str) -> dict:
    inputs = graph.DEFAULTS["IsengardLoadDataset"] | {"folder": name}
    return {"load": graph.node("IsengardLoadDataset", "load", **inputs)}


def test_pages_are_shown_and_given(comfyui, hero):
    prompt = loaded("[sample] Mira") | {
        "show": graph.node("IsengardShowDataset", "show", dataset=["load", 0], **SHOWN),
        "save": graph.node("SaveImage", "save", images=["show", 0], filename_prefix="pages"),
    }
    events = []
    finished = graph.run(comfyui, prompt, events.append)
    shown = finished.outputs["show"]["images"]
    assert len(shown) == 2
    assert {file["type"] for file in shown} == {"temp"}
    saved = [file for file in finished.files if file.node == "save"]
    assert len(saved) == 2
    told = [event["data"] for event in events if event["type"] == "progress" and event["data"]["node"] == "show"]
    assert (told[-1]["value"], told[-1]["max"]) == (20, 20)


def test_masks_and_captions_of_any_kind_are_shown(comfyui, hero):
    prompt = loaded(hero) | {"show": graph.node("IsengardShowDataset", "show", dataset=["load", 0], **SHOWN)}
    assert len(graph.run(comfyui, prompt).outputs["show"]["images"]) == 1


def test_the_report_is_shown_as_chart_and_text(comfyui, hero):
    prompt = loaded(hero) | {
        "report": graph.node("IsengardDatasetReport", "report", dataset=["load", 0], resolution=512, step=64),
        "text": graph.node("PreviewAny", "text", source=["report", 0]),
    }
    finished = graph.run(comfyui, prompt)
    (text,) = finished.outputs["report"]["text"]
    assert text.startswith(f"{hero}: 3 pictures, 32 x 32 to 48 x 96 pixels, 1 without a caption, 1 with a mask")
    assert "3 of 3 pictures are enlarged" in text
    assert finished.outputs["text"]["text"] == [text]
    assert graph.picture(comfyui, finished, "report", prompt).shape == (1000, 1600, 3)
