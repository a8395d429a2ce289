"""The caption nodes on a real ComfyUI."""

from __future__ import annotations

import shutil

import pytest

from isengard.nodes.characters.library import Library
from isengard.sota import sample_character
from isengard.tests import graph
from isengard.tests.nodes.captions.making import MIRA
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui


@pytest.fixture
def characters(comfyui):
    """The server's own library, empty."""
    root = comfyui.base / "user" / "default" / "isengard" / "characters"
    shutil.rmtree(root, ignore_errors=True)
    return Library(root)


@pytest.fixture
def hero(comfyui, request):
    """The sample character's pictures, each caption by `captions`, in a folder of the test's name; gives its node."""

    def made(caption=lambda number, text: text):
        name = request.node.name.partition("[")[0]
        place = comfyui.base / "input" / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(sample_character.FOLDER, place)
        for number, file in enumerate(sorted(place.glob("*.txt"))):
            file.write_text(caption(number, file.read_text(encoding="utf-8").strip()), encoding="utf-8")
        return {"load": graph.node("IsengardLoadDataset", "load", folder=name, default_caption="")}

    return made


def told(source: list, name: str = "told") -> dict:
    """The captions of a data set, a line each."""
    apart = {f"{name} apart": graph.node("IsengardDatasetToImages", "apart", dataset=source)}
    return apart | {name: graph.node("PreviewAny", name, source=[f"{name} apart", 1])}


def checked(**inputs) -> dict:
    everything = {"dataset": ["load", 0], "trigger": "", "class_noun": "", "family": "any", "share": 0.8, "fix": False}
    return {"check": graph.node("IsengardCheckCaptions", "check", **everything | inputs)}


def test_a_template_is_filled_with_the_characters_words(comfyui, characters, hero):
    characters.put("Mira", trigger="zorvik", class_noun="elf")
    who = {"who": graph.node("IsengardLoadCharacter", "who", character="mira")}
    template = {"dataset": ["load", 0], "template": "{trigger} {class}, {tags}, {name}, {caption}"}
    prompt = hero(lambda number, text: "smiling") | who
    for title, more in (("own", {}), ("given", {"trigger": "m1ra", "class_noun": ""})):
        node = graph.node("IsengardCaptionByTemplate", title, character=["who", 0], **template, **more)
        prompt |= {title: node} | told([title, 0], f"{title} told")
    shown = graph.run(comfyui, prompt).outputs
    assert shown["own told"]["text"][0] == "zorvik elf, mira_01, smiling"
    assert shown["given told"]["text"][0] == "m1ra elf, mira_01, smiling"
    assert len(shown["own told"]["text"]) == 20


def test_texts_of_another_node_become_captions(comfyui, hero):
    """Core's own node changes each text; the list goes round once."""
    prompt = hero() | {
        "apart": graph.node("IsengardDatasetToImages", "apart", dataset=["load", 0]),
        "texts": graph.node("StringReplace", "texts", string=["apart", 1], find="mira", replace="zorvik"),
        "captions": graph.node("IsengardCaptionFromText", "x", dataset=["load", 0], texts=["texts", 0], mode="replace"),
    }
    shown = graph.run(comfyui, prompt | told(["captions", 0])).outputs
    assert shown["told"]["text"] == [text.replace("mira", "zorvik") for text in MIRA]


def test_too_few_texts(comfyui, hero):
    prompt = hero() | {
        "text": graph.node("StringReplace", "text", string="a", find="b", replace="c"),
        "captions": graph.node("IsengardCaptionFromText", "x", dataset=["load", 0], texts=["text", 0], mode="append"),
    }
    with pytest.raises(NodeFailed, match="there are 20 pictures and 1 texts"):
        graph.run(comfyui, prompt | told(["captions", 0]))


def edited(rules: str, **more) -> dict:
    return {"edit": graph.node("IsengardEditCaptions", "edit", dataset=["load", 0], rules=rules, **more)}


def test_rules_edit_and_the_node_shows_what_they_did(comfyui, hero):
    prompt = hero() | edited("remove: red shirt\nreplace words: mira => zorvik", only_with="red shirt")
    shown = graph.run(comfyui, prompt | told(["edit", 0])).outputs
    assert shown["told"]["text"][0] == "zorvik woman, smiling, blue background, facing right"
    assert shown["told"]["text"][1] == MIRA[1]
    assert shown["edit"]["text"][0].startswith(
        "3 of 20 pictures have other captions now.\n\nline 1, remove: red shirt: 3"
    )


