"""What the likeness benchmark trains on and asks for: the looks of its pictures, and its prompts."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np

from isengard.sota.demo_base import drawing, people

TRIGGER, NOUN = "mira", "person"  # no name that the base was trained on: people.made_up_name never gives it
OTHER_NOUNS, OTHER_NAMES = ("woman", "man", "woman"), ("dafen", "julo", "wypa")
DESCRIBED = (
    people.Identity("mohawk", "blue", "pale"),
    people.Identity("afro", "black", "dark"),
    people.Identity("long", "black", "tan"),
)
TRAINING_PICTURES, PROMPTS = 14, 12
_SEED = 7


@functools.cache
def looks() -> tuple[tuple[people.Look, ...], tuple[people.Look, ...]]:
    """The looks of the training pictures and those of the prompts, which combine words as no training caption does.

    Each background stands with one direction in the training captions and with the other in the prompts, and no shirt
    of a prompt was seen before its background. In both, half of the people face each way and every background occurs.
    """
    generator = np.random.default_rng(_SEED)
    backgrounds = [str(word) for word in generator.permutation(list(people.BACKGROUND))]
    seen = list(zip(backgrounds, itertools.cycle(("left", "right")), strict=False))
    unseen = list(zip(backgrounds, itertools.cycle(("right", "left")), strict=False))
    training = [_look(generator, cell, set()) for cell in itertools.islice(itertools.cycle(seen), TRAINING_PICTURES)]
    worn = {(look.clothing, look.background) for look in training}
    prompted: list[people.Look] = []
    for cell in itertools.islice(itertools.cycle(unseen), PROMPTS):
        prompted.append(_look(generator, cell, worn))
        worn.add((prompted[-1].clothing, prompted[-1].background))  # no two prompts alike
    return tuple(training), tuple(prompted)


def _look(generator: np.random.Generator, cell: tuple[str, str], worn: set[tuple[str, str]]) -> people.Look:
    """A look with this background and direction, whose shirt has neither the background's colour word nor is `worn`
    before it."""
    background, facing = cell
    while True:
        look = replace(people.random_look(generator), background=background, facing=facing)
        if look.clothing != background and (look.clothing, background) not in worn:
            return look


def with_trigger() -> list[str]:
    return [people.caption(f"{TRIGGER} {NOUN}", look) for look in looks()[1]]


def without_trigger() -> list[tuple[str, str]]:
    """The prompts with other people in the trigger's place: pairs of who they are, a word for a table, and the text."""
    subjects = [("no_name", NOUN)] * 3
    subjects += [("other_noun", noun) for noun in OTHER_NOUNS]
    subjects += [("other_name", f"{name} {NOUN}") for name in OTHER_NAMES]
    subjects += [("described", ", ".join([NOUN, *people.identity_words(who)])) for who in DESCRIBED]
    return [(kind, people.caption(who, look)) for (kind, who), look in zip(subjects, looks()[1], strict=True)]


def real_pictures(identity: people.Identity) -> np.ndarray:
    """The character as each prompt asks for it, tilted and sized at random as in training: P,H,W,3 uint8."""
    return np.stack([drawing.pixels(identity, look) for look in looks()[1]])
