"""What is said of a scene."""

from __future__ import annotations

from isengard.nodes.captions.tokens import Length
from isengard.nodes.characters.records import Character
from isengard.nodes.scene.notes import notes

ANN, BEN = Character("ann", "Ann", "zorvik", "woman"), Character("ben", "Ben", "brista", "man")


def lengths(text):
    return [Length("l", len(text.split()), 20)]


def test_a_good_scene_has_no_notes():
    assert notes([ANN, BEN], ["zorvik woman", "brista man"], "two people", lengths) == []


def test_the_same_trigger_is_told_unless_it_is_the_same_character():
    other = Character("cid", "Cid", "Zorvik")
    (said,) = notes([ANN, other], ["zorvik", "zorvik"], "", lengths)
    assert "Ann and Cid have the same trigger 'zorvik'" in said
    assert notes([ANN, ANN], ["zorvik", "zorvik"], "", lengths) == []


def test_a_missing_trigger_a_trigger_in_the_whole_and_long_texts_are_told():
    said = notes([ANN, BEN], ["a woman", "brista " * 30], "brista in a street", lengths)
    assert said[0] == "Ann: The trigger 'zorvik' is not in the prompt."
    assert said[1].startswith("Ben: The prompt has 30 tokens")
    assert "The prompt of the whole has Ben's trigger" in said[2]
    assert len(said) == 3
