from __future__ import annotations

import pytest

from isengard.nodes.captions import given
from isengard.tests.nodes.captions.making import dataset_of


def captioned(dataset, texts, mode):
    return [sample.captions for sample in given.captioned(dataset, texts, mode).samples]


def test_texts_become_captions():
    pictures = dataset_of("a", ("b", "c"), ())
    texts = [" x\n y ", "z", "w"]
    assert captioned(pictures, texts, given.REPLACE) == [("x y",), ("z",), ("w",)]
    assert captioned(pictures, texts, given.APPEND) == [("a, x y",), ("b, z", "c, z"), ("w",)]
    assert captioned(pictures, texts, given.ANOTHER) == [("a", "x y"), ("b", "c", "z"), ("w",)]


def test_a_text_after_a_sentence_begins_another():
    assert captioned(dataset_of("She smiles.", "a,", "笑顔。"), ["It rains."] * 3, given.APPEND) == [
        ("She smiles. It rains.",),
        ("a, It rains.",),
        ("笑顔。 It rains.",),
    ]


def test_an_empty_text_is_no_caption():
    assert captioned(dataset_of("a"), [" "], given.REPLACE) == [()]
    assert captioned(dataset_of("a"), [""], given.APPEND) == [("a",)]
    assert captioned(dataset_of("a"), [""], given.ANOTHER) == [("a",)]


def test_a_caption_that_is_there_is_not_added_again():
    assert captioned(dataset_of("a"), ["a"], given.ANOTHER) == [("a",)]


@pytest.mark.parametrize("texts", [["a"], ["a", "b", "c"], []])
def test_numbers_have_to_match(texts):
    with pytest.raises(given.TextsError, match=rf"there are 2 pictures and {len(texts)} texts"):
        given.captioned(dataset_of("x", "y"), texts)


def test_what_is_no_text_and_no_mode():
    with pytest.raises(given.TextsError, match="text 2 is no text \\(int\\)"):
        given.captioned(dataset_of("x", "y"), ["a", 7])
    with pytest.raises(given.TextsError, match="Choose one of replace, append, add as another"):
        given.captioned(dataset_of("x"), ["a"], "over")
