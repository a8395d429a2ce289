"""Where the subject of a picture is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..dataset import images
from ..dataset.records import Box, Dataset, Sample
from . import boxes, saliency, windows

METHODS = ("mask", "alpha", "boxes", "saliency")
CENTRE = "centre"


class NoSubject(ValueError):
    """A picture in which no subject is found; the message says why."""


@dataclass(frozen=True, eq=False)
class Subject:
    """box: within what is shown, in pixels. shape: where the subject is, bool over all that is shown, with as many
    rows and columns as its source has; None where only the box is known."""

    box: Box
    shape: np.ndarray | None = None


@dataclass(frozen=True)
class Search:
    """by: one of METHODS, or CENTRE for the middle, whatever is there. threshold: from which value on a mask or alpha
    channel counts, 0 to 1. form, choice: of boxes (`boxes.FORMS`, `boxes.CHOICES`)."""

    by: str = "mask"
    threshold: float = 0.5
    form: str = boxes.AUTO
    choice: str = boxes.LARGEST


Finder = Callable[[Sample], Subject]  # raises NoSubject


def finder(dataset: Dataset, search: Search, given: Sequence[Any] | None = None) -> Finder:
    """What finds the subjects of a data set's pictures, one at a time.

    given: what detector nodes put out, where the search is by boxes. Raises BoxError where it is missing or none.
    """
    if search.by == "boxes":
        return _by_boxes(dataset, search, given)
    return {
        "mask": lambda sample: by_mask(sample, search.threshold),
        "alpha": lambda sample: by_alpha(sample, search.threshold),
        "saliency": by_saliency,
        CENTRE: lambda sample: Subject(windows.centre(sample.size)),
    }[search.by]


def by_mask(sample: Sample, threshold: float = 0.5) -> Subject:
    """What is white in its mask. Raises NoSubject, UnreadableImage."""
    mask = images.read_mask(sample)
    if mask is None:
        raise NoSubject("it has no mask")
    return _of_shape(mask.cpu().numpy() >= threshold, "its mask is nowhere white")


def by_alpha(sample: Sample, threshold: float = 0.5) -> Subject:
    """What is opaque in its file, whatever colour the data set has below it. Raises NoSubject, UnreadableImage."""
    if isinstance(sample.image, Tensor):
        raise NoSubject("it comes from a node and has no transparency")
    channel = images.alpha(images.unchanged(sample.image, sample.origin.sha256))
    if channel is None:
        raise NoSubject("nothing of it is transparent")
    shown = channel.crop(sample.box) if sample.box else channel
    return _of_shape(np.asarray(shown) >= threshold * 255, "all of it is transparent")


def by_saliency(sample: Sample) -> Subject:
    """What stands out from the picture's border. Raises NoSubject, UnreadableImage."""
    found = saliency.find(images.opened(sample))
    if found is None:
        raise NoSubject("nothing in it stands out")
    return Subject(*found)


def _by_boxes(dataset: Dataset, search: Search, given: Sequence[Any] | None) -> Finder:
    found = boxes.of_pictures(given, len(dataset.samples), search.form)
    named = {sample.name: each for sample, each in zip(dataset.samples, found, strict=True)}

    def find(sample: Sample) -> Subject:
        try:
            box = boxes.chosen(named[sample.name], sample.size, search.choice)
        except boxes.BoxError as error:
            raise boxes.BoxError(f"{sample.name}: {error}") from error
        if box is None:
            raise NoSubject("nothing was detected in it")
        return Subject(box)

    return find


def _of_shape(shape: np.ndarray, nothing: str) -> Subject:
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    if not rows.size:
        raise NoSubject(nothing)
    return Subject(Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1), shape)
