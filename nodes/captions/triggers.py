"""Where captions lack the trigger, or have it spelled almost right."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .findings import Caption
from .vocabulary import FUNCTION_WORDS
from .words import Word, fold, keys_of, places, words_of

_RARE = 0.05  # of the captions: a word in more of them is no slip
_LONG_ENOUGH = 5  # letters of a trigger: of shorter ones many words are one letter away


@dataclass(frozen=True)
class Miss:
    """A caption, by its number, in which the trigger is not as it should be. start, end: of the word that resembles it,
    if one does. sure: whether that can only be a slip. lacking: whether the trigger is not there besides."""

    caption: int
    start: int = 0
    end: int = 0
    sure: bool = False
    lacking: bool = True

    @property
    def resembles(self) -> bool:
        return self.end > self.start


def has_trigger(caption: Caption, trigger: str) -> bool:
    """Whether the trigger stands there as whole words, in capitals or not; one of signs alone, as it is."""
    return _stands_in(caption.words, caption.text, trigger)


def stands_in(text: str, trigger: str) -> bool:
    """`has_trigger` of any text."""
    return _stands_in(words_of(text), text, trigger)


def _stands_in(words: Sequence[Word], text: str, trigger: str) -> bool:
    keys = keys_of(trigger)
    return bool(places(words, keys)) if keys else fold(trigger.strip()) in fold(text)


def misses(captions: Sequence[Caption], trigger: str) -> list[Miss]:
    """Of all captions, where the trigger is missing, or a word one or two letters away from it stands.

    A word that captions with the trigger use as well is no slip. Where the trigger is there, only a word is looked for
    that is one letter away from it and rare.
    """
    having = [has_trigger(caption, trigger) for caption in captions]
    used = {word.key for caption, has in zip(captions, having, strict=True) if has for word in caption.words}
    found = []
    for number, (caption, has) in enumerate(zip(captions, having, strict=True)):
        if not has:
            found.append(_closest(number, caption, trigger, used))
    found += _beside(captions, having, trigger)
    return sorted(found, key=lambda miss: miss.caption)


def _closest(number: int, caption: Caption, trigger: str, used: set[str]) -> Miss:
    keys = keys_of(trigger)
    wanted = "".join(keys)
    best: tuple[int, int, int] | None = None
    for start, end, text in _windows(caption.words, len(keys)):
        apart = distance(wanted, text, 2)
        if (
            apart <= _allowed(wanted, text)
            and (text == wanted or text not in used)
            and (best is None or apart < best[0])
        ):
            best = (apart, start, end)
    if best is None:
        return Miss(number)
    apart, start, end = best
    return Miss(number, start, end, sure=len(wanted) >= 3 * apart + 1)


def _windows(words: Sequence[Word], size: int) -> Iterator[tuple[int, int, str]]:
    """Words that may be the trigger: as many as it has, or one more or less, written as one; in one clause."""
    for count in {size - 1, size, size + 1} - {0, -1}:
        for at in range(len(words) - count + 1):
            row = words[at : at + count]
            alone = count == 1 and row[0].key in FUNCTION_WORDS
            parted = count != size and any(word.key in FUNCTION_WORDS for word in row)
            if row[0].clause == row[-1].clause and not alone and not parted and all(word.spaced for word in row):
                text = "".join(word.key for word in row)
                yield row[0].start, row[-1].end, text


def _allowed(wanted: str, text: str) -> int:
    """How many letters a slip may be away from a trigger of that length. Of a short one, two letters away are slips
    only where it begins alike."""
    if len(wanted) < 3:
        return 0
    if len(wanted) == 3:
        return 1
    return 2 if len(wanted) > 4 or text[:1] == wanted[:1] else 1


def _beside(captions: Sequence[Caption], having: Sequence[bool], trigger: str) -> Iterator[Miss]:
    wanted = "".join(keys_of(trigger))
    if len(wanted) < _LONG_ENOUGH or len(keys_of(trigger)) > 1:
        return
    seen: dict[str, list[tuple[int, Word]]] = {}
    for number, caption in enumerate(captions):
        for word in caption.words if having[number] else ():
            if word.key != wanted and word.spaced and distance(wanted, word.key, 1) == 1:
                seen.setdefault(word.key, []).append((number, word))
    for where in seen.values():
        if len({number for number, _ in where}) <= max(1, _RARE * len(captions)):
            yield from (Miss(number, word.start, word.end, sure=True, lacking=False) for number, word in where)


@functools.lru_cache(maxsize=65536)
def distance(one: str, other: str, most: int) -> int:
    """How many letters have to be added, left out, changed, or swapped with their neighbour to make one word of the
    other (optimal string alignment: Damerau, CACM 7(3), 1964); `most` + 1 where it is more than `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before, row = [], list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, across in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != across))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == across:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return min(row[-1], most + 1)
