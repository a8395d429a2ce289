"""Which checkpoint is chosen, on vectors whose right answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from isengard.nodes.evaluation import choice_chart, choosing
from isengard.nodes.evaluation.choosing import ADHERENCE, DIVERSITY, IDENTITY, VALIDATION, Pictures, Weights
from isengard.nodes.evaluation.records import FILE, RUN, THE_BASE, Candidate, Cell, Column, Grid, GridError, Row

PROMPTS, SEEDS, LENGTH = 4, 3, 48
BASE = Column(THE_BASE, 0.0)
RANDOM = np.random.default_rng(3)
WANTED = RANDOM.normal(size=(PROMPTS, 1, LENGTH))  # what the prompts ask for
WHO, NOISE = 2 * RANDOM.normal(size=LENGTH), 0.4


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def drawn(follows: float, likeness: float, who: float = 0.0, seed: int = 0) -> Pictures:
    """Pictures that follow the prompts so much, and have so much of one and the same in them."""
    noise = NOISE * np.random.default_rng(seed).normal(size=(PROMPTS, SEEDS, LENGTH))
    return Pictures(unit(follows * WANTED + who * WHO + noise), np.full((PROMPTS, SEEDS), likeness))


BASE_PICTURES = drawn(1.0, 0.0, seed=1)
REFERENCES = unit(WHO + np.random.default_rng(4).normal(size=(10, LENGTH)))


def column(step: int, strength: float = 1.0, loss: float | None = None) -> Column:
    return Column(Candidate(f"step {step}", RUN, Path(f"{step}"), step, loss), strength)


def chosen(pictures, weights=None, with_base=True):
    base = {BASE: BASE_PICTURES} if with_base else {}
    return choosing.choose(base | pictures, REFERENCES, weights or Weights())


YOUNG, RIPE, BY_HEART = drawn(1.0, 0.3, 0.3, 5), drawn(0.9, 0.95, 1.0, 6), drawn(0.0, 1.2, 3.0, 7)


def test_a_lora_that_draws_one_picture_whatever_it_is_asked_for_is_not_chosen():
    """Though it has the highest likeness of all, and one that hardly knows the character is not either."""
    choice = chosen({column(1): YOUNG, column(2): RIPE, column(3): BY_HEART})
    assert [entry.column.candidate.step for entry in choice.entries] == [2, 1, 3]
    assert [entry.rank for entry in choice.entries] == [1, 2, 3]
    by_likeness = chosen({column(2): RIPE, column(3): BY_HEART}, Weights(1.0, 0.0, 0.0, 0.0))
    assert by_likeness.best.column.candidate.step == 3


def test_terms_are_on_their_scales():
    choice = chosen({column(1): YOUNG, column(2): RIPE, column(3): BY_HEART})
    young, ripe, by_heart = (
        next(entry.terms for entry in choice.entries if entry.column.candidate.step == step) for step in (1, 2, 3)
    )
    assert (young[IDENTITY], ripe[IDENTITY], by_heart[IDENTITY]) == pytest.approx((0.3, 0.95, 1.0))
    assert young[ADHERENCE] > 0.9
    assert ripe[ADHERENCE] > 0.7
    assert by_heart[ADHERENCE] < 0.2
    assert by_heart[DIVERSITY] < 0.3 < ripe[DIVERSITY]
    assert young[DIVERSITY] == 1.0
    assert all(0 <= value <= 1 for terms in (young, ripe, by_heart) for value in terms.values())


def test_the_base_itself_with_another_seed_follows_prompts_entirely():
    again = drawn(1.0, 0.0, seed=8)
    assert choosing.adherence(again.vectors, BASE_PICTURES.vectors) == pytest.approx(1.0, abs=0.06)
    other = np.random.default_rng(9).normal(size=(PROMPTS, SEEDS, LENGTH))
    assert abs(choosing.adherence(unit(other), BASE_PICTURES.vectors)) < 0.2
    swapped = BASE_PICTURES.vectors[[1, 0, 3, 2]]
    assert choosing.adherence(swapped, BASE_PICTURES.vectors) < 0.2, "it draws what another prompt asked for"


def test_the_noise_that_a_seed_shares_is_no_adherence():
    """A LoRA that ignores prompts, whose pictures have the base's noise in them."""
    noise = BASE_PICTURES.vectors - BASE_PICTURES.vectors.mean(1, keepdims=True)
    ignoring = unit(WHO + 5 * noise)
    assert abs(choosing.adherence(ignoring, BASE_PICTURES.vectors)) < 0.5
    assert choosing.adherence(ignoring[:, :1], BASE_PICTURES.vectors[:, :1]) > 0.0, "with one seed it cannot be told"


def test_what_is_unscored_is_left_out_for_all_and_said():
    pictures = {column(1, loss=0.2): RIPE, column(2, 0.7): drawn(1.0, 0.5, 0.5)}
    choice = chosen(pictures, with_base=False)
    (first, _) = choice.entries
    assert set(first.terms) == {IDENTITY, DIVERSITY, VALIDATION}, "it was scored for this one"
    assert first.total == pytest.approx((first.terms[IDENTITY] + 0.5 * first.terms[DIVERSITY]) / 1.5)
    assert [note.split(" is")[0] for note in choice.notes] == [ADHERENCE, VALIDATION]
    assert "unscored for step 2 @ 0.7 (" in choice.notes[1]
    told = chosen(pictures, Weights(1.0, 0.0, 0.5, 0.0), with_base=False)
    assert told.notes == (), "what has no weight is not missed"
    assert "validation is unscored" in choosing.table(choice)


