"""What a caption is made of: parts between commas, and words with their places.

Captions come as tags ("mira woman, (smile:1.2), blue_hair"), as sentences, and as both in one. Commas part tags, in
Western and East Asian writing, and so does BREAK. Weights, and names of files in angle brackets, are no words. In
scripts without spaces every character is a word.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from ...trainers.captions import parted_by_spaces
from .vocabulary import FUNCTION_WORDS

BREAK = "BREAK"
MOSTLY = 0.6  # of the words
_MARKS = "".join(chr(code) for code in range(0x300, 0x3100) if unicodedata.category(chr(code))[0] == "M")
_WEIGHT = r"\d{0,4}\.?\d{1,4}"
_TOKEN = re.compile(
    rf"(?P<skipped><[^<>]{{1,200}}>|:\s?{_WEIGHT}(?=\s?[)\]}}]))"
    r"|(?P<parting>\bBREAK\b)"
    rf"|(?P<run>[^\W_]+(?:(?:[{_MARKS}]+|['’](?=[^\W_]))[^\W_]*)*)"
)
_POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
_COMMA = re.compile(r"[,，、]")
_CLAUSE_END = re.compile(r"\.\s|[!?;:|—\n。！？；：]")
_SEPARATOR = re.compile(r"[,，、]|\bBREAK\b")
_WEIGHT_AND_CLOSING = re.compile(rf"(?::\s?{_WEIGHT})?\s*[)\]}}]$")
_OPENING, _CLOSING = "([{", ")]}"


class Word(NamedTuple):
    """A word of a caption: text[start:end]. key: as it is compared, in small letters. part: which of the parts between
    commas it is in; clause: which of the parts between commas and ends of sentences. spaced: of a script with spaces
    between words; else it is one character."""

    start: int
    end: int
    key: str
    part: int
    clause: int
    spaced: bool = True


@functools.lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """As texts are compared: without regard to capitals, full width and how accents are stored."""
    return unicodedata.normalize("NFKC", text).casefold()


def words_of(caption: str) -> list[Word]:
    """Every word, in order. A possessive 's is one of its own."""
    found: list[Word] = []
    part = clause = last = 0
    for token in _TOKEN.finditer(caption):
        between = caption[last : token.start()]
        if between not in ("", " "):
            commas = len(_COMMA.findall(between))
            part, clause = part + commas, clause + commas + len(_CLAUSE_END.findall(between))
        if token["run"]:
            found += _words_in(token["run"], token.start(), part, clause)
        elif token["parting"]:
            part, clause = part + 1, clause + 1
        last = token.end()
    return found


def _words_in(run: str, at: int, part: int, clause: int) -> list[Word]:
    possessive = _POSSESSIVE.search(run)
    if possessive and possessive.start():
        end = at + possessive.start()
        return [
            *_words_in(run[: possessive.start()], at, part, clause),
            Word(end, at + len(run), "'s", part, clause),
        ]
    if run.isascii():
        return [Word(at, at + len(run), fold(run), part, clause)]
    return [
        Word(at + start, at + end, fold(run[start:end]), part, clause, spaced) for start, end, spaced in _pieces(run)
    ]


def _pieces(run: str) -> list[tuple[int, int, bool]]:
    """Words of scripts with spaces, and single characters of the others, each with its marks."""
    pieces: list[tuple[int, int, bool]] = []
    for place, sign in enumerate(run):
        glued = not sign.isalnum()  # a mark, or an apostrophe
        spaced = parted_by_spaces(sign)
        if pieces and (glued or (spaced and pieces[-1][2])):
            start, _, kind = pieces[-1]
            pieces[-1] = (start, place + 1, kind)
        else:
            pieces.append((place, place + 1, spaced))
    return pieces


@functools.lru_cache(maxsize=4096)
def keys_of(phrase: str) -> tuple[str, ...]:
    """The words of a phrase as they are compared."""
    return tuple(word.key for word in words_of(phrase))


def places(words: Sequence[Word], keys: Sequence[str]) -> list[int]:
    """Where `keys` stand in a row in one clause: the places of the first of them in `words`; none for no keys."""
    size = len(keys)
    return [
        at
        for at in range(len(words) - size + 1)
        if size
        and words[at].key == keys[0]
        and words[at].clause == words[at + size - 1].clause
        and all(word.key == key for word, key in zip(words[at : at + size], keys, strict=True))
    ]


def has(caption: str, phrase: str) -> bool:
    """Whether the phrase stands in the caption, as whole words; or as it is where it has none, such as a sign."""
    keys = keys_of(phrase)
    return bool(places(words_of(caption), keys)) if keys else bool(phrase.strip()) and fold(phrase) in fold(caption)