def test_a_bad_rule_names_its_line(comfyui, hero):
    with pytest.raises(NodeFailed, match="line 2: 'remvoe: x' is no rule"):
        graph.run(comfyui, hero() | edited("sort\nremvoe: x"))


def test_a_pattern_that_would_never_end_is_done_at_once(comfyui, hero):
    """Python's own `re` would hang the server for years."""
    prompt = hero(lambda number, text: "a" * 60 + "!") | edited("regex: ^(a+)+$ => x")
    assert graph.run(comfyui, prompt).outputs["edit"]["text"][0].startswith("0 of 20 pictures")


def test_the_sample_character_is_clean(comfyui, characters, hero):
    (shown,) = graph.run(comfyui, hero() | checked(trigger="mira", class_noun="woman")).outputs["check"]["text"]
    assert "nothing found in any picture" in shown


def test_findings_are_flagged_told_and_fixed(comfyui, characters, hero):
    characters.put("Mira", trigger="mira", class_noun="woman", description="She has teal hair.")
    characters.put("Bruno Maar", trigger="brn0")
    leaks = {3: "woman, hat", 5: "mira woman, brn0 in the rain"}
    prompt = hero(lambda number, text: leaks.get(number, f"{text}, freckles"))
    prompt |= {"who": graph.node("IsengardLoadCharacter", "who", character="mira")}
    prompt |= checked(character=["who", 0], family="flux") | told(["check", 0]) | told(["check", 1], "flagged")
    shown = graph.run(comfyui, prompt).outputs
    report = shown["check"]["text"][0]
    assert report.index("Trigger missing (1)") < report.index("'freckles' is in 90% of the captions")
    assert "'brn0' is another character's" in report
    assert "captions are tags, and this model wants sentences" in report
    assert "For Flux.1: Write sentences" in report
    assert len(shown["told"]["text"]) == len(shown["flagged"]["text"]) == 20
    prompt["check"]["inputs"]["fix"] = True
    shown = graph.run(comfyui, prompt).outputs
    assert shown["told"]["text"][0] == MIRA[0]
    assert shown["told"]["text"][3] == "mira woman, hat"
    assert shown["flagged"]["text"] == [leaks[5]]
    assert "Fixed: 19 pictures" in shown["check"]["text"][0]


def test_a_character_that_comes_to_the_library_is_looked_for(comfyui, characters, hero):
    prompt = hero(lambda number, text: f"{text}, brn{number}") | checked(trigger="mira", class_noun="woman")
    assert "another character's" not in graph.run(comfyui, prompt).outputs["check"]["text"][0]
    characters.put("Bruno", trigger="brn7")
    assert "'brn7' is another character's" in graph.run(comfyui, prompt).outputs["check"]["text"][0]


@pytest.mark.parametrize("base", ["sd15", "demo base"])
def test_tokens_are_counted_by_the_models_own_tokenizer(comfyui, characters, hero, base):
    long = {0: "mira " + "cat " * 74, 1: "mira " + "cat " * 75}
    node = (
        graph.node("IsengardDemoBase", "base")
        if base == "demo base"
        else graph.node("CheckpointLoaderSimple", "base", ckpt_name="sd15.safetensors")
    )
    prompt = hero(lambda number, text: long.get(number, text)) | {"base": node}
    prompt |= checked(trigger="mira", class_noun="woman", clip=["base", 1])
    report = graph.run(comfyui, prompt).outputs["check"]["text"][0]
    assert "Too long for the text encoder (1)\n- 80 tokens, and 77 fit" in report
    assert "(mira_02.png)" in report
    assert "Tokens were not counted" not in report


def test_fixing_needs_a_trigger(comfyui, characters, hero):
    with pytest.raises(NodeFailed, match="cannot be fixed without a trigger"):
        graph.run(comfyui, hero() | checked(fix=True))


def test_fixed_captions_are_trained_on(comfyui, characters, hero):
    prompt = graph.job(train__steps=1)
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    prompt |= hero(lambda number, text: text.replace("mira ", "")) | checked(
        trigger="mira", class_noun="woman", fix=True
    )
    prompt[train]["inputs"]["dataset"] = ["check", 0]
    graph.run(comfyui, graph.without(prompt, "save", "chart", "sheet", "dataset"))
