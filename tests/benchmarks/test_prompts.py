"""What the benchmark asks for: balanced, and combined as no training caption combines it."""

from __future__ import annotations

from collections import Counter

from isengard.sota.demo_base import people
from isengard.tests.benchmarks import prompts


def test_no_prompt_combines_words_as_a_training_caption_does():
    training, prompted = prompts.looks()
    for pair in (lambda look: (look.background, look.facing), lambda look: (look.clothing, look.background)):
        assert not {pair(look) for look in training} & {pair(look) for look in prompted}


def test_every_background_is_in_both_and_half_of_the_people_face_each_way():
    for looks, count in zip(prompts.looks(), (prompts.TRAINING_PICTURES, prompts.PROMPTS), strict=True):
        assert len(looks) == len(set(looks)) == count
        assert {look.background for look in looks} == {*people.BACKGROUND}
        assert Counter(look.facing for look in looks) == {"left": count / 2, "right": count / 2}
        assert not [look for look in looks if look.clothing == look.background]


def test_other_people_are_asked_for_in_four_ways_and_never_by_the_trigger():
    asked = prompts.without_trigger()
    assert len(asked) == len({text for _, text in asked}) == prompts.PROMPTS
    assert Counter(kind for kind, _ in asked) == {"no_name": 3, "other_noun": 3, "other_name": 3, "described": 3}
    assert not [text for _, text in asked if prompts.TRIGGER in text]
    texts = dict(asked)
    assert texts["no_name"].startswith("person, ")
    assert texts["described"].startswith("person, long hair, black hair, tan skin, ")


def test_those_described_are_known_to_the_base():
    known = {identity for group in people.training_identities() for identity in group}
    assert {*prompts.DESCRIBED} <= known
