"""The figures of all characters together and the file they are written to, from made-up characters."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from isengard.sota.demo_base import people
from isengard.tests.benchmarks import bench_likeness, figures, likeness, prompts
from isengard.tests.benchmarks.likeness import Likeness
from isengard.tests.benchmarks.likeness_job import Trained

PROMISED = {
    "likeness_mean", "likeness_worst", "adherence_vs_base", "diversity_vs_real", "bleed", "train_steps", "identities",
    "likeness_minus_core_equal_steps", "likeness_minus_core_equal_seconds", "vae_psnr_db", "attribute_accuracy",
}  # fmt: skip


def measured(value: float, seconds: float = 100.0, bleed: float = 0.2) -> figures.Measured:
    draws = np.random.default_rng(0).normal(value, 0.02, 500)
    kinds = {"no_name": bleed, "described": bleed / 2}
    return figures.Measured(Likeness(value, value - 0.04, value + 0.04, draws), 1.0, 0.9, 0.8, 1.1, kinds, seconds)


def test_the_summary_is_over_all_characters():
    found = figures.summary([measured(0.6), measured(0.8, bleed=0.4)], base_adherence=0.9)
    assert found["likeness_mean"] == pytest.approx(0.7)
    assert found["likeness_worst"] == 0.6
    assert found["adherence_vs_base"] == pytest.approx(1)
    assert found["diversity_vs_real"] == pytest.approx(0.8)
    assert found["base_diversity_vs_real"] == pytest.approx(1.1)
    assert found["bleed"] == pytest.approx((0.15 + 0.3) / 2)
    assert found["bleed_no_name"] == pytest.approx(0.3)
    assert found["likeness_mean_low"] == pytest.approx(0.55, abs=0.06), "one of two characters may be drawn twice"
    assert found["likeness_mean_high"] == pytest.approx(0.85, abs=0.06)


def test_a_lead_is_that_over_the_same_character():
    ours, core = [measured(0.6, 100), measured(0.8, 120)], [measured(0.5, 300), measured(0.2, 140)]
    found = figures.beside_core(ours, core, ours)
    assert found["likeness_minus_core_equal_steps"] == pytest.approx(0.35)
    assert found["likeness_minus_core_equal_steps_low"] > 0
    assert found["likeness_minus_core_equal_seconds"] == 0
    assert found["core_seconds_vs_ours_equal_steps"] == 2
    with pytest.raises(ValueError, match="shorter"):
        figures.beside_core(ours, core[:1], ours)


def test_the_file_is_one_flat_object_with_all_that_was_promised(tmp_path):
    trained = [measured(0.6), measured(0.8)]
    rows = dict.fromkeys((bench_likeness.OURS, bench_likeness.CORE_STEPS, bench_likeness.CORE_SECONDS), trained)
    options = argparse.Namespace(steps=40, learning_rate=0.1)
    found = bench_likeness.report(rows, 0.9, {1e-3: 0.4, 1e-2: 0.3}, options, of_base())
    bench_likeness.write(found, tmp_path / "below" / "likeness.json")
    read = json.loads((tmp_path / "below" / "likeness.json").read_text())
    assert read.keys() >= PROMISED
    assert (read["train_steps"], read["identities"], read["core_learning_rate"]) == (40, 2, 1e-3)
    assert not [name for name, value in read.items() if isinstance(value, (dict, list))]
    assert [file.name for file in (tmp_path / "below").iterdir()] == ["likeness.json"]


def of_base() -> dict[str, float]:
    return {"vae_psnr_db": 30.0, "attribute_accuracy": 0.99}


def test_without_comfyuis_own_there_is_nothing_beside_it():
    options = argparse.Namespace(steps=40, learning_rate=0.1)
    found = bench_likeness.report({bench_likeness.OURS: [measured(0.6)]}, 0.9, {}, options, of_base())
    assert found["likeness_mean"] == 0.6
    assert not [name for name in found if "core" in name]


def test_nobody_is_measured_on_whom_settings_were_chosen():
    held_out, measured_people = people.held_out(), bench_likeness.measured_people()
    development = [held_out[place] for place in bench_likeness.DEVELOPMENT]
    assert sorted(map(str, [*measured_people, *development])) == sorted(map(str, held_out))
    new = [person.head in people.unseen_heads() for person in measured_people[:8]]
    assert sum(new) == 4, "the benchmark's eight are half new heads"
    assert set(bench_likeness.SWEPT) <= set(bench_likeness.DEVELOPMENT)


def test_another_seed_is_a_bleed_of_1_for_every_kind_of_prompt():
    """Prompts that say more leave seeds less to differ in; each kind is measured against its own."""
    generator = np.random.default_rng(0)
    kinds = [kind for kind, _ in prompts.without_trigger()]
    width = np.array([0.2 if kind == "described" else 1.0 for kind in kinds])[:, None, None]
    middle = generator.normal(size=(len(kinds), 1, 64))

    def grid(seeds: int) -> np.ndarray:
        vectors = middle + width * generator.normal(size=(len(kinds), seeds, 64))
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    found = figures.bleed(grid(40), grid(40), likeness.between_seeds(grid(40)))
    assert found == pytest.approx(dict.fromkeys(kinds, 1.0), rel=0.1)


def test_what_was_trained_is_kept_and_not_trained_again(tmp_path):
    given = {name: Trained(np.full((2, 1), n), np.full((3, 1), n), 1.5 * n, n) for n, name in enumerate("ab")}
    trainings = []

    def train():
        trainings.append(1)
        return given

    for _ in range(2):
        got = bench_likeness.once(tmp_path / "kept" / "mira.npz", train)
        assert list(got) == ["a", "b"]
        for name, each in got.items():
            assert np.array_equal(each.pictures, given[name].pictures)
            assert np.array_equal(each.bare, given[name].bare)
            assert (each.seconds, each.encoding) == (given[name].seconds, given[name].encoding)
    assert trainings == [1]


def test_a_training_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_likeness.once(tmp_path / "kept.npz", fail)
    assert not list(tmp_path.iterdir())
