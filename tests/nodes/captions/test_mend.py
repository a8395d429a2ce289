from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import lint, mend
from isengard.nodes.captions.findings import MENDED, CheckError, Expected
from isengard.tests.nodes.captions.making import MIRA, SENTENCES, captions_of, dataset_of

WHO = Expected("mira", "woman")


def mended(captions, expected=WHO):
    return captions_of(mend.mended(dataset_of(*captions), expected))


def test_what_is_good_stays_as_it_is():
    given_in = dataset_of(*MIRA)
    assert mend.mended(given_in, WHO).hash == given_in.hash


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("woman, x", "mira woman, x"),
        ("A woman in a park, x", "A mira woman in a park, x"),
        ("a police woman, x", "mira, a police woman, x"),
        ("x, y", "mira woman, x, y"),
        ("mria woman, x", "mira woman, x"),
        ("mi ra woman, x", "mira woman, x"),
        ("", "mira woman"),
        ("mira, x, X, (x:1.2)", "mira, x"),
    ],
)
def test_one_caption(caption, expected):
    assert mended([*MIRA, caption])[-1] == expected


def test_what_may_be_another_word_stays_beside_the_trigger():
    captions = ["zorvik man, hat", "zorvik man, coat", "sorwik man, boots", "zorvik man, zorvk's hat, zorvikk"]
    assert mended(captions, Expected("zorvik", "man"))[2:] == [
        "zorvik, sorwik man, boots",
        "zorvik man, zorvik's hat, zorvik",
    ]


def test_without_a_class_noun_a_common_one_is_one():
    assert mended([*MIRA, "woman, x", "x"], Expected("mira"))[-2:] == ["mira woman, x", "mira, x"]


def test_phrases_that_compete_are_taken_out():
    assert mended([f"{caption}, (teal_hair:1.2)" for caption in MIRA]) == MIRA
    assert mended([sentence.format("with teal hair") for sentence in SENTENCES])[0] == (
        "A photo of mira, a woman, laughing in a park. She wears a red coat."
    )


def test_what_is_there_on_purpose_stays():
    captions = [f"{caption}, white backdrop" for caption in MIRA]
    assert mended(captions) == captions


def test_several_captions_and_none():
    made = mend.mended(dataset_of(("mira, a", "b"), (), ("", "mira, c")), WHO)
    assert [each.captions for each in made.samples] == [("mira, a", "mira woman, b"), ("mira woman",), ("mira, c",)]


def test_all_else_of_a_picture_stays():
    given_in = dataset_of("x", "y")
    samples = [replace(each, tags=("x",), repeats=2, weight=0.5, reason="r") for each in given_in.samples]
    made = mend.mended(given_in.of(samples), WHO).samples
    assert [replace(each, captions=()) for each in made] == [replace(each, captions=()) for each in samples]


@pytest.mark.parametrize("trigger", ["", " "])
def test_without_a_trigger_nothing_is_fixed(trigger):
    with pytest.raises(CheckError, match="cannot be fixed without a trigger"):
        mend.mended(dataset_of("a"), Expected(trigger))


PART = st.sampled_from(["mira", "mira woman", "mria", "zorvik", "teal hair", "long teal hair", "(teal hair:1.2)",
                        "smile", "a woman with teal hair and a hat", "woman", "BREAK", "(hat, teal hair:1.1)", "x", "",
                        "青い髪", ":)", "she has teal hair. It is wet"])  # fmt: skip


@given(
    st.lists(st.lists(PART, max_size=5).map(", ".join), min_size=1, max_size=9),
    st.sampled_from(["mira", "zorvik", "青"]),
)
def test_nothing_that_is_mended_is_found_afterwards(captions, trigger):
    expected = Expected(trigger, "woman", share=0.6)
    made = mend.mended(dataset_of(*captions), expected)
    assert [each for each in lint.check(made, expected) if each.kind in MENDED] == []
    assert mend.mended(made, expected).hash == made.hash
