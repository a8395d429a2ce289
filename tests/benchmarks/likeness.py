"""How alike, how varied, how well kept apart: figures from picture vectors (of embedding.py), in plain numpy.

The pictures, all as unit vectors of D numbers:

- G: P,S,D: made with the LoRA, for prompts p and seeds s,
- B: P,S,D: the same prompts and seeds without the LoRA,
- R: P,D: real pictures of the character that training did not see, one per prompt, in the look of that prompt.

score(X) is the mean cosine of X[p,s] to R[q] over all s and all q != p: the look is never the same on both sides, so a
picture cannot score by its shirt or background. Then

    likeness = (score(G) - score(B)) / (score(R) - score(B))

where score(R) is the mean cosine of R[p] to R[q], q != p. 0 is the base model, 1 is real pictures against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.stats

RESAMPLES = 2000
OUTSIDE = 0.05  # share of the truth that an interval may miss
FEWEST_PROMPTS = 3  # with two, half of all resamples hold one prompt only, and no pair


@dataclass(frozen=True)
class Likeness:
    """A likeness and its 95 % interval; 0: as the base model, 1: as real pictures of the character. draws: what each
    resample gave, nan where it had no scale, for `mean`."""

    value: float
    low: float
    high: float
    draws: np.ndarray = field(repr=False, compare=False, default_factory=lambda: np.empty(0))


def likeness(generated: np.ndarray, base: np.ndarray, real: np.ndarray, seed: int = 0) -> Likeness:
    """Likeness of generated pictures (P,S,D) on the scale from base (P,S,D) to real ones (P,D), all unit vectors.

    With prompts that lack the trigger it says how far the LoRA pulls everyone else towards the character: 0 is wanted.
    The interval is a hierarchical bootstrap's: prompts, then seeds of each, both with replacement and the same ones for
    all three; `seed` decides the draws, which are the same for every character. A prompt drawn twice is never compared
    with itself.

    Raises ValueError on wrong shapes, vectors of another length than 1, fewer than 3 prompts, or base pictures as alike
    to the character as real ones.
    """
    _require_grid(generated, base)
    _require_real(real, generated)
    prompts, seeds, _ = generated.shape
    similarities = [_to_other_looks(pictures, real) for pictures in (generated, base, real[:, None])]
    value = _placed(similarities, np.ones((1, prompts, seeds)), np.ones((1, prompts)))[0]
    if not np.isfinite(value):
        raise ValueError(
            "The base pictures are as alike to the character as real ones, so likeness has no scale. Does the base "
            "model already know the character, or are the arguments swapped?"
        )
    draws = _placed(similarities, *_draws(prompts, seeds, np.random.default_rng(seed)))
    return Likeness(float(value), *_interval(draws, prompts), draws)


def mean(likenesses: Sequence[Likeness], seed: int = 0) -> Likeness:
    """The mean over characters. Its interval resamples them too; the prompts and seeds of a resample are the same for
    all, as all were drawn with the same ones."""
    return _mean([each.value for each in likenesses], np.stack([each.draws for each in likenesses], axis=1), seed)


def mean_lead(ours: Sequence[Likeness], theirs: Sequence[Likeness], seed: int = 0) -> Likeness:
    """The mean over characters of how far one likeness is above another, of the same characters in the same order."""
    pairs = list(zip(ours, theirs, strict=True))
    values = [one.value - other.value for one, other in pairs]
    return _mean(values, np.stack([one.draws - other.draws for one, other in pairs], axis=1), seed)


def _mean(values: Sequence[float], draws: np.ndarray, seed: int) -> Likeness:
    """draws: RESAMPLES,N of N characters."""
    who = np.random.default_rng(seed).integers(len(values), size=draws.shape)
    resampled = np.take_along_axis(draws, who, axis=1).mean(1)  # nan where one is: a draw of too few prompts
    return Likeness(float(np.mean(values)), *_interval(resampled, len(values)), resampled)


def _interval(draws: np.ndarray, count: int) -> tuple[float, float]:
    """The percentiles of a bootstrap over `count` independent things, moved outwards for small counts, where plain
    ones are too narrow (expanded percentiles; Hesterberg, What Teachers Should Know About the Bootstrap, 2015)."""
    spread = scipy.stats.norm.isf(OUTSIDE / 2)
    if count > 1:
        spread = np.sqrt(count / (count - 1)) * scipy.stats.t.isf(OUTSIDE / 2, count - 1)
    tail = 100 * scipy.stats.norm.sf(spread)
    low, high = np.nanpercentile(draws, (tail, 100 - tail))
    return float(low), float(high)


def diversity(generated: np.ndarray, real: np.ndarray) -> float:
    """How much generated pictures (P,S,D) differ between prompts, as a share of how much real ones (P,D) do.

    The mean cosine distance of two pictures of different prompts, any seeds, divided by that of two real pictures.
    1: as varied as the real ones; 0: one picture whatever the prompt. Raises ValueError as `likeness` does.
    """
    _require_grid(generated)
    _require_real(real, generated)
    return float(_distance_between_prompts(generated.mean(1)) / _distance_between_prompts(real))


def changed(with_lora: np.ndarray, without: np.ndarray) -> np.ndarray:
    """How much a LoRA changes the pictures of each prompt, P: the mean cosine distance of the picture with it to the
    one without. Both P,S,D, the same prompts and seeds.

    Over `between_seeds` of the same prompts it is the bleed: 0: no change; 1: as if another seed had been drawn.
    Whether the change is towards the character is `likeness` of the same pictures. Raises ValueError on wrong shapes.
    """
    _require_grid(with_lora, without)
    return 1 - np.einsum("psd,psd->ps", with_lora, without).mean(1)


def between_seeds(pictures: np.ndarray) -> np.ndarray:
    """How much the pictures P,S,D of each prompt differ, P: the mean cosine distance of two seeds. Raises ValueError on
    wrong shapes or fewer than two seeds."""
    _require_grid(pictures)
    seeds = pictures.shape[1]
    if seeds < 2:
        raise ValueError(f"Two seeds or more are needed to see how much they differ; got {seeds} per prompt.")
    cosines = pictures @ pictures.swapaxes(1, 2)  # P,S,S
    return 1 - cosines[:, ~np.eye(seeds, dtype=bool)].mean(1)


def _to_other_looks(pictures: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Cosines of P,S,D to P,D: P,S,P, with 0 where the prompts are the same, so that a sum leaves them out."""
    cosines = pictures.astype(np.float64) @ real.T.astype(np.float64)
    return cosines * ~np.eye(len(real), dtype=bool)[:, None]


