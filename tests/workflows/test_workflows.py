"""Every shipped workflow, in both formats, fits the server; and the check itself sees what is broken."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest

from isengard.tests.conftest import ROOT
from isengard.tests.workflows.validate import problems, values_by_name
from isengard.workflows.client import title

FOLDER = ROOT / "workflows"
FILES = sorted([*FOLDER.glob("*.json"), *FOLDER.glob("api/*.json")])
MIRA = ROOT / "sota" / "sample_character" / "mira"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"  # as ComfyUI's own first template has it


@pytest.fixture(scope="module")
def info(comfyui):
    """/object_info with the files that the workflows name in its lists (lists of names: the files are not opened)."""
    models = comfyui.base / "models"
    named = [
        models / "loras" / "mira.safetensors", models / "checkpoints" / CHECKPOINT,
        models / "clip_vision" / "sigclip_vision_patch14_384.safetensors",
    ]  # fmt: skip
    placed = [file for file in named if not file.exists()]
    for file in placed:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    with urllib.request.urlopen(f"{comfyui.url}/object_info") as response:
        yield json.load(response)
    for file in placed:
        file.unlink()


def read(name: str) -> dict:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_both_formats_are_shipped():
    assert {"quickstart.json", "train_character.json", "compare_lora.json"} <= {
        file.name for file in (FOLDER / "api").glob("*.json")
    }
    assert len(FILES) > 2


@pytest.mark.comfyui
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(FOLDER).as_posix())
def test_it_fits_the_server(file, info):
    assert problems(json.loads(file.read_text(encoding="utf-8")), info) == []


@pytest.mark.parametrize("name", ["quickstart.json", "train_character.json", "compare_lora.json"])
def test_the_prompts_are_none_of_the_captions(name):
    """What the sheet shows was not learnt by heart."""
    (sheet,) = [node for node in read(f"api/{name}").values() if node["class_type"] == "IsengardContactSheet"]
    captions = {file.read_text(encoding="utf-8").strip() for file in MIRA.glob("*.txt")}
    prompts = sheet["inputs"]["prompts"].splitlines()
    assert captions
    assert len(prompts) >= 2
    assert not captions & set(prompts)


@pytest.mark.comfyui
@pytest.mark.parametrize("file", [file for file in FILES if file.parent == FOLDER], ids=lambda file: file.name)
def test_the_template_and_its_api_form_are_one_job(file, info):
    prompt = json.loads((FOLDER / "api" / file.name).read_text(encoding="utf-8"))
    in_api = {title(prompt, number): (node["class_type"], written(node)) for number, node in prompt.items()}
    nodes = json.loads(file.read_text(encoding="utf-8"))["nodes"]
    in_template = {
        node["title"]: (node["type"], values_by_name(node, info[node["type"]]))
        for node in nodes
        if node["type"] in info
    }
    for name, (class_type, values) in in_api.items():
        assert in_template[name] == (class_type, values)


def written(node: dict) -> dict:
    """The inputs that are no links."""
    return {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}


def set_input(node: str, name: str, value) -> Callable[[dict], None]:
    return lambda prompt: prompt[node]["inputs"].update({name: value})


BROKEN_PROMPTS = {
    "no such node": (lambda p: p["4"].update(class_type="IsengardTrainLoRA"), "no such node on the server"),
    "required input gone": (lambda p: p["4"]["inputs"].pop("vae"), "vae is missing"),
    "required value gone": (lambda p: p["4"]["inputs"].pop("steps"), "steps is missing"),
    "unknown input": (set_input("4", "stepz", 3), "stepz: no such input"),
    "below the range": (set_input("4", "steps", -1), "-1 is not within 0 to 1000000"),
    "above the range": (set_input("6", "cfg", 100.5), "100.5 is not within"),
    "text for a number": (set_input("4", "steps", "300"), "'300' is no INT"),
    "fraction for a whole number": (set_input("4", "rank", 16.5), "16.5 is no INT"),
    "true for a number": (set_input("4", "rank", True), "True is no INT"),
    "number for text": (set_input("6", "prompts", 7), "7 is no STRING"),
    "choice of a V3 node": (set_input("5", "precision", "fp8"), "'fp8' is none of"),
    "choice of a V1 node": (set_input("1", "ckpt_name", "sd4.safetensors"), "'sd4.safetensors' is none of"),
    "value for a socket": (set_input("4", "dataset", "mira"), "wants a link"),
    "link to nowhere": (set_input("4", "vae", ["99", 2]), "node 99, which is not there"),
    "link to no output": (set_input("4", "vae", ["1", 3]), "output 3 of node 1, which has 3"),
    "link of another type": (set_input("4", "vae", ["1", 1]), "linked to a CLIP, wants a VAE"),
    "link of another custom type": (set_input("7", "run", ["4", 0]), "linked to a LORA_MODEL, wants a ISENGARD_RUN"),
    "two of a name": (lambda p: p["6"]["_meta"].update(title="train"), "2 nodes are named 'train'"),
    "nothing to see": (lambda p: [p.pop(number) for number in ("5", "6", "7")], "no node puts anything out"),
}


@pytest.mark.comfyui
@pytest.mark.parametrize("fault", BROKEN_PROMPTS)
def test_a_broken_prompt_is_seen(fault, info):
    damage, expected = BROKEN_PROMPTS[fault]
    prompt = read("api/train_character.json")
    damage(prompt)
    found = problems(prompt, info)
    assert len([problem for problem in found if expected in problem]) == 1, found


def template() -> dict:
    """A small workflow as the editor saves it: a checkpoint into a sampler with its widgets."""
    return {
        "nodes": [
            {
                "id": 1, "type": "CheckpointLoaderSimple", "inputs": [], "widgets_values": ["sd3.safetensors"],
                "outputs": [
                    {"name": "MODEL", "type": "MODEL", "links": [1]},
                    {"name": "CLIP", "type": "CLIP", "links": [2, 3]},
                    {"name": "VAE", "type": "VAE", "links": []},
                ],
            },
            {"id": 2, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 2}],
             "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING", "links": [4]}], "widgets_values": ["mira"]},
            {"id": 3, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 3}],
             "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING", "links": [5]}], "widgets_values": [""]},
            {"id": 4, "type": "EmptyLatentImage", "inputs": [], "widgets_values": [128, 128, 1],
             "outputs": [{"name": "LATENT", "type": "LATENT", "links": [6]}]},
            {
                "id": 5, "type": "KSampler",
                "inputs": [
                    {"name": "model", "type": "MODEL", "link": 1},
                    {"name": "positive", "type": "CONDITIONING", "link": 4},
                    {"name": "negative", "type": "CONDITIONING", "link": 5},
                    {"name": "latent_image", "type": "LATENT", "link": 6},
                ],
                "outputs": [{"name": "LATENT", "type": "LATENT", "links": None}],
                "widgets_values": [7, "randomize", 20, 4.0, "euler", "normal", 1.0],
            },
            {"id": 6, "type": "MarkdownNote", "inputs": [], "outputs": [], "widgets_values": ["a note"]},
        ],
        "links": [
            [1, 1, 0, 5, 0, "MODEL"], [2, 1, 1, 2, 0, "CLIP"], [3, 1, 1, 3, 0, "CLIP"],
            [4, 2, 0, 5, 1, "CONDITIONING"], [5, 3, 0, 5, 2, "CONDITIONING"], [6, 4, 0, 5, 3, "LATENT"],
        ],
    }  # fmt: skip


def set_widgets(place: int, values: list) -> Callable[[dict], None]:
    return lambda workflow: workflow["nodes"][place].update(widgets_values=values)


BROKEN_TEMPLATES = {
    "no such node": (lambda w: w["nodes"][4].update(type="KSamplr"), "5 (KSamplr): no such node on the server"),
    "no such output": (lambda w: w["nodes"][0]["outputs"].pop(), "its outputs are ['MODEL', 'CLIP']"),
    "widget missing": (set_widgets(4, [7, "randomize", 20, 4.0, "euler", "normal"]), "6 widget values for 7 widgets"),
    "control missing": (set_widgets(4, [7, 20, 4.0, "euler", "normal", 1.0]), "6 widget values for 7 widgets"),
    "values out of order": (set_widgets(4, [7, "fixed", 4.0, 20, "euler", "normal", 1.0]), "steps: 4.0 is no INT"),
    "unknown control": (set_widgets(4, [7, "never", 20, 4.0, "euler", "normal", 1.0]), "'never' is none of"),
    "no such choice": (set_widgets(0, ["sd4.safetensors"]), "'sd4.safetensors' is none of"),
    "out of range": (set_widgets(3, [128, 128, 0]), "batch_size: 0 is not within"),
    "no such input": (lambda w: w["nodes"][4]["inputs"][0].update(name="modell"), "modell: no such input"),
    "input not linked": (lambda w: w["nodes"][1]["inputs"][0].update(link=None), "clip is not linked"),
    "link gone": (lambda w: w["links"].pop(0), "model: link 1 does not lead here"),
    "link to nowhere": (lambda w: w["links"][0].__setitem__(3, 99), "joins 1 and 99"),
    "link of another type": (lambda w: w["links"][5].__setitem__(5, "IMAGE"), "a IMAGE, from a LATENT to a LATENT"),
    "link between types": (lambda w: w["links"][0].__setitem__(2, 1), "nodes 1 and 5 do not know of it"),
}


@pytest.mark.comfyui
def test_a_sound_template_is_found_sound(info):
    assert problems(template(), info) == []


@pytest.mark.comfyui
@pytest.mark.parametrize("fault", BROKEN_TEMPLATES)
def test_a_broken_template_is_seen(fault, info):
    damage, expected = BROKEN_TEMPLATES[fault]
    workflow = template()
    damage(workflow)
    found = problems(workflow, info)
    assert [problem for problem in found if expected in problem], found