def says_something(caption: str) -> bool:
    """Whether there is a letter or digit in it, or a sign such as a heart, beside commas and full stops."""
    return any(unicodedata.category(sign)[0] in "LNS" for sign in caption)


def fragments(caption: str) -> list[tuple[int, int]]:
    """Start and end of whatever stands between commas, also within brackets, without spaces; none that are empty."""
    found, start = [], 0
    for separator in [*_SEPARATOR.finditer(caption), None]:
        end = separator.start() if separator else len(caption)
        text = caption[start:end]
        left = start + len(text) - len(text.lstrip())
        if text.strip():
            found.append((left, left + len(text.strip())))
        start = separator.end() if separator else end
    return found


def tags_of(caption: str) -> list[str]:
    """What stands between commas, as it is written; "(red hat, smile:1.2)" is one. BREAK is one where it stands
    between commas."""
    inside = _in_brackets(caption)
    parts, start = [], 0
    for comma in _COMMA.finditer(caption):
        if not inside[comma.start()]:
            parts.append(caption[start : comma.start()])
            start = comma.end()
    parts.append(caption[start:])
    return [" ".join(part.split()) for part in parts if part.strip()]


def _in_brackets(text: str) -> list[bool]:
    """Of each character, whether it stands between brackets that belong together."""
    inside, opened = [False] * len(text), []
    for place, sign in enumerate(text):
        if place and text[place - 1] == "\\":
            continue
        if sign in _OPENING:
            opened.append(place)
        elif sign in _CLOSING and opened and _OPENING.index(text[opened[-1]]) == _CLOSING.index(sign):
            start = opened.pop()
            if not opened:
                inside[start:place] = [True] * (place - start)
    return inside


def core(text: str) -> tuple[int, int]:
    """Start and end of a tag without emphasis: of "smile" in "((smile:1.2))", "(smile" and "smile:1.2)". Brackets that
    belong to the name, as in "miku (vocaloid)", stay; so does a tag that is all signs, such as ":)"."""
    start, end = 0, len(text)
    while start < end and (text[start] in _OPENING or text[start].isspace()):
        start += 1
    while start < end:
        inner = text[start:end]
        closing = _WEIGHT_AND_CLOSING.search(inner)
        if not closing or _count(inner, _CLOSING) <= _count(inner, _OPENING):
            break
        end = start + closing.start()
    end = start + len(text[start:end].rstrip())
    return (start, end) if any(sign.isalnum() for sign in text[start:end]) else (0, len(text))


def _count(text: str, signs: str) -> int:
    return sum(text.count(sign) for sign in signs)


def bare(tag: str) -> str:
    """A tag as tags are compared: without emphasis, capitals, and underscores for spaces."""
    start, end = core(tag)
    text = tag[start:end].replace("\\(", "(").replace("\\)", ")")
    return " ".join(fold(text).replace("_", " ").split())


def is_prose(words: Sequence[Word]) -> bool:
    """Whether what stands between two commas reads as a part of a sentence: more than six words, or more than three
    with a function word among them. Two characters of a script without spaces count as a word."""
    counted = [word for word in words if word.key != "'s"]
    size = sum(1.0 if word.spaced else 0.5 for word in counted)
    return size > 6 or (size > 3 and any(word.spaced and word.key in FUNCTION_WORDS for word in counted))


def prose_parts(words: Sequence[Word]) -> frozenset[int]:
    """Which parts of a caption read as parts of sentences: those that do by themselves, and where most of the words are
    in such parts, all."""
    parts = {part: list(group) for part, group in itertools.groupby(words, key=lambda word: word.part)}
    found = frozenset(part for part, group in parts.items() if is_prose(group))
    in_prose = sum(len(parts[part]) for part in found)
    return frozenset(parts) if found and in_prose >= MOSTLY * len(words) else found


_IRREGULAR = {"eyed": "eye", "teeth": "tooth"}
_INFLECTION = re.compile(r"(?<=[a-z]{3})(?:ing|ed|e)$")


@functools.lru_cache(maxsize=65536)
def stem(key: str) -> str:
    """What English forms of a word have in common: "smil" of smile, smiles, smiled, smiling. Rough, as words are only
    counted by it: some that differ become one."""
    if key in _IRREGULAR or not key.isascii() or len(key) < 4:
        return _IRREGULAR.get(key, key)
    if key[-1] == "s" and key[-2] not in "su":
        key = key[:-1]
    return _INFLECTION.sub("", key)
