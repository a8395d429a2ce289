"""The figures at their ends, in between, and as more pictures are drawn, on made-up vectors of known likeness."""

from __future__ import annotations

import numpy as np
import pytest

from isengard.tests.benchmarks.likeness import bleed, changes, diversity, likeness, mean

NUMBERS = 32


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def pictures(prompts: int, seeds: int, share: float, seed: int = 0, noise: float = 0.4) -> np.ndarray:
    """P,S,D: `share` of the way from another person to the character, plus each prompt's look and each seed's noise."""
    generator = np.random.default_rng(seed)
    character, other = np.random.default_rng(100).normal(size=(2, NUMBERS))
    looks = np.random.default_rng(101).normal(size=(prompts, 1, NUMBERS))
    person = share * character + (1 - share) * other
    return unit(person + 0.5 * looks + noise * generator.normal(size=(prompts, seeds, NUMBERS)))


@pytest.fixture
def base() -> np.ndarray:
    return pictures(8, 3, share=0.0, seed=1)


@pytest.fixture
def real() -> np.ndarray:
    return pictures(8, 1, share=1.0, seed=2)[:, 0]


def test_base_pictures_have_likeness_0(base, real):
    got = likeness(base, base, real)
    assert (got.value, got.low, got.high) == (0, 0, 0)


def test_real_pictures_have_likeness_1(base, real):
    got = likeness(np.repeat(real[:, None], 3, axis=1), base, real)
    assert [got.value, got.low, got.high] == pytest.approx([1, 1, 1])


def test_likeness_is_the_formula(base, real):
    generated = pictures(8, 3, share=0.6, seed=3)

    def score(grid):
        return np.mean([picture @ real[q] for p, row in enumerate(grid) for picture in row for q in range(8) if q != p])

    expected = (score(generated) - score(base)) / (score(real[:, None]) - score(base))
    assert likeness(generated, base, real).value == pytest.approx(expected)


def test_a_picture_cannot_score_by_the_look_of_its_prompt():
    """All that these share with a real picture is the look of their own prompt."""
    character, other, *looks = np.eye(10)
    real = unit(character + np.stack(looks))
    base = np.broadcast_to(other, (8, 3, 10))
    generated = np.broadcast_to(unit(other + 3 * np.stack(looks))[:, None], (8, 3, 10))
    assert likeness(generated, base, real).value == pytest.approx(0)


