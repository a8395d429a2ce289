"""Prompts by a template: "{trigger} {class}, {red|blue} coat, __place__"."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..captions.tokens import Length
from ..captions.triggers import stands_in

FIELDS = ("trigger", "class", "tags", "description")
_TOKEN = re.compile(r"\\[{}|_]|[{}|]|__[\w./-]*?[^\W_]__|[^\\{}|_]+|.", re.DOTALL)
_WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)::")
_DEEPEST = 20  # lists that name lists
_LONGEST = 20_000  # characters, of a template and of what comes out

Wildcards = Callable[[str], Sequence[str]]  # the lines of a list by its name


class PromptError(ValueError):
    """A template that cannot be filled; the message says what to do."""


class Field(NamedTuple):
    """One of FIELDS."""

    name: str


class Wildcard(NamedTuple):
    """A line of a list."""

    name: str


class Option(NamedTuple):
    """What may be chosen, and how likely beside the others."""

    weight: float
    pieces: tuple[Piece, ...]


class Choice(NamedTuple):
    """One of several."""

    options: tuple[Option, ...]


Piece = str | Field | Wildcard | Choice


def filled(template: str, values: Mapping[str, str], wildcards: Wildcards, seed: int) -> str:
    """A prompt: fields of FIELDS in braces filled in, one of {a|b|c} chosen (2::a is twice as likely), __name__
    replaced by a line of the list of that name, which may be a template too; signs after \\ as they are. The same for
    the same seed. values: by FIELDS; an empty one leaves no comma behind.

    Raises PromptError for a field that there is none of, braces that do not match, empty lists, and lists that name
    themselves.
    """
    return _tidied(_Filling(values, wildcards, random.Random(seed)).of(parsed(template)))


def parsed(template: str) -> tuple[Piece, ...]:
    """The pieces of a template. Raises PromptError."""
    if len(template) > _LONGEST:
        raise PromptError(f"the template has {len(template)} characters; at most {_LONGEST} are read. Shorten it.")
    tokens = iter(_TOKEN.findall(template))
    (pieces,), end = _options(tokens, parting=False)
    if end:
        raise PromptError("the template has a } without a { before it. Take it out, or write \\}.")
    return pieces


def _options(tokens: Iterator[str], parting: bool = True) -> tuple[list[tuple[Piece, ...]], str]:
    """What stands up to the } that ends it, parted by |; and that end, empty where there is none."""
    options: list[list[Piece]] = [[]]
    for token in tokens:
        if token == "{":
            options[-1].append(_braces(tokens))
        elif token == "}":
            return [tuple(option) for option in options], token
        elif token == "|" and parting:
            options.append([])
        elif token.startswith("__") and len(token) > 4:
            options[-1].append(Wildcard(token[2:-2]))
        else:
            options[-1].append(token[1:] if token[0] == "\\" and len(token) == 2 else token)
    return [tuple(option) for option in options], ""


def _braces(tokens: Iterator[str]) -> Field | Choice:
    options, end = _options(tokens)
    if not end:
        raise PromptError("the template has a { without a } after it. Close it, or write \\{.")
    if len(options) > 1:
        return Choice(tuple(map(_option, options)))
    name = "".join(piece for piece in options[0] if isinstance(piece, str)).strip()
    if name not in FIELDS or not all(isinstance(piece, str) for piece in options[0]):
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise PromptError(f"there is no field {{{name}}}. Use one of {known}, {{a|b}} for a choice, or \\{{ and \\}}.")
    return Field(name)


def _option(pieces: tuple[Piece, ...]) -> Option:
    weighted = _WEIGHT.match(pieces[0]) if pieces and isinstance(pieces[0], str) else None
    if not weighted:
        return Option(1.0, pieces)
    return Option(float(weighted[1]), (pieces[0][weighted.end() :], *pieces[1:]))


@dataclass
class _Filling:
    """A template that is being filled. written: characters so far."""

    values: Mapping[str, str]
    wildcards: Wildcards
    chosen: random.Random
    written: int = 0

    def of(self, pieces: Sequence[Piece], within: tuple[str, ...] = ()) -> str:
        return "".join(self._one(piece, within) for piece in pieces)

    def _one(self, piece: Piece, within: tuple[str, ...]) -> str:
        if isinstance(piece, Wildcard):
            return self.of(self._line(piece.name, within), (*within, piece.name))
        if isinstance(piece, Choice):
            return self.of(self._choose(piece).pieces, within)
        text = self.values.get(piece.name, "").strip() if isinstance(piece, Field) else piece
        self.written += len(text)
        if self.written > _LONGEST:
            raise PromptError(f"the prompt has more than {_LONGEST} characters. Shorten the template or its lists.")
        return text

    def _line(self, name: str, within: tuple[str, ...]) -> tuple[Piece, ...]:
        if len(within) == _DEEPEST:
            raise PromptError(f"the lists name each other more than {_DEEPEST} deep ({', '.join(within[-3:])}, …).")
        lines = self.wildcards(name)
        if not lines:
            raise PromptError(f"the list {name} is empty. Write a line into it.")
        return parsed(self.chosen.choice(lines))

    def _choose(self, choice: Choice) -> Option:
        weights = [option.weight for option in choice.options]
        if not any(weights):
            raise PromptError("all weights of a choice are 0. Give one of its options more.")
        return self.chosen.choices(choice.options, weights)[0]


def _tidied(text: str) -> str:
    """Without the commas and spaces that empty fields leave."""
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r"\s*,(?:\s*,)+", ",", text).strip(" \t\n,")


def notes(prompt: str, trigger: str, lengths: Sequence[Length]) -> list[str]:
    """What a person should know of a prompt before it is sampled. lengths: of it, for each text encoder."""
    is_missing = trigger and not stands_in(prompt, trigger)
    found = [f"The trigger '{trigger}' is not in the prompt."] if is_missing else []
    return found + [
        f"The prompt has {length.tokens} tokens, and the text encoder {length.encoder} takes {length.room} at once: "
        "what is beyond is encoded apart, without the rest."
        for length in lengths
        if length.tokens > length.room
    ]
