"""From where a subject is to what is shown of it: the face, the bust, all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dataset.records import Box
from .subject import Subject

FACE, BUST, FULL = FRAMINGS = ("face", "bust", "full")  # the closest first
SETS = {" + ".join(names): names for names in [
    (FULL,), (BUST,), (FACE,), (FACE, BUST), (FACE, FULL), (BUST, FULL), FRAMINGS,
]}  # fmt: skip
FIGURE = "figure"
KINDS = (FIGURE, FACE)  # what a subject's box is of

# Drillis and Contini, Body Segment Parameters, 1966 (in Winter, Biomechanics and Motor Control of Human Movement,
# figure 4.1): heights above the floor and breadths of adults, as shares of the stature.
_CHIN, _SHOULDER, _ELBOW, _SHOULDERS_BREADTH = 0.870, 0.818, 0.630, 0.259
# As shares of the body below the chin, so that they serve figures of any number of heads. A bust ends half way from the
# shoulder to the elbow.
_BUST_END = (_CHIN - (_SHOULDER + _ELBOW) / 2) / _CHIN
_BREADTH = _SHOULDERS_BREADTH / _CHIN
# Of the head's height, hairline to chin: what face detectors are trained to box (Farkas, Anthropometry of the Head and
# Face, 1994: trichion to gnathion against vertex to gnathion).
_FACE_OF_HEAD = 0.8
_REACH = 0.5  # width of a whole figure whose face alone is known, of its height: arms a little apart
_BLOCK = 0.97  # of a box's width
_ALIKE = 0.9  # intersection over union from which one frame is as good as another


@dataclass(frozen=True)
class Framing:
    """names: of FRAMINGS. kind: one of KINDS. heads: how many heads tall the figure is. margin: on every side, of the
    frame's longer one."""

    names: tuple[str, ...] = (FULL,)
    kind: str = FIGURE
    heads: float = 7.5
    margin: float = 0.1


@dataclass(frozen=True)
class Head:
    """From the crown to the chin, in pixels. middle: its place across."""

    middle: float
    top: float
    height: float


def frames(subject: Subject, size: tuple[int, int], framing: Framing) -> dict[str, Box]:
    """What is shown in each framing, the closest first, inside a picture of this width and height. One that shows
    nearly the same as a closer one is left out: a picture that ends at the chest has no other full frame than its
    bust."""
    found: dict[str, Box] = {}
    head = head_of(subject, size, framing)
    for name in FRAMINGS:
        if name in framing.names:
            box = _with_margin(_edges(name, head, subject, framing), framing.margin, size)
            if not any(overlap(box, closer) >= _ALIKE for closer in found.values()):
                found[name] = box
    return found


def head_of(subject: Subject, size: tuple[int, int], framing: Framing) -> Head:
    """Of a face's box: as much higher as heads are than faces. Of a figure's box: the share that one of so many heads
    has, at the top. Pictures that end above the feet show that by their shape: the head is never so small that the
    shoulders would be narrower than the box, and no lower than the figure is wide there, as far as its shape is
    known."""
    left, top, right, bottom = subject.box
    middle = (left + right) / 2
    if framing.kind == FACE:
        height = (bottom - top) / _FACE_OF_HEAD
        return Head(middle, bottom - height, height)
    height = max((bottom - top) / framing.heads, (right - left) / _breadth(framing.heads))
    if subject.shape is None:
        return Head(middle, top, height)
    height = max(height, min(bottom - top, _width(subject, size, height)))
    return Head(_middle(subject, size, height), top, height)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(0, width) * max(0, height)
    return shared / (math.prod(one.size) + math.prod(other.size) - shared)


def _breadth(heads: float) -> float:
    """Of the shoulders, in heads; a figure is nowhere narrower than its head is high."""
    return max(1.0, _BREADTH * (heads - 1))


def _width(subject: Subject, size: tuple[int, int], height: float) -> float:
    """Of the subject in the upper part of its box, in most rows of it; 0 where it is as wide as all of the box: such a
    shape is a mask painted as a block."""
    upper = _upper(subject, size, height)
    width = float(np.median(upper.sum(1))) * size[0] / upper.shape[1]
    return width if width < _BLOCK * subject.box.size[0] else 0.0


def _middle(subject: Subject, size: tuple[int, int], height: float) -> float:
    """Of the head across: the mean of what belongs to the subject in the rows of the head."""
    left, _, right, _ = subject.box
    counts = _upper(subject, size, height).sum(0)
    if not counts.any():
        return (left + right) / 2
    place = (np.arange(len(counts)) @ counts / counts.sum() + 0.5) * size[0] / len(counts)
    return float(min(max(place, left), right))


def _upper(subject: Subject, size: tuple[int, int], height: float) -> np.ndarray:
    """The rows of the shape that are the upper part of its box, so high; one at least."""
    _, top, _, bottom = subject.box
    rows = len(subject.shape)
    first = int(top * rows / size[1])
    return subject.shape[first : max(first + 1, math.ceil(min(bottom, top + height) * rows / size[1]))]


def _edges(name: str, head: Head, subject: Subject, framing: Framing) -> tuple[float, float, float, float]:
    if name == FULL and framing.kind == FIGURE:
        return subject.box
    below = framing.heads - 1
    width, height = {
        FACE: (1.0, 1.0),  # square: room for hair
        BUST: (_breadth(framing.heads), 1 + _BUST_END * below),
        FULL: (max(1.0, _REACH * framing.heads), framing.heads),
    }[name]
    half = head.height * width / 2
    return head.middle - half, head.top, head.middle + half, head.top + head.height * height


def _with_margin(edges: tuple[float, float, float, float], margin: float, size: tuple[int, int]) -> Box:
    left, top, right, bottom = edges
    more = margin * max(right - left, bottom - top)
    return Box(
        max(0, math.floor(left - more)),
        max(0, math.floor(top - more)),
        min(size[0], math.ceil(right + more)),
        min(size[1], math.ceil(bottom + more)),
    )
