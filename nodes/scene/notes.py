"""What a person should know of a scene before it is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from ..captions.tokens import Length
from ..captions.triggers import stands_in
from ..characters.records import Character
from ..sampling import prompts


def notes(
    characters: Sequence[Character], texts: Sequence[str], whole: str, lengths: Callable[[str], Sequence[Length]]
) -> list[str]:
    """Of the characters' prompts, in the same order, and that of the whole. lengths: of a text, as the text encoder
    counts."""
    found = [
        f"{one.name} and {other.name} have the same trigger '{one.trigger}'. Each is drawn by its own LoRA, but a "
        "prompt cannot tell them apart: give one of them another trigger."
        for one, other in combinations(characters, 2)
        if one.trigger and one.trigger.casefold() == other.trigger.casefold() and one.slug != other.slug
    ]
    for character, text in zip(characters, texts, strict=True):
        found += [f"{character.name}: {note}" for note in prompts.notes(text, character.trigger, lengths(text))]
    found += [
        f"The prompt of the whole has {character.name}'s trigger: no LoRA acts on it there. Say what is common to all."
        for character in characters
        if character.trigger and stands_in(whole, character.trigger)
    ]
    return found + [f"The whole: {note}" for note in prompts.notes(whole, "", lengths(whole))]
