"""Names in captions: of other characters, and words that look like names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .findings import Caption, Expected
from .vocabulary import CAPITALISED, COUNT_TAGS, FUNCTION_WORDS
from .words import Word, fold, keys_of, places

_SENTENCE_START = re.compile(r"[.!?:;\"“”「\n]\W*$")
_TITLE_CASE = 0.5  # of a caption's words with a capital: then capitals mean nothing
_FEWEST_LETTERS = 3


def others_in(caption: Caption, names: Iterable[str], expected: Expected) -> list[str]:
    """Which of the names stand in a caption, whole, or of several words one that is written with a capital; each as
    given. The character's own words are none."""
    own = {*keys_of(expected.trigger), *keys_of(expected.class_noun), *keys_of(expected.name)}
    return [name for name in names if not own >= {*keys_of(name)} and _says(caption, name, own)]


def _says(caption: Caption, name: str, own: set[str]) -> bool:
    keys = _without_article(keys_of(name))
    if places(caption.words, keys):
        return True
    telling = {word for word in name.split() if len(keys) > 1 and _is_telling(word, own)}
    return bool(telling) and any(caption.text[word.start : word.end] in telling for word in caption.words)


def _without_article(keys: tuple[str, ...]) -> tuple[str, ...]:
    return keys[1:] if len(keys) > 1 and keys[0] in ("the", "a", "an") else keys


def _is_telling(word: str, own: set[str]) -> bool:
    key = fold(word)
    return len(word) >= _FEWEST_LETTERS and word[0].isupper() and key not in own and key not in FUNCTION_WORDS


def capitalised(caption: Caption, expected: Expected) -> list[str]:
    """Words with a capital within a caption, that may be names; several in a row are one.

    At the beginning of a sentence, and where most words or tags begin so, a capital says nothing. Days, months,
    nationalities, and words all in capitals are left out.
    """
    own = {*keys_of(expected.trigger), *keys_of(expected.class_noun), *keys_of(expected.name)}
    looked_at = [word for word in caption.words if word.spaced and not _begins(caption.text, word)]
    if sum(_has_capital(caption.text, word) for word in looked_at) > max(1, _TITLE_CASE * len(looked_at)):
        return []
    names = [word for word in looked_at if _looks_like_a_name(caption.text[word.start : word.end], own)]
    heads = _first_of_parts(caption.words) & {*looked_at}
    if 2 * len(heads & {*names}) > len(heads):
        names = [word for word in names if word not in heads]
    found = (caption.text[row[0].start : row[-1].end] for row in _rows(names, caption.words))
    return [name for name in found if "_" not in name]


def written_small(captions: Sequence[Caption]) -> frozenset[str]:
    """The words that some caption writes without a capital; they are no names."""
    return frozenset(word.key for caption in captions for word in caption.words if not _has_capital(caption.text, word))


def _has_capital(text: str, word: Word) -> bool:
    return text[word.start].isupper()


def _first_of_parts(words: Sequence[Word]) -> set[Word]:
    return {word for last, word in zip(words, words[1:], strict=False) if last.part != word.part}


def _begins(text: str, word: Word) -> bool:
    before = text[: word.start]
    return not before.strip(" \"'“‘([{") or bool(_SENTENCE_START.search(before[-20:]))


def _looks_like_a_name(text: str, own: set[str]) -> bool:
    key = fold(text)
    known = key in own or key in CAPITALISED or key in COUNT_TAGS or key in FUNCTION_WORDS
    return len(text) >= _FEWEST_LETTERS and text[0].isupper() and text[1:].islower() and text.isalpha() and not known


def _rows(names: Sequence[Word], words: Sequence[Word]) -> list[list[Word]]:
    """Those that stand side by side in a clause, together."""
    number = {word: place for place, word in enumerate(words)}
    rows: list[list[Word]] = []
    for word in names:
        last = rows[-1][-1] if rows else None
        if last and number[last] + 1 == number[word] and last.clause == word.clause:
            rows[-1].append(word)
        else:
            rows.append([word])
    return rows
