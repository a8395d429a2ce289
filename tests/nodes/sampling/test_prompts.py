"""Prompts by a template."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isengard.nodes.captions.tokens import Length
from isengard.nodes.sampling import prompts
from isengard.nodes.sampling.prompts import FIELDS, PromptError

VALUES = {"trigger": "mira", "class": "woman", "tags": "red coat", "description": "kind {and} __old__"}
LISTS = {
    "place": ["in a street", "in a {dark|light} wood"], "empty": [], "itself": ["x __itself__"], "my lists/a-b": ["q"],
    "again": ["__place__"],
}  # fmt: skip


def fill(template: str, seed: int = 0, **values) -> str:
    return prompts.filled(template, VALUES | values, LISTS.__getitem__, seed)


def all_of(template: str, seeds: int = 200) -> Counter:
    return Counter(fill(template, seed) for seed in range(seeds))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{trigger} {class}, {tags}", "mira woman, red coat"),
        ("a { trigger } , smiling", "a mira , smiling"),
        ("{description}", "kind {and} __old__"),  # a person's words are no template
        (r"\{trigger\} \__place\__ a\|b", "{trigger} __place__ a|b"),
        ("a|b, snake_case_ and __", "a|b, snake_case_ and __"),
        ("{2::only|0::never}", "only"),
        ("{|}", ""),
        ("two\nlines", "two\nlines"),
        ("back\\slash \\n", "back\\slash \\n"),
    ],
)
def test_a_template_is_filled(template, expected):
    assert fill(template) == expected


def test_what_is_empty_leaves_no_comma():
    assert fill("{trigger}, {tags}, {class}", tags="") == "mira, woman"
    assert fill("{tags}, {trigger}", tags="") == "mira"
    assert fill("{trigger}, {tags}", tags="") == "mira"


def test_choices_and_lists_are_drawn_evenly_and_by_weight():
    assert set(all_of("{a|b|c}")) == {"a", "b", "c"}
    assert set(all_of("__place__")) == {"in a street", "in a dark wood", "in a light wood"}
    assert set(all_of("{x {1|2}|y __place__}")) == {"x 1", "x 2", *(f"y {each}" for each in all_of("__place__"))}
    weighted = all_of("{3::a|b}", 1000)
    assert 0.7 < weighted["a"] / 1000 < 0.8
    assert set(all_of("{a|b} {a|b}")) == {"a a", "a b", "b a", "b b"}, "each choice is its own"


def test_the_same_seed_makes_the_same_prompt():
    template = "{a|b|c|d} __place__ {1|2|3|4|5}"
    assert [fill(template, seed) for seed in range(20)] == [fill(template, seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{colour}", r"no field \{colour\}. Use one of \{trigger\}, .* for a choice"),
        ("{}", r"no field \{\}"),
        ("{a {b|c}}", "no field"),
        ("{a|b", "a { without a }"),
        ("a}", "a } without a {"),
        ("{0::a|0::b}", "all weights of a choice are 0"),
        ("__empty__", "the list empty is empty"),
        ("__itself__", "name each other more than 20 deep"),
        ("x" * 20_001, "at most 20000 are read"),
        ("{tags}" * 3000, "the prompt has more than 20000 characters"),
    ],
)
def test_what_cannot_be_filled_is_refused(template, message):
    with pytest.raises(PromptError, match=message):
        fill(template)


@given(some.text(alphabet="{}|\\_ab, :1", max_size=40))
def test_any_text_is_filled_or_refused(template):
    try:
        filled = prompts.filled(template, VALUES, lambda name: ["x"], 0)
    except PromptError:
        return
    assert len(filled) <= 40 * 20


@given(some.text(max_size=60), some.sampled_from(FIELDS))
def test_a_value_comes_out_as_it_is(value, field):
    """But for spaces and commas too many."""
    plain = "".join(value.replace(",", "").split())
    filled = prompts.filled(f"{{{field}}}", {field: plain}, LISTS.__getitem__, 0)
    assert filled == plain


def test_the_trigger_and_the_length_are_looked_at():
    short, long = Length("l", 12, 77), Length("l", 90, 77)
    assert prompts.notes("Mira, a hat", "mira", [short]) == []
    assert prompts.notes("a hat", "", [short]) == []
    missing, cut = prompts.notes("admiral, a hat", "mira", [long, short])
    assert "trigger 'mira' is not in the prompt" in missing
    assert "90 tokens" in cut and "l takes 77 at once" in cut
