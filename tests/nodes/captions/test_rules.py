from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import rules
from isengard.nodes.captions.rules import RulesError
from isengard.nodes.captions.words import BREAK, bare, fragments, tags_of

TAG = st.sampled_from(["mira woman", "smile", "Smile", "(smile:1.2)", "blue_hair", "blue hair", "hat", "青い髪", BREAK,
                       "^_^", ":)", "(hat, coat:1.1)", "a woman with a very blue hat", "x BREAK y"])  # fmt: skip
CAPTION = st.lists(TAG, max_size=7).map(", ".join)


def edited(text, caption):
    for line in rules.parsed(text):
        (caption,) = rules.edited(line, [caption])
    return caption


@pytest.mark.parametrize(
    "rule, caption, expected",
    [
        ("add: smiling", "mira", "mira, smiling"),
        ("add: smiling, hat", "mira, Hat", "mira, Hat, smiling"),
        ("add: smiling", "", "smiling"),
        ("add: (smiling:1.2)", "mira, smiling", "mira, smiling"),
        ("add: hat, hat", "mira", "mira, hat"),
        ("add: outdoors", "She smiles.", "She smiles, outdoors"),
        ("add first: mira", "smiling", "mira, smiling"),
        ("add first: mira", "mira woman, smiling", "mira woman, smiling"),
        ("add first: mira", "admiral", "mira, admiral"),
        ("remove: blue hair", "mira, Blue_hair, x", "mira, x"),
        ("remove: a, b", "a, c, b", "c"),
        ("remove: blue hair", "blue blue hair hair", ""),
        ("remove words: woman", "mira woman, x", "mira, x"),
        ("remove: woman", "mira woman, x", "mira woman, x"),
        ("replace: grin => smile", "mira, (grin:1.1)", "mira, (smile:1.1)"),
        ("replace: grin =>", "mira, grin", "mira"),
        ("replace words: mira => zorvik", "Mira woman, mira's hat", "zorvik woman, zorvik's hat"),
        ("first: x, y", "a, y, b, x", "x, y, a, b"),
        ("first: z", "a ,b", "a ,b"),
        ("last: a", "a, b, (A:1.2)", "b, a, (A:1.2)"),
        ("sort", "z, y, BREAK, d, C", "y, z, BREAK, C, d"),
        ("once", "a, b, A", "a, b"),
        ("lowercase", "Mira BREAK BREAKFAST", "mira BREAK breakfast"),
        ("spaces", "blue_hair, ^_^, o_o, a_hat:1", "blue hair, ^_^, o_o, a hat:1"),
        (r"regex: (\w+) shirt => \1 coat", "mira, red shirt", "mira, red coat"),
        (r"regex: , \w+$ =>", "mira, red", "mira"),
        ("  ADD   First :  mira ", "x", "mira, x"),
        ("# nothing\n\n  # remove: x\r\nremove: y", "x, y", "x"),
    ],
)
def test_what_a_rule_does(rule, caption, expected):
    assert edited(rule, caption) == expected


def test_rules_are_applied_in_order():
    assert edited("replace: a => b\nreplace: b => c\nadd: a", "a") == "c, a"


@pytest.mark.parametrize(
    "text, message",
    [
        ("add: x\n\nremvoe: y", "line 3: 'remvoe: y' is no rule. A rule is one of:\n  add: smiling"),
        ("smiling", "line 1: 'smiling' is no rule"),
        ("remove:", "line 1: 'remove:': it does not say what. Write it as 'remove: blue hair'"),
        ("add: ,", "it does not say what"),
        ("replace: a, b", "it has to say what becomes what, with =>"),
        ("replace: => b", "it has to say what becomes what"),
        ("replace: a, b => c", "one tag or phrase is replaced at a time"),
        ("sort: a", "nothing follows it"),
        ("regex: a", "with => between"),
        ("x" * 20_001, "20001 characters"),
        ("sort\n" * 201, "201 rules; at most 200"),
    ],
)
def test_a_bad_line_is_named(text, message):
    with pytest.raises(RulesError) as raised:
        rules.parsed(text)
    assert message in str(raised.value)


def test_every_example_is_a_rule():
    found = rules.parsed("\n".join(rules.EXAMPLES))
    assert len(found) == len(rules.EXAMPLES)
    assert {type(line.rule) for line in found} == set(rules.Rule.__args__)


def test_a_pattern_that_is_none_names_its_line():
    with pytest.raises(RulesError, match=r"line 2: '\(x' cannot be used \(missing \)"):
        edited("sort\nregex: (x => y", "a")


def bare_tags(caption):
    return [bare(caption[start:end]) for start, end in fragments(caption)]


@given(CAPTION)
def test_sort_keeps_every_tag(caption):
    made = edited("sort", caption)
    assert sorted(tags_of(made)) == sorted(tags_of(caption))
    assert edited("sort", made) == made


@given(CAPTION)
def test_moving_keeps_every_tag(caption):
    made = edited("first: smile, hat", caption)
    assert sorted(tags_of(made)) == sorted(tags_of(caption))
    rest = [bare(tag) for tag in tags_of(made)]
    moved = [tag for tag in rest if tag in ("smile", "hat")]
    assert rest[: len(moved)] == sorted(moved, reverse=True)


@given(CAPTION)
def test_once_is_idempotent_and_loses_no_tag(caption):
    made = edited("once", caption)
    assert edited("once", made) == made
    assert set(bare_tags(made)) == set(bare_tags(caption))


@given(CAPTION, st.sampled_from(["smile", "blue hair", "hat", "青い髪", ":)", "mira woman"]))
def test_remove_leaves_no_such_tag(caption, phrase):
    made = edited(f"remove: {phrase}", caption)
    assert bare(phrase) not in bare_tags(made)
    assert edited(f"remove: {phrase}", made) == made


@given(CAPTION, st.sampled_from(["smile", "hat", "mira"]))
def test_what_is_added_is_there_once(caption, tag):
    made = edited(f"add: {tag}", caption)
    assert edited(f"add: {tag}", made) == made
    assert edited(f"add first: {tag}", made) == made
    assert made.startswith(caption)
