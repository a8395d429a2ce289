"""Captions from the files beside pictures: text in whatever encoding, or JSON."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDINGS = (".txt", ".caption", ".json")  # the first that is there counts
TEXT_KEYS = ("captions", "caption", "text", "prompt")  # under which JSON and metadata files have captions
_BYTE_ORDER_MARKS = (  # UTF-32's first: UTF-16's is the beginning of one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class CaptionError(ValueError):
    """A caption that is no text; the message says what to do."""


@dataclass(frozen=True)
class Words:
    """What is written of a picture. note: what a person should know of how it was read; empty: nothing."""

    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""


def beside(picture: Path) -> Words:
    """Of the first caption file that a picture has: `01.txt`, `01.caption` or `01.json` for `01.png`.

    In text, empty lines part several captions. JSON is a string, a list of captions, or an object with one of TEXT_KEYS
    and perhaps "tags". Raises CaptionError for what cannot be read as that.
    """
    file = next((file for file in map(picture.with_suffix, ENDINGS) if file.is_file()), None)
    if file is None:
        return Words()
    text, encoding = decode(file.read_bytes(), file.name)
    note = "" if encoding.startswith("utf-8") else f"{file.name} was read as {encoding}"
    if file.suffix == ".json":
        return _of_json(text, file.name, note)
    return Words(paragraphs(text), note=note)


def paragraphs(text: str) -> tuple[str, ...]:
    """The captions in a text: empty lines part them, and other white space is a space each."""
    parts = re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    return tuple(" ".join(each.split()) for each in parts if each.strip())


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Text, and the encoding that it was in: by its byte order mark, else UTF-8, UTF-16 where every second byte is 0,
    else Windows' and Latin-1's. Raises CaptionError for what is no text."""
    try:
        text, encoding = _decoded(data)
    except UnicodeDecodeError as error:
        raise CaptionError(f"its caption {name} is no text ({error}; save it as UTF-8)") from error
    strange = re.search(r"[\x00-\x08\x0e-\x1f]", text)
    if strange:
        raise CaptionError(
            f"its caption {name} is no text (character 0x{ord(strange[0]):02X} at position {strange.start()}; save it "
            "as UTF-8)"
        )
    return text, encoding


def _decoded(data: bytes) -> tuple[str, str]:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding), encoding
    if data and 0 in data and len(data) % 2 == 0:
        for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
            if zeros.count(0) > 0.4 * len(zeros):
                return data.decode(encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _western(data)


def _western(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("cp1252"), "cp1252 (Western European)"
    except UnicodeDecodeError:  # five bytes mean nothing there
        return data.decode("latin-1"), "latin-1"


def _of_json(text: str, name: str, note: str) -> Words:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CaptionError(f"its caption {name} is no JSON ({error}; mend it)") from error
    words = of_fields(found) if isinstance(found, dict) else _words(found)
    if words is None:
        raise CaptionError(f"its caption {name} has no text under {', '.join(TEXT_KEYS)}; give it one of them")
    return Words(words.captions, words.tags, note)


def of_fields(fields: dict[str, Any]) -> Words | None:
    """Captions and tags of a JSON object, or of a row of a metadata file; None where it has neither."""
    key = next((key for key in TEXT_KEYS if fields.get(key)), None)
    words = _words(fields[key]) if key else None
    tags = _tags(fields.get("tags"))
    if words is None and not tags:
        return None
    return Words(words.captions if words else (", ".join(tags),), tags)


def _words(found: Any) -> Words | None:
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    return Words(tuple(" ".join(text.split()) for text in texts if text.strip()))


def _tags(found: Any) -> tuple[str, ...]:
    texts = found.split(",") if isinstance(found, str) else found
    if not isinstance(texts, list):
        return ()
    return tuple(tag for text in texts if isinstance(text, str) and (tag := " ".join(text.split())))
