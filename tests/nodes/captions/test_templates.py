from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import templates
from isengard.nodes.captions.templates import TemplateError
from isengard.nodes.dataset.records import Dataset
from isengard.tests.nodes.captions.making import captions_of, dataset_of, sample

ALL = "{trigger}, {class}, {tags}, {caption}"


def filled(template, **values):
    names = {"class_noun": "class"}
    return templates.filled(templates.parsed(template), {names.get(key, key): value for key, value in values.items()})


def test_every_field_is_filled():
    given_in = Dataset("hero", (sample("rain/01.png", "smiling", tags=("red coat", "hat")), sample("x 0002", "sad")))
    template = "{number}: {trigger} {class}, {folder}, {name}, {tags}, {caption}"
    made = templates.by_template(given_in, template, "zorvik", "man")
    assert captions_of(made) == ["1: zorvik man, rain, 01, red coat, hat, smiling", "2: zorvik man, x 0002, sad"]


@pytest.mark.parametrize(
    "values, expected",
    [
        ({"trigger": "mira", "caption": "smiling"}, "mira, smiling"),
        ({"caption": "smiling"}, "smiling"),
        ({"trigger": "mira"}, "mira"),
        ({"class_noun": "woman", "tags": "a, b"}, "woman, a, b"),
        ({}, ""),
    ],
)
def test_empty_fields_leave_no_comma(values, expected):
    assert filled(ALL, **values) == expected


@given(st.fixed_dictionaries({key: st.sampled_from(["", "x", "a, b"]) for key in ("trigger", "tags", "caption")}))
def test_no_stray_commas_whatever_is_empty(values):
    made = filled("({tags}:1.1), photo of {trigger} {class}; {caption}, {tags}", **values)
    assert ", ," not in made
    assert "()" not in made
    assert made == made.strip(" ,")


def test_braces_and_spaces():
    assert filled("{{x}} { trigger }", trigger="mira") == "{x} mira"
    assert filled("a  {trigger}\n b", trigger="mira") == "a mira b"
    assert filled("{caption}", caption="{trigger} stays") == "{trigger} stays"


@pytest.mark.parametrize(
    "template, message",
    [
        ("{triger}", r"there is no field {triger}. Use one of {trigger}, {class}, {tags}, {caption}"),
        ("{trigger.x}", "there is no field {trigger.x}"),
        ("{trigger!r}", "there is no field"),
        ("{}", "there is no field {}"),
        ("x { y", r"a { alone at character 3. Write {{ for"),
        ("x }", "a } alone at character 3"),
        (" \n", "the template is empty"),
        ("x" * 10_001, "10001 characters; at most 10000"),
    ],
)
def test_a_bad_template_says_what_is_wrong(template, message):
    with pytest.raises(TemplateError, match=message):
        templates.by_template(dataset_of("a"), template)


def test_each_of_several_captions_and_none():
    made = templates.by_template(dataset_of(("a", "b"), ()), "{trigger}, {caption}", "mira")
    assert [each.captions for each in made.samples] == [("mira, a", "mira, b"), ("mira",)]
    same = templates.by_template(dataset_of(("a", "b")), "{trigger}", "mira")
    assert same.samples[0].captions == ("mira",)


def test_pictures_for_which_nothing_is_left_are_named():
    with pytest.raises(TemplateError, match=r"for 2 of 3 pictures \(2.png, 3.png\).*Add {trigger}"):
        templates.by_template(dataset_of("a", (), ()), "{caption}")


def test_all_else_of_a_picture_stays():
    given_in = sample("1.png", "a", tags=("x",), repeats=3, weight=0.5, split="held_out", scores={"sharp": 1.0})
    (made,) = templates.by_template(Dataset("hero", (given_in,)), "{trigger}", "mira").samples
    assert (made.tags, made.repeats, made.weight, made.split, made.scores) == (
        ("x",), 3, 0.5, "held_out", {"sharp": 1.0}
    )  # fmt: skip


def test_progress_is_told():
    told = []
    templates.by_template(dataset_of("a", "b"), "x", progress=lambda *each: told.append(each))
    assert told == [(1, 2), (2, 2)]
