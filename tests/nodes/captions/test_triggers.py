from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import triggers
from isengard.nodes.captions.findings import Expected, read
from isengard.tests.nodes.captions.making import MIRA, dataset_of

GOOD = ["mira woman, smiling, red shirt", "mira woman, sad girl in the rain", "Mira's hat, more light"]


def found(captions, trigger="mira"):
    read_in = read(dataset_of(*captions), Expected(trigger))
    misses = triggers.misses(read_in, trigger)
    return [
        (each.caption, read_in[each.caption].text[each.start : each.end], each.sure, each.lacking) for each in misses
    ]


def test_the_sample_character_has_it_everywhere():
    assert found(MIRA) == []


@pytest.mark.parametrize(
    "having", ["Mira, x", "mira's hat", "(mira:1.2)", "mira_woman", "photo of mira.", "miraちゃん"]
)
def test_the_trigger_is_there(having):
    assert found([*GOOD, having]) == []


@pytest.mark.parametrize("lacking", ["woman, smiling", "admiral", "sad girl in the rain", "red shirt, more light"])
def test_the_trigger_is_missing(lacking):
    """Also where a word of the other captions is near to it: girl, more."""
    assert found([*GOOD, lacking]) == [(3, "", False, True)]


@pytest.mark.parametrize("typo", ["mria", "mirra", "myra", "mira1", "mir", "nira", "mi ra"])
def test_a_slip(typo):
    assert found([*GOOD, f"{typo} woman, smiling"]) == [(3, typo, True, True)]


@pytest.mark.parametrize("typo, sure", [("zorvk", True), ("zorivk", True), ("sorwik", False), ("zo rvik", True)])
def test_a_slip_in_a_longer_trigger(typo, sure):
    captions = ["zorvik man, smiling", "zorvik man, sad", f"{typo} man, angry"]
    assert found(captions, "zorvik") == [(2, typo, sure, True)]


def test_two_letters_of_a_short_trigger():
    assert found([*GOOD, "mrai woman"]) == [(3, "mrai", False, True)]
    assert found([*GOOD, "nire woman"]) == [(3, "", False, True)]


def test_words_with_function_words_are_no_slip():
    assert found(["sara, a", "as a raven"], "sara") == [(1, "", False, True)]


def test_a_short_trigger():
    assert found(["sks, sky", "sky", "skss, x"], "sks") == [(1, "", False, True), (2, "skss", False, True)]
    assert found(["xo", "xa"], "xo") == [(1, "", False, True)]


def test_a_slip_beside_the_trigger_is_found_where_it_is_rare():
    captions = ["zorvik man, smiling"] * 30
    assert found([*captions, "zorvik man, zorvk's hat"], "zorvik") == [(30, "zorvk", True, False)]
    assert found([each + ", zorviks" for each in captions], "zorvik") == []


def test_triggers_of_several_words_of_signs_and_of_other_scripts():
    assert found(["m1ra_girl, x", "M1ra  girl"], "m1ra girl") == []
    assert found(["m1ra girl, x", "m1ragirl", "mira girl, y", "girl m1ra"], "m1ra girl") == [
        (1, "m1ragirl", True, True),
        (2, "mira girl", True, True),
        (3, "", False, True),
    ]
    assert found(["(ohwx) cat", "cat"], "(ohwx)") == [(1, "", False, True)]
    assert found(["★, x", "x"], "★") == [(1, "", False, True)]
    assert found(["ミラは笑う", "笑顔"], "ミラ") == [(1, "", False, True)]
    assert found(["zoe\u0301 woman"], "zo\u00e9") == []


@pytest.mark.parametrize(
    "one, other, apart",
    [("mira", "mira", 0), ("mira", "mria", 1), ("mira", "mir", 1), ("mira", "xmira", 1), ("mira", "mxxa", 2),
     ("a", "abcd", 3), ("ca", "abc", 3), ("", "ab", 2)],
)  # fmt: skip
def test_how_far_words_are_apart(one, other, apart):
    """Of "ca" and "abc", optimal string alignment says 3, where Damerau's own distance is 2."""
    assert triggers.distance(one, other, 5) == apart
    assert triggers.distance(one, other, 1) == min(apart, 2)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_the_same_both_ways(one, other):
    assert triggers.distance(one, other, 9) == triggers.distance(other, one, 9)
    assert (triggers.distance(one, other, 9) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= triggers.distance(one, other, 9) <= max(len(one), len(other))
