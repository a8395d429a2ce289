"""Taking phrases out of captions and putting others in, so that a caption is left that reads well."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from .vocabulary import FUNCTION_WORDS
from .words import BREAK, Word, bare, core, fragments, keys_of, places, prose_parts, words_of

LONGEST = 20_000  # characters of a caption, before and after
_NOTHING = r"[\s,，、]*(?::\s?[\d.]{1,9})?[\s,，、]*"
_EMPHASIS_OF_NOTHING = re.compile(rf"\({_NOTHING}\)|\[{_NOTHING}\]|\{{{_NOTHING}\}}")
_SPACES = re.compile(r"\s+")
_COMMAS = re.compile(r"\s?([,，、])(?:\s?[,，、])+")
_TIDY = (
    (_COMMAS, r"\1"),
    (re.compile(r"(?<=[(\[{])\s?[,，、]\s?"), ""),
    (re.compile(r"\s?[,，、]\s?(?=(?::\s?[\d.]{1,9}\s?)?[)\]}])"), ""),
    (re.compile(r"\s?[,，、]\s?(?=[.。](?:\s|$))"), ""),
    (re.compile(r"\s(?=[,，、])|(?<=\w)\s(?=[.!?;](?:\s|$))"), ""),
)
_EDGE = " ,，、"
_DETERMINER = re.compile(r"(?:^|(?<=[\s(]))(?:an?|the|her|his|their|its|some)\s*$", re.IGNORECASE)
_LINK = re.compile(r"(?:^|(?<=[\s(]))(?:with|and|or|of|in|on|at|by|from|wearing)\s*$", re.IGNORECASE)
_AND = re.compile(r"^\s*(?:and|or)\b\s*", re.IGNORECASE)
_LAST_WORD = re.compile(r"(\w*)[^\w.!?;,，、。]*$")
_NEXT_WORD = re.compile(r"^\s*(\w*)")
_CLAUSE_BEFORE, _CLAUSE_AFTER = re.compile(r"[^,，、.!?;。！？()\[\]{}]*$"), re.compile(r"[^,，、.!?;。！？()\[\]{}]*")
_STOPS = (".", "!", "?", "。", "！", "？")
_POSSESSIVE = re.compile(r"^['’]s\b", re.IGNORECASE)

Span = tuple[int, int]


def tidy(caption: str) -> str:
    """Without what a removed phrase leaves behind: emphasis of nothing, commas and spaces too many."""
    caption = _COMMAS.sub(r"\1", _SPACES.sub(" ", caption))  # long runs of them would be slow below
    removed = 1
    while removed:  # emphasis within emphasis
        caption, removed = _EMPHASIS_OF_NOTHING.subn("", caption)
    caption = _SPACES.sub(" ", caption)
    for pattern, instead in _TIDY:
        caption = pattern.sub(instead, caption)
    return caption.strip(_EDGE)


def spans(caption: str, phrase: str, inside_tags: bool = False) -> list[Span]:
    """Where a phrase stands in a caption: from start to before end.

    As a whole tag, whatever its emphasis, capitals or underscores ("blue hair" is "(Blue_hair:1.2)", and is not
    "light blue hair"); in sentences, and in a caption without commas, as whole words. inside_tags: as whole words in
    tags too. What is within another span is left out.
    """
    wanted, keys, words = bare(phrase), keys_of(phrase), words_of(caption)
    pieces, prose = fragments(caption), prose_parts(words)
    starts = [word.start for word in words]
    found: list[Span] = []
    for start, end in pieces:
        left, right = core(caption[start:end])
        within = words[bisect_left(starts, start) : bisect_left(starts, end)]
        if bare(caption[start:end]) == wanted:
            found.append((start + left, start + right))
        elif inside_tags or len(pieces) == 1 or (within and within[0].part in prose):
            found += _in_words(within, keys)
    return found


def _in_words(words: list[Word], keys: tuple[str, ...]) -> list[Span]:
    found: list[Span] = []
    for at in places(words, keys):
        start, end = words[at].start, words[at + len(keys) - 1].end
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def without(caption: str, cut: Iterable[Span]) -> str:
    """The caption without these parts of it, and without the words that held them to the rest: of "with teal hair, and
    a hat" without the hat "with teal hair" is left, and nothing of "She has teal hair." The caption itself where there
    is nothing to cut."""
    places_to_cut = sorted(cut, reverse=True)
    for start, end in places_to_cut:
        caption = _joined(*_without_empty_clause(caption[:start], caption[end:]))
    return tidy(caption) if places_to_cut else caption


def _joined(before: str, after: str) -> str:
    """What stands before and after a cut. English only: determiners, prepositions and "and" go with their noun."""
    after = _POSSESSIVE.sub("", after)
    left, right = before.rstrip("_-"), after.lstrip("_-")
    if left != before or right != after:
        before, after = left, " " + right
    following = _NEXT_WORD.match(after)[1].lower()
    if not following or following in FUNCTION_WORDS:
        before = _DETERMINER.sub("", before)
    if not following:
        return _without_last(before, _LINK, _DETERMINER) + after
    if following in ("and", "or") and _last_word(before) in FUNCTION_WORDS | {""}:
        return before + _AND.sub("", after)
    return before + after


def _without_empty_clause(before: str, after: str) -> tuple[str, str]:
    """Without the words around a cut up to the next comma or full stop, where they say nothing by themselves. A
    sentence of which nothing is left goes with its full stop."""
    head, tail = _CLAUSE_BEFORE.search(before)[0], _CLAUSE_AFTER.match(after)[0]
    keys = keys_of(f"{head} {tail}")
    if not keys or not {*keys} <= FUNCTION_WORDS or BREAK in head + tail:
        return before, after
    before, after = before[: len(before) - len(head)].rstrip(), after[len(tail) :]
    if after[:1] in _STOPS and (not before or before[-1] in _STOPS):
        after = after[1:]
    return before, after


def _last_word(text: str) -> str:
    """Of the part that the text ends in; empty where there is none."""
    return _LAST_WORD.search(text)[1].lower()


def _without_last(text: str, *patterns: re.Pattern[str]) -> str:
    """Without the words at its end that one of the patterns finds."""
    shorter = text
    for pattern in patterns:
        shorter = pattern.sub("", shorter)
    return text if shorter == text else _without_last(shorter, *patterns)


def replaced(caption: str, old: str, new: str, inside_tags: bool = False) -> str:
    """The caption with `new` wherever `old` stands (see `spans`); emphasis stays. No `new`: `old` is taken out.
    Raises ValueError where it would be longer than LONGEST."""
    found = spans(caption, old, inside_tags)
    if not new.strip():
        return without(caption, found)
    if len(caption) + len(found) * len(new) > LONGEST:
        raise ValueError(f"a caption would have more than {LONGEST} characters. Put in something shorter.")
    for start, end in reversed(found):
        caption = caption[:start] + new.strip() + caption[end:]
    return caption


def repeated(caption: str) -> list[Span]:
    """Where tags stand that stood before, whatever their emphasis, capitals or underscores."""
    seen: set[str] = set()
    found: list[Span] = []
    for start, end in fragments(caption):
        tag = bare(caption[start:end])
        if tag in seen:
            left, right = core(caption[start:end])
            found.append((start + left, start + right))
        seen.add(tag)
    return found


def once(caption: str) -> str:
    """The caption without tags that stood before."""
    while again := repeated(caption):
        caption = without(caption, again)
    return caption
