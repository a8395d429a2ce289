"""The values of the character library, and how they are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import yaml

_LONGEST_TEXT, _LONGEST_NAME = 100_000, 200  # characters


class CharacterError(ValueError):
    """A character that cannot be; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Reference:
    """A picture of the character. file: its name in references/; sha256: of its bytes."""

    file: str
    sha256: str
    caption: str = ""


@dataclass(frozen=True)
class Version:
    """A LoRA that was trained of the character.

    id: v1, v2, …, never given again. file: its name in loras/; sha256: of its bytes. run: the id of the run that
    trained it. base: sha256 of the base's weights. scores: what was measured, by name. created: UTC, ISO 8601.
    """

    id: str
    file: str
    sha256: str
    created: str
    run: str = ""
    base: str = ""
    note: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))


@dataclass(frozen=True)
class Character:
    """Who a character is, and what there is of it.

    slug: the name of its folder, which stays when `name` changes. trigger: the word that means it in captions and
    prompts. class_noun: what it is, such as woman. chosen: the id of the version to use; empty: the latest. created,
    changed: UTC, ISO 8601. Raises CharacterError for names that are empty or too long.
    """

    slug: str
    name: str
    trigger: str = ""
    class_noun: str = ""
    description: str = ""
    notes: str = ""
    references: tuple[Reference, ...] = ()
    versions: tuple[Version, ...] = ()
    chosen: str = ""
    numbered: int = 0  # versions that were ever made
    created: str = ""
    changed: str = ""

    def __post_init__(self):
        for what in ("name", "trigger", "class_noun"):
            _check_length(what, getattr(self, what), _LONGEST_NAME)
        if not self.name.strip():
            raise CharacterError("a character needs a name. Fill it in.")
        for what in ("description", "notes"):
            _check_length(what, getattr(self, what), _LONGEST_TEXT)
        if self.chosen and self.chosen not in {version.id for version in self.versions}:
            raise CharacterError(f"{self.name} has no version {self.chosen}. Choose one of {self.version_ids()}.")

    @property
    def version(self) -> Version | None:
        """The one to use: the chosen one, else the latest; none where there are none."""
        chosen = (version for version in self.versions if version.id == self.chosen)
        return next(chosen, self.versions[-1] if self.versions else None)

    def version_of(self, id: str) -> Version:
        """The one of an id, or with none the one to use. Raises CharacterError where it is not there."""
        if not self.versions:
            raise CharacterError(f"{self.name} has no LoRA yet. Train one, and add it with Add LoRA to Character.")
        found = next((version for version in self.versions if version.id == id), None) if id else self.version
        if found is None:
            raise CharacterError(f"{self.name} has no version {id}. Choose one of {self.version_ids()}.")
        return found

    def version_ids(self) -> str:
        return ", ".join(version.id for version in self.versions) or "none"


def _check_length(what: str, text: str, longest: int) -> None:
    if not isinstance(text, str):
        raise CharacterError(f"{what} is {text!r}, and has to be text. In character.yaml, put it in quotes.")
    if len(text) > longest:
        raise CharacterError(f"{what} has {len(text)} characters; at most {longest} fit. Shorten it.")


def to_yaml(character: Character) -> str:
    """For people to read: who it is first, empty fields left out."""
    fields = {name: value for name, value in _plain(character).items() if value and name != "slug"}
    return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Lines of a text stay lines; what YAML takes for the end of one and people do not is escaped."""


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if any(sign in text for sign in "\x85\u2028\u2029") else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represented)


def from_yaml(text: str, slug: str) -> Character:
    """Raises CharacterError for a file that holds no character."""
    try:
        fields = yaml.safe_load(text)
        references = tuple(Reference(**each) for each in fields.pop("references", ()))
        versions = tuple(Version(**each) for each in fields.pop("versions", ()))
        return Character(slug=slug, references=references, versions=versions, **fields)
    except CharacterError:
        raise
    except (yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        raise CharacterError(f"character.yaml of {slug} is damaged ({error}). Mend it.") from error


def in_short(character: Character) -> str:
    """A line about it."""
    words = ", ".join(filter(None, [character.trigger, character.class_noun]))
    version = f"LoRA {character.version.id}" if character.version else "no LoRA"
    return character.name + (f" ({words})" if words else "") + f": {_pictures(character)}, {version}"


def _pictures(character: Character) -> str:
    number = len(character.references)
    return f"{number} picture" + ("" if number == 1 else "s")


def to_json(character: Character) -> dict[str, Any]:
    """For programs: every field, with the version to use."""
    version = character.version
    return _plain(character) | {"version": version and version.id}


def _plain(character: Character) -> dict[str, Any]:
    fields = {each.name: getattr(character, each.name) for each in dataclasses.fields(character)}
    return fields | {
        "references": [dict(vars(reference)) for reference in character.references],
        "versions": [vars(version) | {"scores": dict(version.scores)} for version in character.versions],
    }
