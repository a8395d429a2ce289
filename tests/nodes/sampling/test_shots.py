from __future__ import annotations

import pytest

from isengard.nodes.sampling import lists, shots
from isengard.nodes.sampling.prompts import PromptError
from isengard.nodes.sampling.shots import Shot


def test_strength_is_outermost_then_prompts_then_seeds():
    plan = shots.plan(" a \n\nb", "0.5, 1", "3, 7-8")
    found = plan.shots(lambda template, seed: f"{template}{seed}")
    assert found[:4] == (Shot(0.5, "a3", 3), Shot(0.5, "a7", 7), Shot(0.5, "a8", 8), Shot(0.5, "b3", 3))
    assert [shot.strength for shot in found] == [0.5] * 6 + [1.0] * 6
    assert [(shot.prompt, shot.seed) for shot in found[:6]] == [(shot.prompt, shot.seed) for shot in found[6:]]
    assert [(strength, len(group)) for strength, group in shots.by_strength(found)] == [(0.5, 6), (1.0, 6)]


def test_a_prompt_is_filled_once_for_all_strengths():
    asked = []
    shots.plan("a", "0.5, 1", "3").shots(lambda template, seed: asked.append((template, seed)) or "x")
    assert asked == [("a", 3)]


def test_what_is_not_known_yet_is_not_refused():
    assert shots.plan(None, None, None) == shots.Plan((1.0,), ("",), (0,))


@pytest.mark.parametrize(
    "inputs, error, message",
    [
        (("", "1", "0"), shots.ShotsError, "there is no prompt to draw"),
        (("a", "x", "0"), lists.ListError, "'x' in strengths"),
        (("a", "1", "x"), lists.ListError, "'x' in seeds"),
        (("a\n{b", "1", "0"), PromptError, r"prompt 2 \('{b'\): the template has a {"),
        (
            ("a\nb\nc", "1,2,3", "0-99"),
            shots.ShotsError,
            "3 prompts x 3 strengths x 100 seeds are 900 pictures; at most 256",
        ),
    ],
)
def test_plans_that_cannot_be(inputs, error, message):
    with pytest.raises(error, match=message):
        shots.plan(*inputs)


def test_as_many_as_fit():
    assert len(shots.plan("a\nb", "1", "0-127").shots(lambda template, seed: template)) == shots.MOST


def test_labels_are_short():
    assert Shot(0.8, "mira woman,\n in a street", 5).label == "seed 5 · 0.8 · mira woman, in a street"
    label = Shot(1.0, "a-long-story-" * 10, 5).label
    assert label.startswith("seed 5 · 1 · a-long-story")
    assert label.endswith("…")
    assert len(label) == len("seed 5 · 1 · ") + 60


def test_the_report_says_what_was_drawn_and_where():
    one, two = [Shot(1.0, "a", seed) for seed in (1, 2)]
    assert (
        shots.report("Mira's LoRA v1", [one], ["a/b_1_.png"], []) == "1 picture with Mira's LoRA v1: output/a/b_1_.png"
    )
    assert shots.report("Mira's LoRA v1", [one, two], ["a/b_1_.png", "a/b_2_.png"], ["Mind."]) == (
        "2 pictures with Mira's LoRA v1: output/a/b_1_.png to b_2_.png\nMind."
    )
