from __future__ import annotations

from dataclasses import replace

import pytest

from isengard.nodes.captions import edits
from isengard.nodes.captions.rules import RulesError
from isengard.nodes.dataset.records import Dataset
from isengard.tests.nodes.captions.making import captions_of, dataset_of, sample


def test_every_caption_is_edited_and_all_else_stays():
    given = Dataset("hero", (sample("1.png", "a, b", "b, c", tags=("b",), repeats=2), sample("2.png", "c")))
    made = edits.edit(given, "remove: b").dataset
    assert [each.captions for each in made.samples] == [("a", "c"), ("c",)]
    bare = [[replace(each, captions=()) for each in dataset.samples] for dataset in (made, given)]
    assert bare[0] == bare[1]


def test_only_pictures_with_a_tag():
    given = Dataset(
        "hero",
        (
            sample("1.png", "mira, Red_hat"),
            sample("2.png", "mira, red hat ribbon"),
            sample("3.png", "mira", tags=("red hat",)),
            sample("4.png", "mira sits there with a red hat, smiling"),
            sample("5.png", "mira"),
        ),
    )
    made = edits.edit(given, "add: X", only_with="red hat").dataset
    assert [each.caption.endswith("X") for each in made.samples] == [True, False, True, True, False]
    both = edits.edit(given, "add: X", only_with="red hat, smiling").dataset
    assert [each.caption.endswith("X") for each in both.samples] == [False, False, False, True, False]


def test_a_picture_without_a_caption_can_get_one_and_one_can_be_lost():
    edited = edits.edit(dataset_of((), "a", "a, b"), "remove: a\nadd: c", only_with="")
    assert captions_of(edited.dataset) == ["c", "c", "b, c"]
    lost = edits.edit(dataset_of((), "a", ("a", "b")), "remove: a")
    assert [each.captions for each in lost.dataset.samples] == [(), (), ("b",)]
    assert lost.without == ("2.png",)
    assert "Without a caption now: 2.png" in edits.in_words(lost)


def test_regular_expressions_see_all_captions_at_once_in_order():
    edited = edits.edit(dataset_of("a1", ("b2", "c3"), "d4"), r"regex: (\w)(\d) => \2\1" + "\nadd: x")
    assert captions_of(edited.dataset) == ["1a, x", "2b, x", "3c, x", "4d, x"]


def test_the_report_shows_what_changed_before_and_after():
    edited = edits.edit(dataset_of("a, b", "c", "mira hat, d"), "# x\nremove: b\nremove: hat\nadd: e")
    assert edits.in_words(edited) == (
        "3 of 3 pictures have other captions now.\n\n"
        "line 2, remove: b: 1 caption changed\n"
        "line 3, remove: hat: no captions changed (within tags: remove words, replace words)\n"
        "line 4, add: e: 3 captions changed\n\n"
        "1.png\n- a, b\n+ a, e\n\n"
        "2.png\n- c\n+ c, e\n\n"
        "3.png\n- mira hat, d\n+ mira hat, d, e"
    )


def test_only_the_first_pictures_are_shown():
    said = edits.in_words(edits.edit(dataset_of(*"abcdefghijklm"), "add: x"))
    assert said.count("\n+ ") == 10
    assert said.endswith("… and 3 more")


def test_a_caption_that_is_none_is_refused():
    with pytest.raises(RulesError, match="the caption of 2.png has 20001 characters"):
        edits.edit(dataset_of("a", "b" * 20_001), "sort")


def test_progress_is_told_rule_by_rule():
    told = []
    edits.edit(dataset_of("a"), "sort\nonce", progress=lambda *each: told.append(each))
    assert told == [(1, 2), (2, 2)]
