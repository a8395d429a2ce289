from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import words

TEXT = st.text(alphabet="ab é,_()[]:1.。、青いミ'BREAK \\", max_size=40)


def keys(caption):
    return [word.key for word in words.words_of(caption)]


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("Mira woman, blue_hair", ["mira", "woman", "blue", "hair"]),
        ("(smile:1.2), [hat:0.5], ((x))", ["smile", "hat", "x"]),
        ("mira's don't’s", ["mira", "'s", "don't", "'s"]),
        ("gap-toothed grin", ["gap", "toothed", "grin"]),
        ("a BREAK b, BREAKFAST", ["a", "b", "breakfast"]),
        ("<lora:mira:0.8> 1girl", ["1girl"]),
        ("青い髪, miraちゃん", ["青", "い", "髪", "mira", "ち", "ゃ", "ん"]),
        ("Ｍｉｒａ zoe\u0301 zoé", ["mira", "zoé", "zoé"]),
        ("ガ か\u3099", ["ガ", "が"]),
        (":3, ^_^", ["3"]),
        ("", []),
    ],
)
def test_the_words_of_a_caption(caption, expected):
    assert keys(caption) == expected


@given(TEXT)
def test_words_are_in_order_and_where_they_say(caption):
    found = words.words_of(caption)
    ends = [0, *(place for word in found for place in (word.start, word.end))]
    assert ends == sorted(ends)
    assert all(words.fold(caption[word.start : word.end]) == word.key for word in found if word.key != "'s")
    assert [word.part for word in found] == sorted(word.part for word in found)


def test_commas_part_and_full_stops_begin_a_clause():
    found = words.words_of("a b, c. d 1.5 e、f BREAK g")
    assert [word.part for word in found] == [0, 0, 1, 1, 1, 1, 1, 2, 3]
    assert len({word.clause for word in found}) == 5


def test_a_phrase_is_found_as_whole_words_in_one_clause():
    assert words.has("with Blue_Hair", "blue hair")
    assert not words.has("blue, hair", "blue hair")
    assert not words.has("bluehair", "blue hair")
    assert not words.has("admiral", "mira")
    assert words.has("miraちゃん", "mira")
    assert words.has("彼女は青い髪です", "青い髪")
    assert words.has("I ♥ you", "♥")
    assert not words.has("mira", " ")


@pytest.mark.parametrize(
    "tag, expected",
    [
        ("((Blue_Hair:1.2))", "blue hair"),
        ("[smile]", "smile"),
        ("(smile", "smile"),
        ("smile:1.2)", "smile"),
        ("miku_(vocaloid)", "miku (vocaloid)"),
        (r"miku \(vocaloid\)", "miku (vocaloid)"),
        ("(miku (vocaloid):1.2)", "miku (vocaloid)"),
        (":)", ":)"),
        (":3", ":3"),
        ("^_^", "^ ^"),
        ("ミラ", "ミラ"),
    ],
)
def test_a_tag_without_emphasis(tag, expected):
    assert words.bare(tag) == expected


@given(TEXT)
def test_the_core_of_a_tag_is_part_of_it_and_never_nothing(tag):
    start, end = words.core(tag)
    assert 0 <= start <= end <= len(tag)
    assert start < end or not tag


def test_tags_with_commas_in_brackets_are_one():
    assert words.tags_of("mira woman, (red hat, smile:1.2), , :( , x") == [
        "mira woman",
        "(red hat, smile:1.2)",
        ":(",
        "x",
    ]
    assert words.tags_of("ミラ、笑顔，帽子") == ["ミラ", "笑顔", "帽子"]
    assert words.tags_of(r"a \(b, c\)") == [r"a \(b", r"c\)"]


def test_fragments_are_within_brackets_too():
    text = "mira, (red hat , smile:1.2) BREAK x,"
    assert [text[start:end] for start, end in words.fragments(text)] == ["mira", "(red hat", "smile:1.2)", "x"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("light blue hair", False),
        ("looking at viewer", False),
        ("a woman with blue hair", True),
        ("mira's big red coat", False),
        ("青い髪の女性", False),
        ("彼女は青い髪で、".strip("、"), False),
        ("彼女は青い髪で笑っている女性です", True),
    ],
)
def test_what_reads_as_a_sentence(text, expected):
    assert words.is_prose(words.words_of(text)) is expected


@pytest.mark.parametrize(
    "forms",
    [
        ("smile", "smiles", "smiled", "smiling"),
        ("glass", "glasses"),
        ("freckle", "freckles", "freckled"),
        ("eye", "eyes", "eyed"),
        ("hair", "haired"),
        ("earring", "earrings"),
        ("blond", "blonde"),
        ("青",),
    ],
)
def test_forms_of_a_word_have_one_stem(forms):
    assert len({words.stem(form) for form in forms}) == 1


@pytest.mark.parametrize("one, other", [("red", "reed"), ("ring", "king"), ("bus", "bun"), ("dress", "dre")])
def test_other_words_have_other_stems(one, other):
    assert words.stem(one) != words.stem(other)


@pytest.mark.parametrize(
    "caption, expected", [("mira", True), (" ,.。", False), ("", False), ("♥", True), ("青", True)]
)
def test_what_says_something(caption, expected):
    assert words.says_something(caption) is expected


@pytest.mark.parametrize("bad", ["(" * 3000, ":" + "1" * 20000, "," * 20000, "<" * 20000, "a'" * 9000, "(1:" * 5000])
def test_long_nonsense_is_read_at_once(bad):
    """Quadratic would be seconds here, and cubic would not end."""
    words.words_of(bad)
    words.tags_of(bad)
    words.bare(bad)
    words.fragments(bad)
