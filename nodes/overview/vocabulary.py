"""Which words of a caption say what of its picture: the view, the framing, the light and so on, by coverage.yml."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILE = Path(__file__).with_name("coverage.yml")

_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[,.;:!?\n]")  # a word, or what ends a phrase
_NEGATIONS = frozenset({"no", "not", "without", "never", "isn't", "aren't"})
_ARTICLES = frozenset({"a", "an", "any", "the"})
_COLOUR = "{colour}"


class VocabularyError(ValueError):
    """A vocabulary that cannot be used; the message says where and what to do."""


class Feature(NamedTuple):
    """What a picture shows: a value of an aspect, by their keys."""

    aspect: str
    value: str


@dataclass(frozen=True)
class Value:
    """phrases: that mean it. wanted: a data set of a character should have it. implies: the key of another value of the
    same aspect that is meant too; empty where there is none."""

    key: str
    name: str
    phrases: tuple[str, ...]
    wanted: bool = False
    implies: str = ""


@dataclass(frozen=True)
class Aspect:
    """A way in which pictures differ, and its values in order."""

    key: str
    name: str
    values: tuple[Value, ...]

    def value(self, key: str) -> Value:
        """Raises VocabularyError for a key that it has not."""
        return _with_key(self.values, key, f"aspect {self.key!r} has no value")


@dataclass(frozen=True)
class Vocabulary:
    """not_meant: phrases that hold one of a value and do not mean it."""

    aspects: tuple[Aspect, ...]
    not_meant: tuple[str, ...] = ()

    def aspect(self, key: str) -> Aspect:
        """Raises VocabularyError for a key that it has not."""
        return _with_key(self.aspects, key, "there is no aspect")

    def named(self, text: str) -> frozenset[Feature]:
        """What a caption or tag says of its picture. The longest phrase at a place counts, whole words only."""
        tokens, found, place = _tokens(text), set(), 0
        while place < len(tokens):
            length = self._phrase_at(tokens, place)
            if length and not _is_negated(tokens, place):
                found |= self._phrases[tuple(tokens[place : place + length])]
            place += max(1, length)
        return frozenset(found)

    def _phrase_at(self, tokens: list[str], place: int) -> int:
        """How many words long the longest phrase there is; 0: there is none."""
        lengths = range(min(self._longest.get(tokens[place], 0), len(tokens) - place), 0, -1)
        return next((length for length in lengths if tuple(tokens[place : place + length]) in self._phrases), 0)

    @functools.cached_property
    def _phrases(self) -> Mapping[tuple[str, ...], frozenset[Feature]]:
        """What each phrase means, by its words."""
        means = {tuple(_tokens(phrase)): frozenset() for phrase in self.not_meant}
        for aspect in self.aspects:
            for value in aspect.values:
                features = {Feature(aspect.key, key) for key in (value.key, value.implies) if key}
                for words in (tuple(_tokens(phrase)) for phrase in value.phrases):
                    means[words] = means.get(words, frozenset()) | features
        return means

    @functools.cached_property
    def _longest(self) -> Mapping[str, int]:
        """By their first word, how many words the phrases have at most."""
        longest: dict[str, int] = {}
        for words in self._phrases:
            longest[words[0]] = max(len(words), longest.get(words[0], 0))
        return longest


@functools.cache
def vocabulary() -> Vocabulary:
    """The one that comes with the pack."""
    return read(FILE)


def read(file: Path) -> Vocabulary:
    """Raises VocabularyError for a file that is none."""
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VocabularyError(f"{file.name} cannot be read: {_in_one_line(error)}. Mend it there.") from error
    return of_entries(entries, file.name)


def of_entries(entries: Any, source: str) -> Vocabulary:
    """From what YAML gives; source: for messages. Raises VocabularyError."""
    known = _mapping(entries, source, {"aspects"}, {"colours", "not_meant"})
    colours = _texts(known.get("colours", []), f"{source}, colours", least=0)
    aspects = _mapping(known["aspects"], f"{source}, aspects")
    return Vocabulary(
        tuple(_aspect(key, entry, colours, f"{source}, {key}") for key, entry in aspects.items()),
        _texts(known.get("not_meant", []), f"{source}, not_meant", least=0),
    )


def _aspect(key: str, entry: Any, colours: tuple[str, ...], where: str) -> Aspect:
    said = _mapping(entry, where, {"name", "values"})
    values = _mapping(said["values"], f"{where}, values")
    aspect = Aspect(
        key,
        _text(said["name"], f"{where}, name"),
        tuple(_value(each, of_it, colours, f"{where}, {each}") for each, of_it in values.items()),
    )
    for value in aspect.values:
        if value.implies and value.implies not in values:
            raise VocabularyError(
                f"{where}, {value.key}: implies is {value.implies!r}, which is none of {', '.join(values)}. Name one."
            )
    return aspect


def _value(key: str, entry: Any, colours: tuple[str, ...], where: str) -> Value:
    said = _mapping(entry, where, {"name", "phrases"}, {"wanted", "implies"})
    wanted = said.get("wanted", False)
    if not isinstance(wanted, bool):
        raise VocabularyError(f"{where}: wanted is {wanted!r}; it has to be true or false.")
    phrases = _texts(said["phrases"], f"{where}, phrases", least=1)
    all_colours = tuple(
        phrase.replace(_COLOUR, colour)
        for phrase in phrases
        for colour in (colours if _COLOUR in phrase else [""])  # without it there is nothing to replace
    )
    implies = _text(said["implies"], f"{where}, implies") if "implies" in said else ""
    return Value(key, _text(said["name"], f"{where}, name"), all_colours, wanted, implies)


def _mapping(entry: Any, where: str, needed: Set[str] = frozenset(), also: Set[str] = frozenset()) -> dict:
    """Checked: it has text for keys; where some are needed, those and no others than those `also`."""
    if not isinstance(entry, dict) or not entry or not all(isinstance(key, str) for key in entry):
        raise VocabularyError(f"{where}: got {_short(entry)}; expected names with what belongs to them. Mend it.")
    lacking, unknown = needed - set(entry), set(entry) - needed - also if needed else set()
    if lacking:
        raise VocabularyError(f"{where}: {', '.join(sorted(lacking))} is missing. Add it.")
    if unknown:
        raise VocabularyError(
            f"{where}: {', '.join(sorted(unknown))} means nothing here; known are {', '.join(sorted(needed | also))}. "
            "Correct or remove it."
        )
    return entry


def _texts(entry: Any, where: str, least: int) -> tuple[str, ...]:
    if not isinstance(entry, list) or len(entry) < least:
        raise VocabularyError(f"{where}: got {_short(entry)}; expected a list with {least} or more texts. Mend it.")
    return tuple(_text(each, where) for each in entry)


def _text(entry: Any, where: str) -> str:
    if not isinstance(entry, str) or not _tokens(entry):
        raise VocabularyError(
            f"{where}: got {_short(entry)}; expected a text with words. Put it in quotes, or mend it."
        )
    return entry


def _short(entry: Any) -> str:
    said = repr(entry)
    return said if len(said) <= 60 else said[:60] + "…"


def _with_key(entries: tuple, key: str, lacking: str) -> Any:
    found = next((entry for entry in entries if entry.key == key), None)
    if found is None:
        raise VocabularyError(f"{lacking} {key!r}. Use one of {', '.join(entry.key for entry in entries)}.")
    return found


def _tokens(text: str) -> list[str]:
    """Words in small letters, and the signs between phrases."""
    plain = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    return _TOKEN.findall(plain)


def _is_negated(tokens: list[str], place: int) -> bool:
    before = [token for token in tokens[max(0, place - 2) : place] if token not in _ARTICLES]
    return bool(before) and before[-1] in _NEGATIONS


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
