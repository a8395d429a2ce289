"""Pictures that are in a data set twice: the same file, or the same picture recompressed, resized, slightly cropped, or
made brighter or darker."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..dataset import images
from ..dataset.records import Dataset, Sample
from . import alignment, fingerprints, quality
from .each import Progress, of_each
from .fingerprints import Candidate

_ALIKE = "near-duplicate"
_PAIRS = 32  # aligned at once
_AGAIN = 8  # pictures that stay, with which one is compared that is paired with none of them
_CLOSEST = 8  # by their vectors
_CELLS = 8  # each way, of the grid by which pairs are chosen to be aligned
_UNLIKE = 0.15  # of its variance, that the one leaves unexplained of the other; copies leave 0.06 at most
_GAINS = (0.3, 3.0)
_PLAIN = 0.05  # a variance (summed over the grid) below which there is nothing to compare there
_OPENED = 256  # pictures that are kept for the next comparison; 48 MB


@dataclass(frozen=True)
class Pair:
    """Two samples, by their places, that are one picture. similarity: 1 is the same."""

    first: int
    second: int
    similarity: float
    seen: str = _ALIKE


def deduplicated(
    dataset: Dataset,
    similarity: float,
    progress: Progress = lambda done, of: None,
    vectors: Tensor | None = None,
    vector_similarity: float = 0.97,
) -> tuple[Dataset, Dataset]:
    """What stays and what is dropped: of the pictures that are one, the one with the most detail stays.

    A pair is one picture where it differs, laid over each other, by 1 - similarity at most in the place where it
    differs most, or where the vectors' cosine is above vector_similarity. vectors: N,d, of each picture by a
    CLIP_VISION. A kept picture takes the tags of its copies, and a caption or mask where it has none. Raises
    UnreadableImage.
    """
    samples = dataset.samples
    opened = functools.lru_cache(_OPENED)(lambda place: _square(samples[place]))
    pairs = [*_same_content(samples), *_alike(dataset, opened, similarity, progress)]
    pairs += [] if vectors is None else _close(vectors, vector_similarity)
    reasons: dict[str, str] = {}
    richer: dict[str, Sample] = {}
    for place, better, pair in _weaker(samples, pairs, opened, similarity, progress):
        copy, kept = samples[place], richer.get(samples[better].name, samples[better])
        richer[kept.name] = _with_what_is_known_of(kept, copy)
        lost = "; its mask is lost" if copy.mask and not richer[kept.name].mask else ""
        reasons[copy.name] = f"{pair.seen} of {kept.name} (similarity {pair.similarity:.2f}){lost}"
    kept, dropped = dataset.parted(reasons)
    return kept.of(richer.get(sample.name, sample) for sample in kept.samples), dropped


def _same_content(samples: Sequence[Sample]) -> list[Pair]:
    """Each picture that has been there before, with the first of its kind."""
    first: dict[str, int] = {}
    return [
        Pair(before, place, 1.0, "duplicate")
        for place, sample in enumerate(samples)
        if (before := first.setdefault(sample.content, place)) != place
    ]


def _alike(dataset: Dataset, opened: Callable[[int], Tensor], similarity: float, progress: Progress) -> Iterable[Pair]:
    """Pairs that are as similar when aligned."""
    thumbnails = of_each(dataset, lambda sample: fingerprints.thumbnail(images.reduced(sample, 64)), progress)
    found = fingerprints.candidates(np.stack(thumbnails)) if len(thumbnails) > 1 else []
    likely = [each for each in found if _roughly_alike(thumbnails, each)]
    for start in range(0, len(likely), _PAIRS):
        some = likely[start : start + _PAIRS]
        progress(len(thumbnails), len(thumbnails))  # the way out when it is cancelled
        for each, found_similarity in zip(some, _similarities(opened, some), strict=True):
            if found_similarity >= similarity:
                yield Pair(each.whole, each.part, found_similarity)


def _roughly_alike(thumbnails: Sequence[np.ndarray], pair: Candidate) -> bool:
    """Whether a grid of colours of the one is that of the other, up to brightness and contrast."""
    box = [side * fingerprints.SIDE for side in pair.window]
    whole, part = _cells(thumbnails[pair.whole], box), _cells(thumbnails[pair.part], None)
    gain = np.clip((whole * part).sum() / max(np.square(whole).sum(), 1e-3), *_GAINS)
    return bool(np.square(part - gain * whole).sum() <= _UNLIKE * max(np.square(part).sum(), _PLAIN))


def _cells(thumbnail: np.ndarray, box: Sequence[float] | None) -> np.ndarray:
    """_CELLS,_CELLS,3 float32, the mean of each channel taken off. box: left, top, right, bottom in pixels."""
    cells = Image.fromarray(thumbnail).resize((_CELLS, _CELLS), Image.Resampling.BOX, box)
    values = np.asarray(cells, np.float32) / 255
    return values - values.mean((0, 1))


def _similarities(opened: Callable[[int], Tensor], pairs: Sequence[Candidate]) -> list[float]:
    with torch.inference_mode():
        wholes = torch.stack([opened(pair.whole) for pair in pairs])
        parts = torch.stack([opened(pair.part) for pair in pairs])
        windows = torch.tensor([pair.window for pair in pairs])
        return (1 - alignment.differences(wholes, parts, windows)).tolist()


def _square(sample: Sample) -> Tensor:
    """3,SIDE,SIDE float32 in 0..1."""
    side = alignment.SIDE
    shown = images.reduced(sample, side).resize((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    return torch.from_numpy(np.asarray(shown, np.float32) / 255).movedim(-1, 0)


def _close(vectors: Tensor, least: float) -> Iterable[Pair]:
    """Pairs of vectors with at least this cosine; of each with the nearest few."""
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    for start in range(0, len(unit), 512):
        cosines, places = (unit[start : start + 512] @ unit.T).topk(min(_CLOSEST + 1, len(unit)), dim=1)
        for row, column in (cosines >= least).nonzero().tolist():
            if (other := int(places[row, column])) != start + row:
                yield Pair(start + row, other, float(cosines[row, column]), "look-alike")


def _groups(pairs: Iterable[Pair]) -> list[list[int]]:
    """Places that hang together by pairs, each group and all groups in order."""
    leader: dict[int, int] = {}

    def find(place: int) -> int:
        while leader.setdefault(place, place) != place:
            leader[place] = place = leader[leader[place]]
        return place

    for pair in pairs:
        first, second = sorted((find(pair.first), find(pair.second)))
        leader[second] = first
    groups = defaultdict(list)
    for place in sorted(leader):
        groups[find(place)].append(place)
    return list(groups.values())


def _weaker(
    samples: Sequence[Sample],
    pairs: Sequence[Pair],
    opened: Callable[[int], Tensor],
    similarity: float,
    progress: Progress,
) -> Iterable[tuple[int, int, Pair]]:
    """Each picture that is one with a better one that stays: its place, that one's, and what shows it. One that only
    hangs together with them by way of others stays, since a slow change is many pictures."""
    known = {frozenset((pair.first, pair.second)): pair for pair in reversed(pairs)}  # the surest comes first
    for group in _groups(pairs):
        detail = _details(samples, group)
        kept: list[int] = []
        for place in sorted(group, key=lambda place: (-detail[place], place)):
            progress(len(samples), len(samples))  # the way out when it is cancelled
            paired = (known[key] for better in kept if (key := frozenset((better, place))) in known)
            again = (_compared(opened, better, place) for better in kept[:_AGAIN])
            likely = (each for each in chain(paired, again) if each.seen != _ALIKE or each.similarity >= similarity)
            pair = next(likely, None)
            if pair is None:
                kept.append(place)
            else:
                yield place, pair.first if pair.second == place else pair.second, pair


def _details(samples: Sequence[Sample], group: Sequence[int]) -> dict[int, float]:
    """How much is to be seen of each; of the same content it is measured once."""
    by_content = {samples[place].content: samples[place] for place in group}
    found = {content: quality.detail(each) for content, each in by_content.items()} if len(by_content) > 1 else {}
    return {place: found.get(samples[place].content, 0.0) for place in group}


def _compared(opened: Callable[[int], Tensor], first: int, second: int) -> Pair:
    return Pair(first, second, _similarities(opened, [Candidate(first, second, fingerprints.WHOLE)])[0])


def _with_what_is_known_of(kept: Sample, copy: Sample) -> Sample:
    """Captions and mask of a copy where it has none (a mask only of the same size), and its tags too."""
    fits = copy.mask and not copy.mask.of_alpha and (copy.size, copy.box) == (kept.size, kept.box)
    return replace(
        kept,
        captions=kept.captions or copy.captions,
        tags=tuple(dict.fromkeys((*kept.tags, *copy.tags))),
        mask=kept.mask or (copy.mask if fits else None),
    )
