"""The people that the demo base is trained on: who they are, how they look in one picture, how a caption names it.

An identity is a head shape, a hair colour and a skin colour. Everything else is the look of one picture; its words and
colours are the sample character's, so that one vocabulary serves both. The identities in held_out.yaml are never drawn
for training.
"""

from __future__ import annotations

import colorsys
import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from ..sample_character.draw import ACCESSORIES, BACKGROUND, CLOTHING, EXPRESSIONS, Look

HELD_OUT_FILE = Path(__file__).with_name("held_out.yaml")

# DiceBear's head -> words. These show their hair in any colour …
COLOURED_HEADS = {
    "bangs": "short bob with a fringe",
    "cornrows": "braids",
    "grayBun": "hair bun",
    "grayMedium": "low bun",
    "grayShort": "side parting",
    "mediumBangs2": "wavy mullet",
    "mohawk": "mohawk",
    "mohawk2": "spiky mohawk",
    "noHair3": "half bald",
    "short4": "wavy quiff",
}
# … these in the colour of the outlines, which is black …
BLACK_HEADS = {
    "afro": "afro",
    "bangs2": "straight bob",
    "bantuKnots": "bantu knots",
    "bun": "hair bun with a headband",
    "bun2": "messy bun",
    "buns": "two buns",
    "cornrows2": "long braid",
    "dreads1": "shaggy hair",
    "dreads2": "curly hair",
    "flatTop": "flat top",
    "flatTopLong": "high flat top",
    "hatBeanie": "beanie",
    "hatHip": "wide hat",
    "long": "long hair",
    "longAfro": "big afro",
    "longBangs": "long hair with a fringe",
    "longCurly": "long curly hair",
    "medium1": "chin length hair",
    "medium2": "flipped hair",
    "medium3": "shoulder length hair",
    "mediumBangs": "soft hair with a fringe",
    "mediumBangs3": "layered hair with a fringe",
    "mediumStraight": "asymmetric bob",
    "pomp": "pompadour",
    "shaved1": "slicked back hair",
    "shaved2": "undercut",
    "shaved3": "wild hair",
    "short1": "short hair",
    "short2": "crew cut",
    "short3": "short curly hair",
    "short5": "choppy hair",
    "twists": "short twists",
    "twists2": "curly top",
}
# … and these show none.
HAIRLESS_HEADS = {"hijab": "hijab", "noHair1": "bald", "noHair2": "three hairs", "turban": "turban"}
HEADS = COLOURED_HEADS | BLACK_HEADS | HAIRLESS_HEADS

HAIR = {
    "grey": "#b8bcc4",
    "blonde": "#e8c468",
    "brown": "#7a4a2b",
    "red": "#c93305",
    "pink": "#f06fa6",
    "blue": "#3f6fc4",
    "purple": "#7d55b8",
    "green": "#4f9a45",
    "teal": "#16a3a0",  # the sample character's; never in training
}
TRAINING_HAIR = tuple(word for word in HAIR if word != "teal")
SKIN = {"pale": "#ffdbb4", "light": "#edb98a", "tan": "#d08b5b", "brown": "#ae5d29", "dark": "#694d3d"}
NOUNS = ("person", "woman", "man")

COLOURED_SHARE = 0.5  # of the training pictures; by count of heads it would be a fifth
DYED_SHARE = 0.3  # of the pictures with coloured hair: any colour, in no caption; eight colours alone are no scale
DYE_SATURATION, DYE_VALUE = (0.3, 1.0), (0.35, 1.0)
TEAL_HUE, TEAL_MARGIN = 0.497, 0.1  # of the full circle; no dye is nearer
ACCESSORY_SHARE = 0.3
NAMED_SHARE = 0.5  # of the captions; a made-up name teaches the base that an unknown name says nothing about looks
IDENTITY_WORD_SHARE, LOOK_WORD_SHARE = 0.6, 0.9  # how often a caption names each of them
MAX_TILT = 8  # degrees
SCALES = (0.9, 1.1)
SYLLABLES = ("ba", "da", "fen", "go", "hel", "ju", "ka", "lo", "mi", "nor", "pi", "ra", "sa", "tu", "vel", "wy", "zan")


@dataclass(frozen=True)
class Identity:
    """A person. head: a key of HEADS; hair: a key of HAIR, "black", or None for a head without; skin: of SKIN."""

    head: str
    hair: str | None
    skin: str

    def __post_init__(self):
        hairs = HAIR if self.head in COLOURED_HEADS else ("black",) if self.head in BLACK_HEADS else (None,)
        if self.head not in HEADS or self.hair not in hairs or self.skin not in SKIN:
            raise ValueError(f"{self} is no identity: its head, hair or skin is not in this module's tables.")


@dataclass(frozen=True)
class Portrait:
    """One picture: who, looking how, and the words for it. dye: "#rrggbb", in the place of the person's hair colour."""

    identity: Identity
    look: Look
    caption: str
    dye: str | None = None


@functools.cache
def held_out() -> tuple[Identity, ...]:
    """The identities that training never draws, in the file's order; a new head shape of theirs is never drawn."""
    return tuple(Identity(**row) for row in yaml.safe_load(HELD_OUT_FILE.read_text(encoding="utf-8"))["identities"])


