"""The figures of all characters together and the file they are written to, from made-up characters."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isengard.tests.benchmarks import bench_likeness, figures
from isengard.tests.benchmarks.likeness import Likeness
from isengard.tests.benchmarks.likeness_job import Trained

PROMISED = {
    "likeness_mean", "likeness_worst", "adherence_vs_base", "diversity_vs_real", "bleed", "train_steps", "identities",
    "likeness_minus_core_equal_steps", "likeness_minus_core_equal_seconds", "vae_psnr_db", "attribute_accuracy",
}  # fmt: skip


def measured(value: float, seconds: float = 100.0, bleed: float = 0.2) -> figures.Measured:
    draws = np.random.default_rng(0).normal(value, 0.02, 500)
    kinds = {"no_name": bleed, "described": bleed / 2}
    return figures.Measured(Likeness(value, value - 0.04, value + 0.04, draws), 1.0, 0.9, 0.8, kinds, seconds)


def test_the_summary_is_over_all_characters():
    found = figures.summary([measured(0.6), measured(0.8, bleed=0.4)], base_adherence=0.9)
    assert found["likeness_mean"] == pytest.approx(0.7)
    assert found["likeness_worst"] == 0.6
    assert found["adherence_vs_base"] == pytest.approx(1)
    assert found["diversity_vs_real"] == pytest.approx(0.8)
    assert found["bleed"] == pytest.approx((0.15 + 0.3) / 2)
    assert found["bleed_no_name"] == pytest.approx(0.3)
    assert found["likeness_mean_low"] == pytest.approx(0.6, abs=0.06), "one of two characters may be drawn twice"
    assert found["likeness_mean_high"] == pytest.approx(0.8, abs=0.06)


def test_a_lead_is_that_over_the_same_character():
    ours, core = [measured(0.6, 100), measured(0.8, 120)], [measured(0.5, 300), measured(0.2, 140)]
    found = figures.beside_core(ours, core, ours)
    assert found["likeness_minus_core_equal_steps"] == pytest.approx(0.35)
    assert found["likeness_minus_core_equal_seconds"] == 0
    assert found["core_seconds_vs_ours_equal_steps"] == 2
    with pytest.raises(ValueError, match="shorter"):
        figures.beside_core(ours, core[:1], ours)


def test_the_file_is_one_flat_object_with_all_that_was_promised(tmp_path):
    rows = [measured(0.6), measured(0.8)]
    others = dict.fromkeys(("train_steps", "identities", "vae_psnr_db", "attribute_accuracy"), 1.0)
    found = figures.summary(rows, 0.9) | figures.beside_core(rows, rows, rows) | others
    bench_likeness.write(found, tmp_path / "below" / "likeness.json")
    read = json.loads((tmp_path / "below" / "likeness.json").read_text())
    assert read.keys() >= PROMISED
    assert not [name for name, value in read.items() if isinstance(value, (dict, list))]
    assert [file.name for file in (tmp_path / "below").iterdir()] == ["likeness.json"]


def test_what_was_trained_is_kept_and_not_trained_again(tmp_path):
    given = {name: Trained(np.full((2, 1), n), np.full((3, 1), n), 1.5 * n) for n, name in enumerate(("ours", "core"))}
    trainings = []

    def train():
        trainings.append(1)
        return given

    for _ in range(2):
        got = bench_likeness.once(tmp_path / "kept" / "mira.npz", train)
        assert list(got) == ["ours", "core"]
        for name, each in got.items():
            assert np.array_equal(each.pictures, given[name].pictures)
            assert np.array_equal(each.bare, given[name].bare)
            assert each.seconds == given[name].seconds
    assert trainings == [1]


def test_a_training_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_likeness.once(tmp_path / "kept.npz", fail)
    assert not list(tmp_path.iterdir())
