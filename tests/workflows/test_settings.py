"""Workflows from files, and values set in them by name."""

from __future__ import annotations

import json

import pytest

from isengard.tests.conftest import ROOT
from isengard.workflows.settings import SettingError, WorkflowError, apply, declared_inputs, load

INFO = {  # in the shape of /object_info, with both ways it writes choices
    "Loader": {"input": {"required": {"file": [["a.safetensors", "b.safetensors"], {"tooltip": "…"}]}}},
    "Train": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "steps": ["INT", {"default": 1, "min": 1}],
                "rate": ["FLOAT", {}],
                "name": ["STRING", {"multiline": True}],
                "mixed.depth": ["INT"],
            },
            "optional": {
                "fast": ["BOOLEAN", {"default": False}],
                "mode": ["COMBO", {"options": ["plain", "fine", 7]}],
                "remote": ["COMBO", {"remote": {"route": "/x"}}],
            },
            "hidden": {"unique_id": ["UNIQUE_ID"]},
        }
    },
}


def prompt() -> dict:
    return {
        "1": {"class_type": "Loader", "inputs": {"file": "a.safetensors"}, "_meta": {"title": "base"}},
        "2": {
            "class_type": "Train",
            "inputs": {"model": ["1", 0], "steps": 10, "rate": 0.1, "name": "x", "mixed.depth": 1},
            "_meta": {"title": "train v1.5"},
        },
        "3": {"class_type": "Train", "inputs": {"model": ["1", 0], "steps": ["9", 0], "rate": 0.1, "name": "x"}},
    }


@pytest.mark.parametrize(
    "setting, node, name, value",
    [
        ("train v1.5.steps=200", "2", "steps", 200),
        ("2.steps=-3", "2", "steps", -3),
        ("3.rate=1e-4", "3", "rate", 1e-4),
        ("2.rate=2", "2", "rate", 2.0),
        ("2.name=a=b.c", "2", "name", "a=b.c"),
        ("2.name=", "2", "name", ""),
        ("2.name=17", "2", "name", "17"),
        ("2.name=one\ntwo", "2", "name", "one\ntwo"),
        ("2.mixed.depth=4", "2", "mixed.depth", 4),
        ("train v1.5.mixed.depth=4", "2", "mixed.depth", 4),
        ("2.fast=True", "2", "fast", True),
        ("2.fast=no", "2", "fast", False),
        ("2.mode=fine", "2", "mode", "fine"),
        ("2.mode=7", "2", "mode", 7),
        ("2.remote=whatever", "2", "remote", "whatever"),
        ("base.file=b.safetensors", "1", "file", "b.safetensors"),
    ],
)
def test_a_value_is_set_with_its_type(setting, node, name, value):
    given = prompt()
    found = apply(given, [setting], INFO)
    assert found[node]["inputs"][name] == value
    assert type(found[node]["inputs"][name]) is type(value)
    assert given == prompt()  # untouched
    found[node]["inputs"].pop(name)
    given[node]["inputs"].pop(name, None)
    assert found == given  # nothing else was set


def test_the_last_of_several_wins():
    assert apply(prompt(), ["2.steps=5", "2.steps=6"], INFO)["2"]["inputs"]["steps"] == 6


@pytest.mark.parametrize(
    "setting, message",
    [
        ("2.steps", "Write it as node.input=value"),
        ("steps=5", r"the nodes are: base \(1\), train v1.5 \(2\), 3 \(3\)\."),
        ("trian.steps=5", r"'trian.steps' names no input .* base \(1\)"),
        ("2.stepz=5", "train v1.5 has no value 'stepz' to set. It has: steps, rate, name, mixed.depth, fast, mode"),
        ("2.unique_id=5", "has no value 'unique_id'"),
        ("2.model=sd3", "train v1.5.model comes from base and cannot be set"),
        ("3.steps=5", "3.steps comes from 9 and cannot be set"),
        ("2.steps=many", "2.steps is 'many'; it must be a whole number"),
        ("2.steps=1.5", "it must be a whole number"),
        ("2.rate=nan", "2.rate is 'nan'; it must be a number"),
        ("2.rate=inf", "it must be a number"),
        ("2.fast=maybe", "it must be true or false"),
        ("2.mode=rough", "2.mode is 'rough'; choose one of: plain, fine, 7"),
        ("base.file=c.safetensors", "choose one of: a.safetensors, b.safetensors"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        apply(prompt(), [setting], INFO)


def test_a_title_of_two_nodes_is_refused_and_their_ids_are_named():
    twins = prompt()
    twins["3"]["_meta"] = {"title": "train v1.5"}
    with pytest.raises(SettingError, match="'train v1.5' names more than one node. Use an id: 2, 3"):
        apply(twins, ["train v1.5.steps=5"], INFO)


def test_a_title_that_is_anothers_id_is_refused():
    twins = prompt()
    twins["3"]["_meta"] = {"title": "2"}
    with pytest.raises(SettingError, match="more than one node"):
        apply(twins, ["2.steps=5"], INFO)


def test_a_node_that_the_server_lacks_is_told():
    with pytest.raises(SettingError, match="base: the server has no node 'Loader'. Install its pack"):
        apply(prompt(), ["base.file=x"], {"Train": INFO["Train"]})


def test_both_ways_of_writing_choices_are_a_combo():
    assert declared_inputs(INFO["Loader"])["file"][0] == "COMBO"
    assert declared_inputs(INFO["Loader"])["file"][1]["options"] == ["a.safetensors", "b.safetensors"]
    assert declared_inputs(INFO["Train"])["mode"][1]["options"] == ["plain", "fine", 7]


@pytest.mark.parametrize(
    "text, message",
    [
        (
            '{"nodes": [], "links": [], "version": 0.4}',
            r"graph editor's format; this wants the API format.*Export \(API\)",
        ),
        ("{", "is not JSON"),
        ("[]", "no workflow in ComfyUI's API format"),
        ("{}", "no workflow in ComfyUI's API format"),
        ('{"1": {"class_type": "Loader"}}', "no workflow in ComfyUI's API format"),
        ('{"1": {"inputs": {}}}', "no workflow in ComfyUI's API format"),
        ('{"1": "Loader"}', "no workflow in ComfyUI's API format"),
    ],
)
def test_a_file_that_is_no_api_workflow_is_told(tmp_path, text, message):
    file = tmp_path / "some workflow.json"
    file.write_text(text)
    with pytest.raises(WorkflowError, match=message) as caught:
        load(file)
    assert "some workflow.json" in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path):
    with pytest.raises(WorkflowError, match="cannot be read: No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(WorkflowError, match="is not JSON"):
        load(tmp_path / "picture.json")


def test_a_workflow_is_read_as_it_is(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(prompt()))
    assert load(tmp_path / "w.json") == prompt()


def test_every_template_is_told_from_its_api_form():
    for template in (ROOT / "workflows").glob("*.json"):
        with pytest.raises(WorkflowError, match="graph editor's format"):
            load(template)
