"""Captions by a template, such as "{trigger} {class}, {tags}, {caption}"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ..dataset.records import Dataset, Sample
from .editing import tidy

FIELDS = {  # and what each is, for people
    "trigger": "the word that means the character",
    "class": "what the character is, such as woman",
    "tags": "the picture's tags",
    "caption": "the caption that it has",
    "name": "its file's name without ending",
    "folder": "the folder that it is in",
    "number": "its place in the data set, from 1",
}
_LONGEST = 10_000  # characters of a template
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_MOST_NAMED = 3


class TemplateError(ValueError):
    """A template that cannot be filled; the message says what to do."""


@dataclass(frozen=True)
class Piece:
    """A part of a template: a field of FIELDS, or text as it is."""

    text: str
    is_field: bool


def parsed(template: str) -> tuple[Piece, ...]:
    """The pieces of a template: fields in braces and the text between; {{ and }} are braces.

    Raises TemplateError for a field that there is none of, a brace alone, and an empty template.
    """
    if not template.strip():
        raise TemplateError("the template is empty. Write one, such as {trigger} {class}, {caption}.")
    if len(template) > _LONGEST:
        raise TemplateError(f"the template has {len(template)} characters; at most {_LONGEST} are read. Shorten it.")
    return tuple(_piece(found) for found in _PIECE.finditer(template))


def _piece(found: re.Match[str]) -> Piece:
    if found[0] in ("{{", "}}"):
        return Piece(found[0][0], is_field=False)
    if found[0] in ("{", "}"):
        raise TemplateError(
            f"the template has a {found[0]} alone at character {found.start() + 1}. Write {found[0] * 2} for the sign, "
            "or close the field."
        )
    if found[1] is None:
        return Piece(found[0], is_field=False)
    name = found[1].strip()
    if name not in FIELDS:
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise TemplateError(f"there is no field {found[0]}. Use one of {known}, or {{{{ and }}}} for braces.")
    return Piece(name, is_field=True)


def filled(pieces: tuple[Piece, ...], values: Mapping[str, str]) -> str:
    """One caption. values: by the names of FIELDS; what is not there is empty, and leaves no comma behind."""
    given = [values.get(piece.text, "").strip() if piece.is_field else piece.text for piece in pieces]
    text = "".join(given)
    if all(given):
        return " ".join(text.split())
    return re.sub(r"^[\s,.;:，、。]+", "", tidy(text))


def by_template(
    dataset: Dataset,
    template: str,
    trigger: str = "",
    class_noun: str = "",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Dataset:
    """The data set with each caption written anew; a picture with several has several afterwards, where they differ.

    Raises TemplateError as `parsed` does, and for pictures for which nothing is left to say.
    """
    pieces, samples = parsed(template), []
    for number, sample in enumerate(dataset.samples, 1):
        values = _values(sample, number) | {"trigger": trigger, "class": class_noun}
        made = (filled(pieces, values | {"caption": caption}) for caption in sample.captions or ("",))
        samples.append(replace(sample, captions=tuple(dict.fromkeys(filter(None, made)))))
        progress(number, len(dataset.samples))
    _refuse_empty(samples, template)
    return dataset.of(samples)


def _values(sample: Sample, number: int) -> dict[str, str]:
    path = PurePosixPath(sample.name)
    folder = path.parent.name
    # a sample may come from a folder, where its name has an ending, or from a node, where it has none
    return {"tags": ", ".join(sample.tags), "name": _stem(path), "folder": folder, "number": str(number)}


def _stem(path: PurePosixPath) -> str:
    return path.stem if 2 <= len(path.suffix) <= 5 else path.name


def _refuse_empty(samples: list[Sample], template: str) -> None:
    empty = [sample.name for sample in samples if not sample.captions]
    if empty:
        named = ", ".join(empty[:_MOST_NAMED]) + (", …" if len(empty) > _MOST_NAMED else "")
        raise TemplateError(
            f"nothing is left of the template {template.strip()!r} for {len(empty)} of {len(samples)} pictures "
            f"({named}): its fields are empty there. Add {{trigger}} and fill the trigger in, or a word of its own."
        )
