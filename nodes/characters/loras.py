"""The LoRA files of characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...trainers import lora_file
from .library import LORAS, Library
from .records import Character, CharacterError, Version


@dataclass(frozen=True)
class CharacterLora:
    """A LoRA as it was read from the library. metadata: of its file."""

    character: Character
    version: Version
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def called(self) -> str:
        """For people."""
        return f"{self.character.name}'s LoRA {self.version.id}"


def read(library: Library, character: Character, version: str = "") -> CharacterLora:
    """The version of an id, or without one that which is to be used. Raises CharacterError where there is none, or its
    file is gone; TrainingError for a damaged file."""
    found = character.version_of(version)
    file = library.folder(character.slug) / LORAS / found.file
    if not file.is_file():
        raise CharacterError(
            f"the file of {character.name}'s LoRA {found.id} is gone: there is no {found.file} in the character's "
            f"folder {LORAS}. Put it back, or use another version (there are: {character.version_ids()})."
        )
    return CharacterLora(character, found, *lora_file.read(file))