def test_the_loss_counts_relative_to_the_best_of_the_run():
    losses = {100: 0.2, 200: 0.1, 300: 0.4}
    choice = chosen({column(step, loss=loss): RIPE for step, loss in losses.items()})
    found = {entry.column.candidate.step: entry.terms[VALIDATION] for entry in choice.entries}
    assert found == pytest.approx({100: 0.5, 200: 1.0, 300: 0.25})
    assert choice.best.column.candidate.step == 200


def test_checkpoints_next_to_each_other_share_and_others_do_not():
    """One lucky checkpoint among poor ones is not chosen before a good one among good ones."""
    likeness = {100: 0.5, 200: 0.75, 300: 0.5, 400: 0.72, 500: 0.72}
    pictures = {column(step): drawn(1, value, 1, seed=step) for step, value in likeness.items()}
    by_likeness = Weights(1.0, 0.0, 0.0, 0.0)
    found = {entry.column.candidate.step: entry.total for entry in chosen(pictures, by_likeness).entries}
    assert found == pytest.approx({100: 1.75 / 3, 200: 2.5 / 4, 300: 2.47 / 4, 400: 2.66 / 4, 500: 2.16 / 3})
    assert chosen(pictures, by_likeness).best.column.candidate.step == 500
    files = {Column(dataclasses.replace(each.candidate, source=FILE), 1.0): value for each, value in pictures.items()}
    assert chosen(files, by_likeness).best.total == pytest.approx(0.75), "files have no order"
    strengths = {column(100, 0.5): pictures[column(100)], column(200): pictures[column(200)]}
    assert chosen(strengths, by_likeness).best.total == pytest.approx(0.75), "nor have strengths"


def test_pictures_that_are_missing_or_show_nobody():
    some = Pictures(RIPE.vectors.copy(), RIPE.identity.copy())
    some.vectors[0, 0], some.identity[0, 0] = np.nan, np.nan
    some.identity[1, :] = np.nan
    choice = chosen({column(1): some, column(2): RIPE})
    (entry,) = [entry for entry in choice.entries if entry.column.candidate.step == 1]
    assert entry.count == 11
    assert entry.terms[IDENTITY] == pytest.approx(0.95 * 8 / 11), "nobody counts 0, a missing picture nothing"
    assert "pictures are missing of step 1 @ 1 (11); the others have 12" in choice.notes[-1]
    nobody = dataclasses.replace(RIPE, identity=np.full((PROMPTS, SEEDS), np.nan))
    choice = chosen({column(1): nobody, column(2): nobody})
    assert choice.notes[0].startswith("identity is unscored (")
    none = Pictures(np.full_like(RIPE.vectors, np.nan), np.full_like(RIPE.identity, np.nan))
    assert [entry.column.candidate.step for entry in chosen({column(1): none, column(2): RIPE}).entries] == [2]
    with pytest.raises(GridError, match="no LoRA with a picture"):
        chosen({column(1): none})


def test_one_prompt_and_one_reference_are_enough_for_identity():
    one = Pictures(RIPE.vectors[:1], RIPE.identity[:1])
    choice = choosing.choose({BASE: one, column(1): one}, REFERENCES[:1], Weights())
    assert set(choice.best.terms) == {IDENTITY}
    with pytest.raises(GridError, match="none of the terms with a weight could be scored. adherence is unscored"):
        choosing.choose({BASE: one, column(1): one}, REFERENCES[:1], Weights(0.0))


def test_pictures_are_arranged_by_prompt_and_seed():
    columns = [BASE, column(1)]
    cells = [Cell(each, Row(prompt, seed)) for each in columns for prompt in "ab" for seed in (5, 6)]
    vectors = {cell: np.full(3, float(place)) for place, cell in enumerate(cells) if place != 6}
    found = choosing.arranged(Grid("", tuple(cells)), vectors, {cells[5]: 0.5})
    assert list(found) == columns
    assert found[BASE].vectors[..., 0].tolist() == [[0, 1], [2, 3]]
    assert found[columns[1]].identity[0, 1] == 0.5
    assert np.isnan(found[columns[1]].vectors[1, 0]).all()
    assert found[columns[1]].count == 3


def test_the_chart_shows_the_scores():
    losses = {100: 0.2, 200: 0.1, 300: 0.4}
    made = {column(step, strength, loss): drawn(1, 0.5, 0.2 * strength, step) for step, loss in losses.items()
            for strength in (0.7, 1.0)}  # fmt: skip
    chart = np.asarray(choice_chart.draw(chosen(made), "Mira", 600, 500))
    assert chart.shape == (500, 600, 3)
    other = {each: dataclasses.replace(pictures, identity=pictures.identity * (each.candidate.step / 300))
             for each, pictures in made.items()}  # fmt: skip
    assert (chart != np.asarray(choice_chart.draw(chosen(other), "Mira", 600, 500))).any()
    files = {Column(Candidate(name, "file", Path(name)), 1.0): RIPE for name in ("$x_2$", "Мира", "a" * 50)}
    choice_chart.draw(chosen(files), "$")
