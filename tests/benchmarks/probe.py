"""Reads from a portrait what a prompt can ask for: hair, skin and background colour, and which way the person looks.

Made for the drawings of isengard.sota.demo_base and for what a model generates in their manner: flat colours within
black outlines, a head between upper corners that show the background. Every measure tolerates some blur, noise and
shift of colour.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from isengard.sota.demo_base import drawing, people

SIZE = drawing.SIZE
CORNER = 12  # pixels of the upper corners, both ways
FACE = np.s_[48:92, 56:88]  # of someone who faces right
SHOULDERS = 86  # rows above show no shirt
FOREHEAD = 56  # rows above show no sunglasses
BACK = 60  # columns to the left are behind the ear of someone who faces right

# Distances of colours, 0..255 per channel.
SAME, ALIKE = 30, 45
FLAT = 48  # the widest range of a channel within 3 x 3 pixels of one colour
DARK = 60  # the brightest channel of black, blurred

FEWEST_COLOURED = 30  # pixels; a bald head with a smile has fewer
FEWEST_BLACK = 40  # pixels; outlines alone have fewer
MOST_BLACK = 800  # pixels; coloured braids have fewer
STRIPED = 0.3  # striped pixels per black one: coloured braids have more, black hair fewer
LARGEST_STRAND = 45  # pixels within one flat colour at the back of the head; more is a hat

PORTRAITS, PENALTY, CELL = 400, 10.0, 8  # for the direction: pictures fitted, ridge penalty, pixels


@dataclass(frozen=True)
class Attributes:
    """What a picture shows, in the words of people.py; hair: a key of HAIR, "black", or None where there is none."""

    hair: str | None
    skin: str
    background: str
    facing: str


@dataclass(frozen=True)
class _Canvas:
    """A portrait that faces right. smooth: H,W,3 float; flat: H,W bool, away from edges; background, skin: 3."""

    smooth: np.ndarray
    flat: np.ndarray
    background: np.ndarray
    skin: np.ndarray


def attributes(picture: np.ndarray) -> Attributes:
    """What a portrait (128,128,3 uint8, sRGB) shows; raises ValueError on another shape or type.

    The hair of a person in a hat or headscarf without hair means nothing: both are of the shirt's colour.
    """
    if picture.shape != (SIZE, SIZE, 3) or picture.dtype != np.uint8:
        raise ValueError(f"Expected a picture of {SIZE},{SIZE},3 uint8; got {picture.shape} {picture.dtype}.")
    facing = _facing(picture)
    canvas = _canvas(picture if facing == "right" else picture[:, ::-1])
    return Attributes(
        hair=_hair(canvas),
        skin=_word(canvas.skin, people.SKIN),
        background=_word(canvas.background, people.BACKGROUND),
        facing=facing,
    )


def right(picture: np.ndarray, identity: people.Identity, look: people.Look) -> dict[str, bool]:
    """Which attributes of a portrait are as asked for; "hair" is left out for an identity that shows none."""
    shown = attributes(picture)
    asked = {"skin": identity.skin, "background": look.background, "facing": look.facing}
    if identity.hair:
        asked["hair"] = identity.hair
    return {name: getattr(shown, name) == word for name, word in asked.items()}


def _canvas(picture: np.ndarray) -> _Canvas:
    image = Image.fromarray(picture).filter(ImageFilter.MedianFilter(3))
    brightest, darkest = (np.asarray(image.filter(f(3)), int) for f in (ImageFilter.MaxFilter, ImageFilter.MinFilter))
    return _Canvas(
        smooth=np.asarray(image, float),
        flat=(brightest - darkest).max(2) < FLAT,
        background=_background(picture),
        skin=_skin(picture),
    )


def _background(picture: np.ndarray) -> np.ndarray:
    corners = picture[:CORNER, :CORNER], picture[:CORNER, -CORNER:]
    return np.median(np.concatenate(corners).reshape(-1, 3), axis=0)


def _skin(picture: np.ndarray) -> np.ndarray:
    """The colour of the largest group of skin-coloured pixels of the face: 3."""
    face = picture[FACE].reshape(-1, 3)
    distances = _distances(face, _colours(people.SKIN))
    word = np.where(distances.min(1) < ALIKE, distances.argmin(1), -1)
    words = np.bincount(word[word >= 0], minlength=len(people.SKIN))
    if not words.any():
        return np.median(face, axis=0)
    return np.median(face[word == words.argmax()], axis=0)


def _hair(canvas: _Canvas) -> str | None:
    """Large flat areas of a colour, unless there is solid black: then strands of a colour within it, or black."""
    black = _shrunk(canvas.smooth.max(2) < DARK, 2)[:FOREHEAD].sum()
    if black < FEWEST_BLACK:
        areas = _flat_hair(canvas)
        return list(people.HAIR)[areas.argmax()] if areas.max() >= FEWEST_COLOURED else None
    strands = _striped_hair(canvas)
    if black > MOST_BLACK or strands.max() < STRIPED * black or _hat(canvas):
        return "black"
    return list(people.HAIR)[strands.argmax()]


def _flat_hair(canvas: _Canvas) -> np.ndarray:
    """Flat pixels above the shoulders that are nearer to a hair colour than to anything else: one count per word."""
    words = len(people.HAIR)
    others = np.stack([canvas.background, canvas.skin, np.zeros(3), np.full(3, 255.0)])
    distances = _distances(canvas.smooth, np.concatenate([_colours(people.HAIR), others]))
    nearest = distances.argmin(2)
    hair = canvas.flat & (nearest < words) & (distances.min(2) < ALIKE)
    return np.bincount(nearest[:SHOULDERS][hair[:SHOULDERS]], minlength=words)


def _striped_hair(canvas: _Canvas) -> np.ndarray:
    """Pixels of thin strands at the back of the head: one count per hair word.

    A strand between black ones is never flat. It is darkened on the straight line from its colour to black, and no
    other colour is near it.
    """
    background, skin = (
        _distances(canvas.smooth, colour[None])[..., 0] < SAME for colour in (canvas.background, canvas.skin)
    )
    strand = ~_grown(background, 2) & ~_grown(_shrunk(canvas.flat & skin, 1), 3) & ~canvas.flat
    pixels = canvas.smooth[:SHOULDERS, :BACK][strand[:SHOULDERS, :BACK]]  # N,3
    colours = np.concatenate([_colours(people.HAIR), canvas.skin[None]])
    brightness = np.clip(pixels @ colours.T / (colours**2).sum(1), 0, 1)  # N,words
    distances = np.linalg.norm(pixels[:, None] - brightness[..., None] * colours, axis=2)
    nearest = distances.argmin(1)
    sure = (distances.min(1) < SAME) & (brightness[np.arange(len(nearest)), nearest] > 0.3)
    return np.bincount(nearest[sure], minlength=len(colours))[:-1]


def _hat(canvas: _Canvas) -> bool:
    """Whether a flat colour that is neither background, skin nor black covers the back of the head."""
    others = _distances(canvas.smooth, np.stack([canvas.background, canvas.skin, np.zeros(3)]))
    return _shrunk(canvas.flat & (others.min(2) > SAME), 1)[:FOREHEAD, :BACK].sum() > LARGEST_STRAND


def _facing(picture: np.ndarray) -> str:
    return "right" if _asymmetry(picture) @ _direction() > 0 else "left"


@functools.cache
def _direction() -> np.ndarray:
    """Weights of the asymmetry that are positive for "right": ridge regression on the first training portraits."""
    portraits = [people.training_portrait(0, index) for index in range(PORTRAITS)]
    features = np.stack([_asymmetry(drawing.pixels(portrait.identity, portrait.look)) for portrait in portraits])
    sides = np.array([1.0 if portrait.look.facing == "right" else -1.0 for portrait in portraits])
    return np.linalg.solve(features.T @ features + PENALTY * np.eye(features.shape[1]), features.T @ sides)


def _asymmetry(picture: np.ndarray) -> np.ndarray:
    """How the left half differs from the mirrored right one, in cells; a mirrored picture has the opposite sign."""
    grey = picture.mean(2).reshape(SIZE // CELL, CELL, SIZE // CELL, CELL).mean((1, 3)) / 255
    return (grey - grey[:, ::-1])[:, : SIZE // CELL // 2].ravel()


def _word(colour: np.ndarray, table: dict[str, str]) -> str:
    return list(table)[_distances(colour, _colours(table)).argmin()]


def _distances(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Euclidean: ...,3 and N,3 -> ...,N."""
    return np.linalg.norm(pixels[..., None, :] - colours, axis=-1)


def _colours(table: dict[str, str]) -> np.ndarray:
    """ "#rrggbb" -> N,3 float."""
    return np.array([[int(code[start : start + 2], 16) for start in (1, 3, 5)] for code in table.values()], float)


def _shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:
    return _filtered(mask, ImageFilter.MinFilter(2 * pixels + 1))


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    return _filtered(mask, ImageFilter.MaxFilter(2 * pixels + 1))


def _filtered(mask: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(kernel)).astype(bool)