def _placed(similarities: list[np.ndarray], pictures: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Likeness for each of N draws, N; nan where it has no scale, or no pair as only one prompt was drawn.

    similarities: of generated, base and real pictures; pictures: N,P,S, how often each was drawn; prompts: N,P.
    """
    generated, base = (_scores(similarity, pictures, prompts) for similarity in similarities[:2])
    real = _scores(similarities[2], prompts[..., None], prompts)
    scale = real - base
    return np.divide(generated - base, scale, out=np.full(len(scale), np.nan), where=scale > 1e-9)


def _scores(similarity: np.ndarray, pictures: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """The score of each draw, times its number of pairs of prompts, which cancels in a likeness: N."""
    towards = pictures.reshape(len(pictures), -1) @ similarity.reshape(-1, similarity.shape[2])  # N,P
    return (towards * prompts).sum(1) / similarity.shape[1]


def _draws(prompts: int, seeds: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each draw holds each picture, N,P,S, and each prompt, N,P: prompts first, then the seeds of each."""
    prompt = generator.integers(prompts, size=(RESAMPLES, prompts, 1))
    picture = prompt * seeds + generator.integers(seeds, size=(RESAMPLES, prompts, seeds))
    cell = picture + np.arange(RESAMPLES)[:, None, None] * prompts * seeds
    counts = np.bincount(cell.ravel(), minlength=RESAMPLES * prompts * seeds).reshape(RESAMPLES, prompts, seeds)
    return counts.astype(np.float64), counts.sum(2) / seeds


def _distance_between_prompts(vectors: np.ndarray) -> float:
    """Mean of 1 - cosine over pairs of different rows; P,D. A row may be a mean over seeds, as cosines are linear."""
    cosines = vectors @ vectors.T
    return 1 - cosines[~np.eye(len(vectors), dtype=bool)].mean()


def _require_grid(*grids: np.ndarray) -> None:
    for grid in grids:
        if grid.ndim != 3 or 0 in grid.shape:
            raise ValueError(f"Expected vectors of prompts, seeds and numbers (P,S,D); got the shape {grid.shape}.")
        if grid.shape != grids[0].shape:
            raise ValueError(
                f"Pictures with and without the LoRA must be of the same prompts and seeds; got {grids[0].shape} and "
                f"{grid.shape}."
            )
        _require_unit(grid)


def _require_real(real: np.ndarray, generated: np.ndarray) -> None:
    prompts, _, numbers = generated.shape
    if real.shape != (prompts, numbers):
        raise ValueError(f"Expected one real picture per prompt, {(prompts, numbers)}; got the shape {real.shape}.")
    if prompts < FEWEST_PROMPTS:
        raise ValueError(f"Pictures are compared across prompts; got {prompts}, expected {FEWEST_PROMPTS} or more.")
    _require_unit(real)


def _require_unit(vectors: np.ndarray) -> None:
    lengths = np.linalg.norm(vectors, axis=-1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise ValueError(f"Expected vectors of length 1; got lengths from {lengths.min():.3g} to {lengths.max():.3g}.")
