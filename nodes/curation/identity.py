"""Pictures that show somebody else, by vectors that a CLIP_VISION gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..dataset import images
from ..dataset.records import Dataset
from .each import Progress

SCORE = (
    "identity"  # of a sample: how many deviations it is more like the others (or less, below 0) than they usually are
)
_FEWEST = 4  # pictures, of which one can be said to be odd
_LIKEST = 0.3  # of the others, that a picture is compared with: some of them may be odd too
_ROWS = 512  # compared at once with all others
_TO_SIGMA = 1.4826  # a normal distribution's deviation, over its median absolute deviation


class TooFew(ValueError):
    """Too few pictures to say what is odd; the message says what to do."""


def vectors(dataset: Dataset, embed: Callable[[Tensor], Tensor], progress: Progress = lambda done, of: None) -> Tensor:
    """N,d of unit length. embed: of 1,H,W,3 in 0..1 to 1,d, one picture after the other. Raises UnreadableImage."""
    found = []
    for done, sample in enumerate(dataset.samples, 1):
        found.append(torch.nn.functional.normalize(embed(images.read(sample)).float().cpu().flatten(1), dim=1))
        progress(done, len(dataset.samples))
    return torch.cat(found) if found else torch.zeros(0, 1)


def without_others(
    dataset: Dataset, vectors: Tensor, deviations: float, references: Tensor | None = None
) -> tuple[Dataset, Dataset]:
    """What shows the one whom most of the pictures show (or the references), and what does not.

    Each picture is compared with the third of the others that is most like it. It is odd where that is lower than usual
    by so many deviations; what is usual is said by the median, and how much pictures deviate by the median absolute
    deviation, so that odd ones hardly change either (Leys et al., "Detecting outliers", 2013). vectors: N,d;
    references: M,d; both of unit length. Raises TooFew.
    """
    if not dataset.samples:
        return dataset, dataset
    known = references if references is not None else vectors
    if len(known) < _FEWEST:
        raise TooFew(
            f"there are {len(known)} {'references' if references is not None else 'pictures'}, and it takes {_FEWEST} "
            "to say which is odd. Add some, or leave this node out."
        )
    usual = _likeness(known, known, themselves=True)
    found = usual if references is None else _likeness(vectors, references, themselves=False)
    middle = usual.median()
    deviation = _TO_SIGMA * (usual - middle).abs().median().clamp_min(1e-3)
    scores = ((found - middle) / deviation).tolist()
    scored = dataset.of(
        replace(sample, scores=sample.scores | {SCORE: score})
        for sample, score in zip(dataset.samples, scores, strict=True)
    )
    return scored.parted({
        sample.name: f"somebody else (identity {score:.1f}, at least {-deviations:g})"
        for sample, score in zip(scored.samples, scores, strict=True)
        if score < -deviations
    })  # fmt: skip


def _likeness(some: Tensor, others: Tensor, themselves: bool) -> Tensor:
    """N: the mean cosine with the likest of the others."""
    count, found = max(1, round(_LIKEST * (len(others) - themselves))), []
    for start in range(0, len(some), _ROWS):
        cosines = some[start : start + _ROWS] @ others.T
        if themselves:
            rows = torch.arange(len(cosines))
            cosines[rows, start + rows] = -2
        found.append(cosines.topk(count, dim=1).values.mean(1))
    return torch.cat(found)
