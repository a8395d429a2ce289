"""The boxes of a Scene node, in a real browser on a real ComfyUI."""

from __future__ import annotations

import uuid

import pytest

pytestmark = [pytest.mark.comfyui, pytest.mark.browser]

OPEN = """(id) => {
    const node = (id, type, x, values, inputs, outputs) => ({id, type, pos: [x, 100], size: [340, 900], flags: {},
        order: 0, mode: 0, inputs, outputs, properties: {}, widgets_values: values});
    const link = (name, link) => ({name, type: "ISENGARD_SCENE_CHARACTER", link});
    const who = (id, links) => node(id, "IsengardSceneCharacter", 60, ["[connected]", "x", 1, 0, ""], [],
        [{name: "scene_character", type: "ISENGARD_SCENE_CHARACTER", links},
         {name: "prompt", type: "STRING", links: []}]);
    const scene = node(3, "IsengardScene", 500, ["", "", 1024, 512, "", "refuse", 0.2, 0.15, 16],
        [{name: "model", type: "MODEL", link: null}, {name: "clip", type: "CLIP", link: null}, link("character_1", 1),
         link("character_2", 2)], []);
    const nodes = [who(1, [1]), who(2, [2]), scene];
    return app.loadGraphData({id, version: 0.4, last_node_id: 3, last_link_id: 2, nodes,
        links: [[1, 1, 0, 3, 2, "ISENGARD_SCENE_CHARACTER"], [2, 2, 0, 3, 3, "ISENGARD_SCENE_CHARACTER"]], groups: []},
        true, true, id);
}"""
SHOWN = """() => {
    const scene = app.graph.getNodeById(3);
    const part = scene?.widgets.find((widget) => widget.name === "layout_boxes")?.element;
    return part?.isConnected && part.querySelectorAll(".isengard-layout-box").length === 2
        && document.querySelectorAll(".isengard-layout").length === 1;
}"""
BOXES = "() => app.graph.getNodeById(3).widgets.find((widget) => widget.name === 'boxes').value"


@pytest.fixture
def scene(editor):
    editor.ask(OPEN, str(uuid.uuid4()))
    editor.wait(SHOWN)
    return editor


def drag(editor, locator, right: float, down: float, corner: bool = False) -> None:
    """By shares of the picture's sides."""
    picture = editor.page.locator(".isengard-layout-picture").bounding_box()
    box = (locator.locator(".isengard-layout-handle") if corner else locator).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    editor.page.mouse.move(x, y)
    editor.page.mouse.down()
    editor.page.mouse.move(x + right * picture["width"] / 2, y + down * picture["height"] / 2)
    editor.page.mouse.move(x + right * picture["width"], y + down * picture["height"])
    editor.page.mouse.up()


def box(editor, place: int):
    return editor.page.locator(".isengard-layout-box").nth(place)


def numbers(editor) -> list[list[float]]:
    return [[float(each) for each in line.split()] for line in editor.ask(BOXES).splitlines()]


def test_without_boxes_they_stand_side_by_side_in_the_pictures_shape(scene):
    picture = scene.page.locator(".isengard-layout-picture").bounding_box()
    assert picture["width"] / picture["height"] == pytest.approx(2, rel=0.03)
    first, second = (box(scene, place).bounding_box() for place in (0, 1))
    assert first["width"] == pytest.approx(picture["width"] / 2, abs=3)
    assert second["x"] == pytest.approx(first["x"] + first["width"], abs=3)
    assert scene.ask(BOXES) == ""


def test_a_box_is_dragged_and_sized_and_the_other_stays(scene):
    drag(scene, box(scene, 1), right=-0.2, down=0, corner=True)
    assert numbers(scene) == [[0, 0, 50, 100], [50, 0, pytest.approx(30, abs=1), 100]]
    drag(scene, box(scene, 1), right=0.1, down=0.5)
    assert numbers(scene) == [[0, 0, 50, 100], [pytest.approx(60, abs=1), 0, pytest.approx(30, abs=1), 100]]
    drag(scene, box(scene, 1), right=0, down=-0.4, corner=True)
    drag(scene, box(scene, 1), right=5, down=5)
    (_, (left, top, width, height)) = numbers(scene)
    assert left + width == pytest.approx(100) and top + height == pytest.approx(100), "it stays in the picture"


def test_boxes_that_overlap_are_marked_unless_one_is_in_front(scene):
    assert box(scene, 0).get_attribute("data-refused") == "false"
    scene.ask("""() => {
        const widget = app.graph.getNodeById(3).widgets.find((widget) => widget.name === "boxes");
        widget.value = "0 0 60 100\\n40 0 60 100";
        widget.callback(widget.value);
    }""")
    assert box(scene, 0).get_attribute("data-refused") == "true"
    scene.ask("""() => {
        const widget = app.graph.getNodeById(3).widgets.find((widget) => widget.name === "overlap");
        widget.value = "the first is in front";
        widget.callback(widget.value);
    }""")
    assert box(scene, 0).get_attribute("data-refused") == "false"


def test_keys_move_a_box_and_nonsense_is_told(scene):
    box(scene, 0).focus()
    scene.page.keyboard.press("Shift+ArrowLeft")
    scene.page.keyboard.press("ArrowRight")
    assert numbers(scene)[0] == [1, 0, 49, 100]
    scene.ask("""() => {
        const widget = app.graph.getNodeById(3).widgets.find((widget) => widget.name === "boxes");
        widget.value = "nonsense";
        widget.callback(widget.value);
    }""")
    assert "no box" in scene.page.locator(".isengard-layout").inner_text()


def test_undo_takes_a_drag_back(scene):
    drag(scene, box(scene, 1), right=-0.2, down=0, corner=True)
    scene.wait("() => app.graph.getNodeById(3).widgets.find((w) => w.name === 'boxes').value !== ''")
    scene.page.keyboard.press("Control+z")
    scene.wait("() => app.graph.getNodeById(3)?.widgets.find((w) => w.name === 'boxes').value === ''")
