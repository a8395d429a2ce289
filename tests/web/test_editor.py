"""What a person does in the graph editor, in a real browser on a real ComfyUI."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from PIL import Image

from isengard.tests.comfyui.server import Server

pytestmark = [pytest.mark.comfyui, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
TEMPLATES = sorted(file.stem for file in WORKFLOWS.glob("*.json"))
NODES = sorted(file.stem for file in (ROOT / "web" / "docs").glob("*.md"))
QUICK = {
    "checkpoint__ckpt_name": "sd3.safetensors",
    "config__batch_size": 1,
    "config__resolution": 64,
    "sheet__prompts": "mira woman",
    "sheet__seeds": 1,
    "sheet__steps": 2,
    "sheet__width": 64,
    "sheet__height": 64,
}


def template(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def training(editor):
    """The editor with the training template open, as a workflow of its own, set to run quickly."""
    own = uuid.uuid4()
    editor.open(template("train_character") | {"id": str(own)}, "training")
    editor.set(train__seed=own.int % 2**32, **QUICK)  # else ComfyUI gives the result of the test before
    editor.record()
    return editor


def test_the_pack_adds_no_message_to_the_console(shared_editor, open_editor):
    with Server(pack_name=None, checkpoints=(), shares_cores=True) as bare:
        expected = open_editor(bare.url).messages
    assert shared_editor.messages - expected == set()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_opens_from_the_dialog(editor, name):
    editor.page.locator(".templates-tab-button").click()
    dialog = editor.page.get_by_role("dialog")
    dialog.get_by_text("isengard", exact=True).click()  # the pack's own templates, at the left
    card = dialog.get_by_test_id(f"template-workflow-{name}")
    with Image.open(WORKFLOWS / f"{name}.jpg") as picture:  # without one the dialog shows a picture of its own
        size = list(picture.size)
    shown = card.locator("img").element_handle()
    editor.wait("([shown, size]) => shown.naturalWidth === size[0] && shown.naturalHeight === size[1]", [shown, size])
    card.click()
    dialog.wait_for(state="detached")
    editor.wait("(count) => app.graph.nodes.length === count", len(template(name)["nodes"]))
    assert editor.page.locator(".p-toast-message").all_inner_texts() == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_no_missing_node_and_no_broken_link(editor, name):
    editor.open(template(name), name)
    assert editor.ask(FAULTS) == []
    assert editor.ask("() => app.graph.links.size") == len(template(name)["links"])


FAULTS = """() => {
    const faults = [];
    const known = LiteGraph.registered_node_types;
    for (const node of app.graph.nodes) {
        if (!known[node.type]) faults.push(`${node.title}: no node type ${node.type}`);
        for (const input of node.inputs) {
            const needed = node.constructor.nodeData?.input?.required?.[input.name] && !input.widget;
            if (needed && input.link == null) faults.push(`${node.title}: nothing in ${input.name}`);
        }
    }
    for (const link of app.graph.links.values()) {
        const output = app.graph.getNodeById(link.origin_id)?.outputs[link.origin_slot];
        const input = app.graph.getNodeById(link.target_id)?.inputs[link.target_slot];
        const joined = input?.link === link.id && output?.links.includes(link.id);
        if (!joined) faults.push(`link ${link.id} hangs`);
        else if (output.type !== link.type || input.type !== link.type) // the editor makes slots up for broken links
            faults.push(`link ${link.id}, ${link.type}: ${output.type} into ${input.type}`);
    }
    return faults;
}"""


@pytest.mark.parametrize("name", [name for name in TEMPLATES if (WORKFLOWS / "api" / f"{name}.json").is_file()])
def test_a_template_is_the_same_job_as_the_workflow_for_scripts(editor, name):
    editor.open(template(name), name)
    prompt = editor.ask("async () => (await app.graphToPrompt()).output")
    scripted = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert {number: node for number, node in prompt.items() if node != scripted.get(number)} == {}
    assert prompt.keys() == scripted.keys()


TYPED = [
    ("IsengardTrainConfig", "resolution", 512),
    ("IsengardPictureSettings", "resolution", 512),
    ("IsengardPictureSettings", "bucket_step", 32),
    ("IsengardPictureSettings", "caption_dropout", 0.05),
    ("IsengardLossSettings", "noise_offset", 0.0357),
    ("IsengardLossSettings", "huber_delta", 0.001),
    ("IsengardLossSettings", "guidance", 3.5),
    ("IsengardOptimizerSettings", "weight_decay", 0.0001),
    ("IsengardOptimizerSettings", "ema_decay", 0.9999),
    ("IsengardTrainLora", "learning_rate", 6e-5),
]


@pytest.mark.parametrize(("node", "widget", "value"), TYPED)
def test_what_is_typed_is_what_is_set(editor, node, widget, value):
    """The editor rounds to the step of an input, counted from its smallest value."""
    kept = editor.ask(
        """([type, name, value]) => {
            const node = LiteGraph.createNode(type);
            app.graph.add(node);
            const widget = node.widgets.find((widget) => widget.name === name);
            widget.value = value;
            widget.callback?.(value);
            app.graph.remove(node);
            return widget.value;
        }""",
        [node, widget, value],
    )
    assert kept == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_in_a_template_overlaps(editor, name):
    editor.open(template(name), name)
    editor.wait("() => app.graph.nodes.every((node) => node.boundingRect[2] > 0)")
    assert editor.ask(OVERLAPS) == []


OVERLAPS = """() => {
    const apart = (a, b) => a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1];
    const nodes = app.graph.nodes;
    return nodes.flatMap((one, place) => nodes.slice(place + 1)
        .filter((other) => !apart(one.boundingRect, other.boundingRect))
        .map((other) => `${one.title} and ${other.title}`));
}"""


def test_run_trains_and_shows_its_pictures(training):
    training.set(train__steps=20)
    training.run()
    training.wait_for_state("finished")
    running = [shown for shown in training.seen() if shown["state"] == "running" and shown["points"] > 0]
    assert running, "the loss did not come while it trained"
    assert "step 1 / 20" in running[0]["text"]
    assert "loss " in running[0]["text"] and "s/step" in running[0]["text"] and "left" in running[0]["text"]
    assert training.live.get_attribute("data-points") == "20"
    assert training.live.locator(".isengard-live-raw").get_attribute("d").count("L") == 19
    assert "finished: 20 steps" in training.live.inner_text()

    for title in ("sheet", "chart"):
        training.wait(SHOWS_A_PICTURE, title)
    training.wait("() => /saved as mira.*safetensors/.test(document.querySelector('.isengard-line').textContent)")
    assert training.page.get_by_role("dialog").count() == 0
    assert training.ask("() => app.lastExecutionError ?? null") is None


SHOWS_A_PICTURE = """(title) => {
    const node = app.graph.nodes.find((node) => node.title === title);
    return node.imgs?.length === 1 && node.imgs[0].naturalWidth > 0;
}"""


def test_a_data_set_is_prepared_and_what_was_found_is_shown(editor):
    own = template("prepare_dataset") | {"id": str(uuid.uuid4())}
    editor.open(own, "preparing")
    report = editor.page.locator(".isengard-report")
    assert report.inner_text() == "What is found appears here."
    editor.run()
    for title in ("kept", "dropped", "report"):
        editor.wait(SHOWS_A_PICTURE, title)
    found = "() => document.querySelector('.isengard-report').textContent.includes('Mira: 20 pictures, 20 captions')"
    editor.wait(found)
    editor.wait("() => document.querySelector('.isengard-line').textContent.startsWith('isengard/datasets/mira prep')")
    prompt = editor.ask("async () => JSON.stringify(await app.graphToPrompt())")
    assert "20 pictures" not in prompt, "what is shown is saved with the workflow"
    editor.open(template("train_character"), "another")
    editor.open(own, "preparing again")
    editor.wait(found)


def test_interrupting_is_shown_and_another_run_works(training):
    training.set(train__steps=100_000)
    training.run()
    training.wait("() => +document.querySelector('.isengard-live').dataset.points > 1")
    training.cancel()
    training.wait_for_state("interrupted")
    assert "interrupted at step" in training.live.inner_text()
    assert int(training.live.get_attribute("data-points")) > 1, "the curve of an interrupted run is gone"

    training.set(train__steps=3)
    training.run()
    training.wait_for_state("finished")
    assert training.live.get_attribute("data-points") == "3", "a new run must clear the curve"


def test_finish_now_ends_the_run_and_the_graph_goes_on(training):
    button = training.live.locator(".isengard-live-finish")
    assert not button.is_visible(), "there is nothing to finish"
    training.set(train__steps=100_000)
    training.run()
    training.wait("() => +document.querySelector('.isengard-live').dataset.points > 1")
    button.click()
    training.wait_for_state("finished")
    assert "finished: " in training.live.inner_text()
    training.wait(SHOWS_A_PICTURE, "sheet")
    assert not button.is_visible()
    assert training.ask("() => app.lastExecutionError ?? null") is None


ADD_ADAPTER_SETTINGS = """(alpha) => {
    const settings = LiteGraph.createNode("IsengardAdapterSettings");
    app.graph.add(settings);
    settings.widgets.find((widget) => widget.name === "alpha").value = alpha;
    const train = app.graph.nodes.find((node) => node.title === "train");
    const slot = train.findInputSlot("config");
    const link = app.graph.links.get(train.inputs[slot].link);
    app.graph.getNodeById(link.origin_id).connect(link.origin_slot, settings, settings.findInputSlot("config"));
    settings.connect(0, train, slot);
}"""


def test_a_failure_is_shown(training):
    training.ask(ADD_ADAPTER_SETTINGS, 1_000_000)
    training.set(train__steps=1000, train__learning_rate=1.0, train__rank=4)
    training.run()
    training.wait("() => document.querySelector('.isengard-live').dataset.state === 'failed'")
    assert "failed at step" in training.live.inner_text()
    assert "Lower the learning rate" in training.live.get_attribute("title")
    training.page.keyboard.press("Escape")
    training.page.get_by_role("dialog").wait_for(state="detached")


def test_the_curve_stays_with_its_workflow(training):
    training.set(train__steps=40)
    training.ask("() => { app.api.addEventListener('execution_success', () => (window.ended = true)); }")
    training.run()
    training.wait("() => +document.querySelector('.isengard-live').dataset.points > 0")
    workflow = json.loads(training.ask("() => JSON.stringify(app.graph.serialize())"))
    training.open(workflow | {"id": str(uuid.uuid4())}, "a copy")
    training.wait("() => window.ended")
    assert training.live.get_attribute("data-state") == "idle", "the curve belongs to another workflow"
    training.open(workflow, "back")
    assert training.live.get_attribute("data-state") == "finished"
    assert training.live.get_attribute("data-points") == "40"


def test_the_curve_shows_in_a_subgraph(training):
    training.ask(
        """() => {
            const train = app.graph.nodes.find((node) => node.title === "train");
            app.graph.convertToSubgraph(new Set([train]));
            const inner = app.graph.nodes.find((node) => node.subgraph).subgraph.nodes[0];
            inner.widgets.find((widget) => widget.name === "steps").value = 4;
            window.shown = () => inner.widgets.find((widget) => widget.name === "live_loss").element.dataset;
        }"""
    )
    training.run()
    training.wait("() => window.shown().state === 'finished'")
    assert training.ask("() => window.shown().points") == "4"


def test_the_curve_shows_with_nodes_2(training):
    switch = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    training.ask(switch, True)
    try:
        node = training.page.locator(".lg-node:has(.isengard-live)")
        node.wait_for()
        training.set(train__steps=4)
        training.run()
        training.wait_for_state("finished")
        assert node.locator(".isengard-live-plot").bounding_box()["height"] > 30
        training.page.locator(".lg-node img[src*=sheet]").wait_for()
    finally:
        training.ask(switch, False)


def test_nothing_of_the_live_part_is_saved(training):
    values = "() => app.graph.serialize().nodes.map((node) => node.widgets_values.length)"
    shipped = [len(node["widgets_values"]) for node in template("train_character")["nodes"]]
    assert sorted(training.ask(values)) == sorted(shipped)


@pytest.mark.parametrize("node", NODES)
def test_a_node_has_a_help_page_about_all_it_has(editor, node):
    about = editor.ask("async (node) => (await (await fetch(`/object_info/${node}`)).json())[node]", node)
    response = editor.page.request.get(f"{editor.url}/extensions/isengard/docs/{node}.md")
    assert response.ok and "html" not in response.headers["content-type"]
    text = response.text()
    inputs = about["input_order"]
    names = [*inputs["required"], *inputs.get("optional", []), *about["output_name"]]
    assert [name for name in names if f"**{name}**" not in text] == []
    for heading in ("## Inputs", "## Outputs", "## Example", "## When something goes wrong"):
        assert heading in text


def test_every_node_has_a_help_page(editor):
    ours = "() => Object.keys(LiteGraph.registered_node_types).filter((name) => name.startsWith('Isengard')).sort()"
    assert editor.ask(ours) == NODES


def test_a_help_page_opens_beside_its_node(training):
    place = training.ask(
        """() => {
            const train = app.graph.nodes.find((node) => node.title === "train");
            const [x, y] = app.canvas.convertOffsetToCanvas([train.pos[0] + 80, train.pos[1] - 15]);
            const canvas = app.canvas.canvas.getBoundingClientRect();
            return [x + canvas.left, y + canvas.top];
        }"""
    )
    training.page.mouse.click(*place)
    training.page.get_by_test_id("info-button").click()
    help_text = training.page.get_by_text("Each step takes some pictures of the data set")
    help_text.wait_for()
    assert help_text.is_visible()