def test_more_of_the_character_is_more_likeness(base, real):
    values = [likeness(pictures(8, 3, share, seed=3), base, real).value for share in (0.2, 0.4, 0.6, 0.8)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1


def test_half_real_pictures_lie_in_between(base, real):
    mixed = base.copy()
    mixed[::2] = real[::2, None]
    assert 0.3 < likeness(mixed, base, real).value < 0.7


def test_the_interval_holds_the_value_and_is_the_same_for_the_same_seed(base, real):
    generated = pictures(8, 3, share=0.6, seed=3)
    got = likeness(generated, base, real)
    assert got.low < got.value < got.high
    assert got == likeness(generated, base, real)
    assert got != likeness(generated, base, real, seed=1)


@pytest.mark.parametrize(("prompts", "seeds"), [(32, 2), (8, 16)])
def test_more_pictures_narrow_the_interval(prompts, seeds):
    def width(prompts, seeds):
        grids = [pictures(prompts, seeds, share, seed=4, noise=1.0) for share in (0.6, 0.0)]
        got = likeness(*grids, pictures(prompts, 1, share=1.0, seed=2)[:, 0])
        return got.high - got.low

    assert width(prompts, seeds) < 0.8 * width(8, 2)


def test_the_interval_tells_of_seeds_as_well_as_of_prompts():
    """Every prompt has one perfect seed and one that is the base's: which seeds were drawn is all that matters."""
    character, other = np.eye(2)
    generated = np.broadcast_to(np.stack([character, other]), (8, 2, 2))
    base, real = np.broadcast_to(other, (8, 2, 2)), np.broadcast_to(character, (8, 2))
    got = likeness(generated, base, real)
    assert got.value == pytest.approx(0.5)
    assert 0.2 < got.low < 0.4 < 0.6 < got.high < 0.8


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    many = [pictures(400, 2, share, seed=7) for share in (0.6, 0.0, 1.0)]
    truth = likeness(many[0], many[1], many[2][:, 0]).value
    parts = [slice(start, start + 10) for start in range(0, 400, 10)]
    found = [likeness(many[0][part], many[1][part], many[2][part, 0]) for part in parts]
    assert sum(got.low <= truth <= got.high for got in found) >= 32  # of 40; 38 expected, narrower with few prompts


def test_diversity_is_1_for_the_real_pictures_and_0_for_one_picture(real):
    assert diversity(real[:, None], real) == pytest.approx(1)
    assert diversity(np.broadcast_to(real[0], (8, 3, NUMBERS)), real) == pytest.approx(0)


def test_diversity_counts_every_pair_of_different_prompts(real):
    generated = pictures(8, 3, share=0.6, seed=3)
    distances = [1 - a @ b for p in range(8) for q in range(8) if p != q for a in generated[p] for b in generated[q]]
    of_real = [1 - real[p] @ real[q] for p in range(8) for q in range(8) if p != q]
    assert diversity(generated, real) == pytest.approx(np.mean(distances) / np.mean(of_real))


def test_bleed_is_0_without_change_and_1_for_other_seeds(base):
    assert bleed(base, base) == pytest.approx(0)
    generator = np.random.default_rng(5)
    one, other = (unit(generator.normal(size=(1, 1, NUMBERS)) + generator.normal(size=(60, 8, NUMBERS))) for _ in "ab")
    assert bleed(np.roll(one, 1, axis=1), one) == pytest.approx(1, abs=0.03)
    assert bleed(other, one) > 1.5  # another person altogether


def test_bleed_grows_with_the_change(base):
    moved = [bleed(unit(base + share * pictures(8, 3, 1.0, seed=6)), base) for share in (0.1, 0.3, 1.0)]
    assert 0 < moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g, b, r: likeness(g[:, :2], b, r), r"same prompts and seeds; got \(8, 2, 32\) and \(8, 3, 32\)"),
        (lambda g, b, r: likeness(g, b, r[:7]), r"one real picture per prompt, \(8, 32\); got the shape \(7, 32\)"),
        (lambda g, b, r: likeness(g[:, 0], b[:, 0], r), r"\(P,S,D\); got the shape \(8, 32\)"),
        (lambda g, b, r: likeness(g[:, :0], b[:, :0], r), r"\(P,S,D\); got the shape \(8, 0, 32\)"),
        (lambda g, b, r: likeness(g[:2], b[:2], r[:2]), "got 2, expected 3 or more"),
        (lambda g, b, r: likeness(2 * g, b, r), "length 1; got lengths from 2 to 2"),
        (lambda g, b, r: likeness(g, np.repeat(r[:, None], 3, 1), r), "already know the character"),
        (lambda g, b, r: diversity(g, r[:7]), "one real picture per prompt"),
        (lambda g, b, r: diversity(r, r), r"\(P,S,D\)"),
        (lambda g, b, r: bleed(g[:, :1], b[:, :1]), "difference of two seeds; got 1"),
        (lambda g, b, r: bleed(g[:4], b), "same prompts and seeds"),
    ],
)
def test_wrong_pictures_are_refused(base, real, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(pictures(8, 3, share=0.6, seed=3), base, real)


def test_bleed_is_the_mean_of_what_each_prompt_changes(base):
    changed = base.copy()
    changed[:2] = pictures(8, 3, share=1.0, seed=5)[:2]
    each = changes(changed, base)
    assert each[:2].min() > 0.3
    assert each[2:] == pytest.approx(np.zeros(6), abs=1e-6)
    assert bleed(changed, base) == pytest.approx(each.mean())


def test_the_mean_over_characters_is_unsure_of_the_characters_too(base, real):
    some = [likeness(pictures(8, 3, share=share, seed=7), base, real) for share in (0.4, 0.6, 0.8)]
    together = mean(some)
    assert together.value == pytest.approx(np.mean([each.value for each in some]))
    assert together.low < min(each.low for each in some[1:]) < together.value < together.high
    alike = mean([some[1]] * 3)
    assert together.high - together.low > 2 * (alike.high - alike.low)
    assert mean(some) == together