@functools.cache
def unseen_heads() -> frozenset[str]:
    """Head shapes that no training identity has."""
    return frozenset(yaml.safe_load(HELD_OUT_FILE.read_text(encoding="utf-8"))["unseen_heads"])


@functools.cache
def training_identities() -> tuple[tuple[Identity, ...], tuple[Identity, ...]]:
    """All that training may draw: those with coloured hair, and the others."""
    coloured = [Identity(head, hair, skin) for head in COLOURED_HEADS for hair in TRAINING_HAIR for skin in SKIN]
    others = [Identity(head, "black", skin) for head in BLACK_HEADS for skin in SKIN]
    others += [Identity(head, None, skin) for head in HAIRLESS_HEADS for skin in SKIN]
    return tuple(filter(_may_be_drawn, coloured)), tuple(filter(_may_be_drawn, others))


def _may_be_drawn(identity: Identity) -> bool:
    return identity not in held_out() and identity.head not in unseen_heads()


def training_portrait(seed: int, index: int) -> Portrait:
    """Picture `index` of the training set; every draw comes from (seed, index) alone."""
    generator = np.random.default_rng([seed, index])
    coloured, others = training_identities()
    identities = coloured if generator.random() < COLOURED_SHARE else others
    identity = identities[generator.integers(len(identities))]
    dye = random_dye(generator) if _may_be_dyed(identity) and generator.random() < DYED_SHARE else None
    look = random_look(generator)
    kept = identity_words(identity) if dye is None else _words_but_hair(identity)
    return Portrait(identity, look, training_caption(kept, look, generator), dye)


def _may_be_dyed(identity: Identity) -> bool:
    """Someone who differs from a held-out person by the hair colour alone might be dyed into that person."""
    alike = {(person.head, person.skin) for person in held_out()}
    return identity.head in COLOURED_HEADS and (identity.head, identity.skin) not in alike


def random_dye(generator: np.random.Generator) -> str:
    """Any "#rrggbb" that is neither too pale nor too dark, nor near the sample character's teal."""
    hue = (TEAL_HUE + generator.uniform(TEAL_MARGIN, 1 - TEAL_MARGIN)) % 1
    colour = colorsys.hsv_to_rgb(hue, generator.uniform(*DYE_SATURATION), generator.uniform(*DYE_VALUE))
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colour)


def random_look(generator: np.random.Generator) -> Look:
    """Any expression, accessory, colours, direction, tilt and size; a shirt never has its background's colour word."""
    clothing = str(generator.choice(list(CLOTHING)))
    return Look(
        expression=str(generator.choice(list(EXPRESSIONS))),
        accessory=str(generator.choice(list(ACCESSORIES))) if generator.random() < ACCESSORY_SHARE else None,
        clothing=clothing,
        background=str(generator.choice([word for word in BACKGROUND if word != clothing])),
        facing="left" if generator.random() < 0.5 else "right",
        rotate=int(generator.integers(-MAX_TILT, MAX_TILT + 1)),
        scale=round(float(generator.uniform(*SCALES)), 3),
    )


def level(look: Look) -> Look:
    """The same look, upright and of normal size."""
    return replace(look, rotate=0, scale=1.0)


def caption(subject: str, look: Look, identity: Identity | None = None) -> str:
    """The words for a picture: who, the identity's words when it is given, then what varies."""
    words = [subject, *(identity_words(identity) if identity else []), *look_words(look)]
    return ", ".join(words)


def identity_words(identity: Identity) -> list[str]:
    """Head shape, hair, skin."""
    head, skin = _words_but_hair(identity)
    return [head, *([f"{identity.hair} hair"] if identity.hair else []), skin]


def _words_but_hair(identity: Identity) -> list[str]:
    return [HEADS[identity.head], f"{identity.skin} skin"]


def look_words(look: Look) -> list[str]:
    """Expression, accessory, shirt, background, direction: in the order of the sample character's captions."""
    accessory = [ACCESSORIES[look.accessory]] if look.accessory else []
    return [
        EXPRESSIONS[look.expression],
        *accessory,
        f"{look.clothing} shirt",
        f"{look.background} background",
        f"facing {look.facing}",
    ]


def training_caption(who: list[str], look: Look, generator: np.random.Generator) -> str:
    """A caption that leaves words out at random: the base must draw what is asked for and choose what is not."""
    noun = str(generator.choice(NOUNS))
    name = f"{made_up_name(generator)} " if generator.random() < NAMED_SHARE else ""
    kept = [word for word in who if generator.random() < IDENTITY_WORD_SHARE]
    kept += [word for word in look_words(look) if generator.random() < LOOK_WORD_SHARE]
    return ", ".join([name + noun, *kept])


def made_up_name(generator: np.random.Generator) -> str:
    """Two or three syllables; "mi" and "ra" never follow each other, so no caption names the sample character."""
    while True:
        name = "".join(generator.choice(SYLLABLES, size=generator.integers(2, 4)))
        if "mira" not in name:
            return name
