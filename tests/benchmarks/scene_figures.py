"""Whose pictures the regions of a scene are, and what a scene changes outside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from isengard.sota.demo_base import drawing
from isengard.tests.benchmarks import probe, prompts
from isengard.tests.benchmarks.embedding import embed
from isengard.tests.benchmarks.scene_job import Member
from isengard.tests.benchmarks.scene_layouts import Layout, Place


@dataclass(frozen=True)
class Scale:
    """Of one character: its real pictures' vectors P,D, and the scores at which likeness is 0 and 1 (likeness.py)."""

    real: np.ndarray
    zero: float
    one: float

    def likeness(self, vectors: np.ndarray) -> np.ndarray:
        """Of single pictures N,D: N."""
        return ((vectors @ self.real.T).mean(1) - self.zero) / (self.one - self.zero)


def scales(members: Sequence[Member], base_pictures: np.ndarray) -> list[Scale]:
    """base_pictures: P,S,H,W,3 that the base draws of the likeness prompts without any LoRA."""
    base = embed(list(base_pictures.reshape(-1, *base_pictures.shape[2:])))
    found = []
    for member in members:
        real = embed(list(prompts.real_pictures(member.identity)))
        pairs = (real @ real.T)[~np.eye(len(real), dtype=bool)]
        found.append(Scale(real, float((base @ real.T).mean()), float(pairs.mean())))
    return found


@dataclass(frozen=True)
class Judged:
    """Of one region: whether it is more like its own character than like the other ones of the picture, and than like
    anybody else of all; likeness to its own; and which of its colours (of hair and skin) are its own's."""

    is_own: bool
    is_own_of_all: bool
    likeness: float
    colours: tuple[bool, ...]


def judged(picture: np.ndarray, layout: Layout, members: Sequence[Member], scales: Sequence[Scale]) -> list[Judged]:
    """Every region of a scene H,W,3 uint8."""
    crops = [cropped(picture, place) for place in layout.places]
    likeness = np.stack([scale.likeness(embed(crops)) for scale in scales], 1)  # places, members
    there = [place.who for place in layout.places]
    return [
        Judged(
            is_own=bool(row[place.who] >= max(row[who] for who in there)),
            is_own_of_all=bool(row.argmax() == place.who),
            likeness=float(row[place.who]),
            colours=_colours(crop, members[place.who]),
        )
        for place, row, crop in zip(layout.places, likeness, crops, strict=True)
    ]


def cropped(picture: np.ndarray, place: Place) -> np.ndarray:
    """A region as a portrait of the size that is judged."""
    part = picture[place.top : place.top + place.height, place.left : place.left + place.width]
    return np.asarray(Image.fromarray(part).resize((drawing.SIZE, drawing.SIZE), Image.Resampling.BICUBIC))


def _colours(portrait: np.ndarray, member: Member) -> tuple[bool, ...]:
    found = probe.attributes(portrait)
    skin = found.skin == member.identity.skin
    return (skin, found.hair == member.identity.hair) if member.identity.hair else (skin,)


def summary(name: str, rows: Sequence[Judged]) -> dict[str, float]:
    return {
        f"{name}_identity_right": float(np.mean([row.is_own for row in rows])),
        f"{name}_identity_right_of_all": float(np.mean([row.is_own_of_all for row in rows])),
        f"{name}_likeness": float(np.mean([row.likeness for row in rows])),
        f"{name}_colours_right": float(np.mean([right for row in rows for right in row.colours])),
    }


def outside_difference(scene: np.ndarray, base: np.ndarray, layout: Layout) -> float | None:
    """Mean difference of a scene and the base's picture (H,W,3 uint8) outside every region, 0 to 255; None where the
    regions leave nothing."""
    outside = np.ones(scene.shape[:2], bool)
    for place in layout.places:
        outside[place.top : place.top + place.height, place.left : place.left + place.width] = False
    return float(np.abs(scene.astype(int) - base)[outside].mean()) if outside.any() else None
