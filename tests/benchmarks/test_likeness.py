"""The figures at their ends, in between, and as more pictures are drawn, on made-up vectors of known likeness."""

from __future__ import annotations

import numpy as np
import pytest

from isengard.tests.benchmarks.likeness import between_seeds, changed, diversity, likeness, mean, mean_lead

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
    assert 0.15 < got.low < 0.4 < 0.6 < got.high < 0.85


@pytest.mark.parametrize("prompts", [6, 12])
def test_the_interval_covers_the_truth_as_often_as_it_says_or_more(prompts):
    """95 of 100 times, less one standard error of 200 samples. Plain percentiles cover 89 to 94."""
    samples = 200
    many = [pictures(samples * prompts, 2, share, seed=7 + n, noise=0.2) for n, share in enumerate((0.6, 0.0, 1.0))]
    truth = likeness_of_all(*many[:2], many[2][:, 0])
    parts = [slice(start, start + prompts) for start in range(0, samples * prompts, prompts)]
    found = [likeness(many[0][part], many[1][part], many[2][part, 0]) for part in parts]
    assert sum(got.low <= truth <= got.high for got in found) / samples > 0.935


def likeness_of_all(generated: np.ndarray, base: np.ndarray, real: np.ndarray) -> float:
    """The formula for thousands of prompts, by way of sums."""
    total = real.sum(0)

    def score(grid: np.ndarray) -> float:
        own = np.einsum("psd,pd->ps", grid, real)
        return float((grid @ total - own).mean())

    low = score(base)
    return (score(generated) - low) / (score(real[:, None]) - low)


def test_diversity_is_1_for_the_real_pictures_and_0_for_one_picture(real):
    assert diversity(real[:, None], real) == pytest.approx(1)
    assert diversity(np.broadcast_to(real[0], (8, 3, NUMBERS)), real) == pytest.approx(0)


def test_diversity_counts_every_pair_of_different_prompts(real):
    generated = pictures(8, 3, share=0.6, seed=3)
    distances = [1 - a @ b for p in range(8) for q in range(8) if p != q for a in generated[p] for b in generated[q]]
    of_real = [1 - real[p] @ real[q] for p in range(8) for q in range(8) if p != q]
    assert diversity(generated, real) == pytest.approx(np.mean(distances) / np.mean(of_real))


def test_nothing_changed_is_0_and_other_seeds_are_as_far_as_seeds_are(base):
    assert changed(base, base) == pytest.approx(np.zeros(8), abs=1e-6)
    generator = np.random.default_rng(5)
    one, other = (unit(generator.normal(size=(1, 1, NUMBERS)) + generator.normal(size=(60, 8, NUMBERS))) for _ in "ab")
    assert changed(np.roll(one, 1, axis=1), one).mean() == pytest.approx(between_seeds(one).mean(), rel=0.03)
    assert changed(other, one).mean() > 1.5 * between_seeds(one).mean()  # another person altogether


def test_change_is_that_of_each_prompt_and_grows_with_it(base):
    far = pictures(8, 3, share=1.0, seed=5)
    part = np.concatenate([far[:2], base[2:]])
    assert changed(part, base)[:2].min() > 0.05
    assert changed(part, base)[2:] == pytest.approx(np.zeros(6), abs=1e-6)
    moved = [changed(unit(base + share * far), base).mean() for share in (0.1, 0.3, 1.0)]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_seeds_differ_by_the_mean_distance_of_their_pairs(base):
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = [np.mean([1 - row[a] @ row[b] for a, b in pairs]) for row in base]
    assert between_seeds(base) == pytest.approx(expected)


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
        (lambda g, b, r: between_seeds(b[:, :1]), "Two seeds or more .* got 1"),
        (lambda g, b, r: changed(g[:4], b), "same prompts and seeds"),
    ],
)
def test_wrong_pictures_are_refused(base, real, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(pictures(8, 3, share=0.6, seed=3), base, real)


def test_the_mean_over_characters_is_unsure_of_the_characters_too(base, real):
    some = [likeness(pictures(8, 3, share=share, seed=7), base, real) for share in (0.4, 0.6, 0.8)]
    together = mean(some)
    assert together.value == pytest.approx(np.mean([each.value for each in some]))
    assert together.low < min(each.low for each in some[1:]) < together.value < together.high
    alike = mean([some[1]] * 3)
    assert together.high - together.low > 2 * (alike.high - alike.low)
    assert mean(some) == together


def test_the_mean_over_characters_knows_that_prompts_are_shared():
    """Two characters whose likeness hangs on the same prompts are no surer than one: the draws are the same."""
    base, real = pictures(8, 3, 0.0, seed=1), pictures(8, 1, 1.0, seed=2)[:, 0]
    one = likeness(pictures(8, 3, share=0.6, seed=3, noise=1.0), base, real)
    together = mean([one] * 8)
    assert np.array_equal(together.draws, one.draws)


def test_a_lead_over_the_same_characters_is_surer_than_each(base, real):
    shares = (0.3, 0.5, 0.7, 0.9)
    theirs = [likeness(pictures(8, 3, share=share, seed=7), base, real) for share in shares]
    ours = [likeness(pictures(8, 3, share=share + 0.05, seed=7), base, real) for share in shares]
    lead = mean_lead(ours, theirs)
    assert lead.value == pytest.approx(np.mean([a.value - b.value for a, b in zip(ours, theirs, strict=True)]))
    assert 0 < lead.low < lead.value < lead.high
    assert lead.high - lead.low < 0.3 * (mean(ours).high - mean(ours).low)
    with pytest.raises(ValueError, match="shorter"):
        mean_lead(ours, theirs[:2])
