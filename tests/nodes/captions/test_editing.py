from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import editing
from isengard.nodes.captions.words import bare, fragments

CAPTION = st.lists(
    st.sampled_from(["mira", "blue hair", "light blue hair", "(blue_hair:1.2)", "((smile", "smile))", "BREAK", "青い髪",
                     "with blue hair and a hat", ":)", "a woman with very long blue hair", "", "."]),
    max_size=6,
).map(", ".join)  # fmt: skip


def without(caption, phrase, inside_tags=False):
    return editing.without(caption, editing.spans(caption, phrase, inside_tags))


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("mira, blue hair, smile", "mira, smile"),
        ("mira, Blue_Hair, smile", "mira, smile"),
        ("blue hair, mira", "mira"),
        ("mira, blue hair", "mira"),
        ("mira, (blue hair:1.2), smile", "mira, smile"),
        ("mira, ((blue hair)), smile", "mira, smile"),
        ("mira, (blue hair, smile:1.2)", "mira, (smile:1.2)"),
        ("mira, (smile, blue hair:1.2)", "mira, (smile:1.2)"),
        ("mira, light blue hair, blue hair ribbon", "mira, light blue hair, blue hair ribbon"),
        ("mira woman with blue hair, smile", "mira woman, smile"),
        ("mira has blue hair and a red coat.", "mira has a red coat."),
        ("A woman with blue hair and a red coat stands there.", "A woman with a red coat stands there."),
        ("A woman with freckles and blue hair.", "A woman with freckles."),
        ("She stands there, her blue hair is wet.", "She stands there, is wet."),
        ("She has blue hair.", ""),
        ("It rains. She has blue hair. She waits.", "It rains. She waits."),
        ("She has blue hair! It rains, and she has blue hair.", "It rains."),
        ("mira, with her blue hair, smile", "mira, smile"),
        ("mira (with blue hair), smile", "mira, smile"),
        ("blue hair", ""),
        ("a BREAK blue hair BREAK c", "a BREAK BREAK c"),
        ("bluehair, blue, hair", "bluehair, blue, hair"),
        ("mira, smile, :), blue hair, ?", "mira, smile, :), ?"),
    ],
)
def test_a_phrase_is_taken_out_whole(caption, expected):
    assert without(caption, "blue hair") == expected


def test_scripts_without_spaces():
    assert without("ミラ, 青い髪, 笑顔", "青い髪") == "ミラ, 笑顔"
    assert without("ミラ、青い髪、笑顔", "青い髪") == "ミラ、笑顔"
    assert without("ミラ, 長い青い髪", "青い髪") == "ミラ, 長い青い髪"
    assert without("彼女は青い髪をした若い女性で、笑っている", "青い髪") == "彼女はをした若い女性で、笑っている"


def test_within_tags_only_where_asked():
    assert without("mira woman, light blue hair", "blue") == "mira woman, light blue hair"
    assert without("mira woman, light blue hair", "blue", inside_tags=True) == "mira woman, light hair"
    assert without("mira_blue_hair, x", "blue", inside_tags=True) == "mira hair, x"


def test_a_possessive_goes_with_its_noun():
    assert without("mira's hat is red", "mira") == "hat is red"


def test_what_is_not_there_changes_nothing():
    untidy = "mira ,  smile , , x ."
    assert without(untidy, "blue hair") == untidy


@given(CAPTION, st.booleans())
def test_nothing_stray_is_left(caption, inside_tags):
    left = without(caption, "blue hair", inside_tags)
    if left != caption:
        assert ", ," not in left
        assert left == left.strip(" ,")
        assert "  " not in left
        assert "(:" not in left
        assert "()" not in left


@given(CAPTION)
def test_other_tags_stay(caption):
    def others(text):
        tags = [bare(text[start:end]) for start, end in fragments(text)]
        return [tag for tag in tags if "blue hair" not in tag and any(sign.isalnum() for sign in tag)]

    assert not Counter(others(caption)) - Counter(others(without(caption, "blue hair")))


@pytest.mark.parametrize(
    "caption, old, new, expected",
    [
        ("mira, (Grin:1.2)", "grin", "smile", "mira, (smile:1.2)"),
        ("mira, grinning", "grin", "smile", "mira, grinning"),
        ("a man with a grin, and a grin", "grin", "smile", "a man with a smile, and a smile"),
        ("mira, grin, x", "grin", "", "mira, x"),
        ("grin", "grin", r"\1", r"\1"),
        ("a b a b a", "a b a", "x", "x b a"),
    ],
)
def test_a_phrase_becomes_another(caption, old, new, expected):
    assert editing.replaced(caption, old, new) == expected


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("a, b, A", "a, b"),
        ("blue hair, (blue_hair:1.2), x", "blue hair, x"),
        ("(a, b:1.2), b", "(a, b:1.2)"),
        ("b, (a, b:1.2)", "b, (a:1.2)"),
        ("smile, smiling", "smile, smiling"),
        (":d, ;d", ":d, ;d"),
        ("a BREAK a, c", "a BREAK, c"),
    ],
)
def test_tags_that_were_there(caption, expected):
    assert editing.once(caption) == expected


@given(CAPTION)
def test_once_is_once(caption):
    left = editing.once(caption)
    tags = [bare(left[start:end]) for start, end in fragments(left)]
    assert len(tags) == len(set(tags))
    assert editing.once(left) == left


@pytest.mark.parametrize("bad", ["," * 20000, "( " * 9000, " ," * 9000, "(" * 400 + ")" * 400])
def test_long_nonsense_is_tidied_at_once(bad):
    editing.tidy(bad)
