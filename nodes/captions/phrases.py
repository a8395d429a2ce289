"""Phrases that stand in nearly every caption, and phrases of a description.

What a caption names, the model already has a word for, and learns it under that word. A phrase that is always there
together with the trigger takes away from what the trigger learns, and has to be said in every prompt afterwards.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .findings import Caption
from .vocabulary import CONJUNCTIONS, FUNCTION_WORDS, POSES, SURROUNDINGS
from .words import Word, fold, prose_parts, stem

FEWEST, FEW = 3, 5  # pictures: of fewer nothing can be said; of few, only what all of them have
_MOST_CONTENT, _MOST_WORDS, _MOST_CHARACTERS = 4, 7, 12  # of a phrase within a sentence
_ALMOST = 1e-9  # weights are sums of fractions
_HALF = 0.5
_SHORT = 3  # letters
_LABEL = re.compile(r"(\w{1,30})\s?[:：]\s?(\w[^.,;:\n]{0,60})")

Stems = tuple[str, ...]
_SURROUNDINGS, _POSES = (frozenset(map(stem, words)) for words in (SURROUNDINGS, POSES))


@dataclass(frozen=True)
class Place:
    """Where a phrase stands: in which of the captions, and from start to before end."""

    caption: int
    start: int
    end: int


@dataclass(frozen=True)
class Phrase:
    """A phrase of captions. stems: of its words; text: as it is mostly written; share: of the captions that have it.
    on_purpose: whether it may be there on purpose, as it says what is around, or as it is one word of phrases that
    vary ("shirt", of red, blue and green shirts)."""

    stems: Stems
    text: str
    places: tuple[Place, ...]
    share: float
    on_purpose: bool = False


@dataclass(frozen=True)
class Run:
    """Words in a row in a clause of a caption, but for those that say who it is, and their stems; in sentences they end
    at "and" as well. alone: all that its part between commas says besides; prose: that part reads as one of a
    sentence."""

    caption: int
    words: tuple[Word, ...]
    stems: Stems
    alone: bool
    prose: bool


def runs_of(captions: Sequence[Caption]) -> Iterator[Run]:
    """All runs, caption by caption."""
    for number, caption in enumerate(captions):
        numbered = list(enumerate(caption.words))
        prose = prose_parts(caption.words)
        for part, group in itertools.groupby(numbered, key=lambda pair: pair[1].part):
            words = list(group)
            said = sum(place not in caption.own for place, _ in words)
            parting = CONJUNCTIONS if part in prose else ()
            ends = [place in caption.own or word.key in parting for place, word in words]
            rows = itertools.groupby(zip(words, ends, strict=True), key=lambda pair: (pair[0][1].clause, pair[1]))
            for (_, is_end), row in rows:
                run = tuple(word for (_, word), _ in row)
                if not is_end:
                    yield Run(number, run, tuple(stem(word.key) for word in run), len(run) == said, part in prose)


def candidates(run: Run, stems: Container[str]) -> Iterator[tuple[int, int]]:
    """From where to before where phrases of these stems may stand in a run: all of it but function words at its ends;
    two words and more in a row; within sentences also one. At their ends there is no function word, and no kana of
    grammar."""
    solid = [place for place, word in enumerate(run.words) if word.key not in FUNCTION_WORDS]
    if not solid:
        return
    whole = (solid[0], solid[-1] + 1)
    if _may_be_whole(run, *whole) and all(each in stems for each in run.stems[slice(*whole)]):
        yield whole
    for start in solid:
        content = 0
        for last in range(start, min(len(run.words), start + _MOST_CHARACTERS)):
            if run.stems[last] not in stems:
                break
            content += run.words[last].key not in FUNCTION_WORDS
            if (start, last + 1) != whole and _may_be(run, start, last + 1, content):
                yield start, last + 1


def _may_be_whole(run: Run, start: int, end: int) -> bool:
    if run.prose and _has_kana_edges(run.words[start:end]):
        return False
    return run.alone or ((run.prose or end - start > 1) and not _mixes(run, start, end))


def _may_be(run: Run, start: int, end: int, content: int) -> bool:
    """content: how many of the words are no function words."""
    words = run.words[start:end]
    if words[-1].key in FUNCTION_WORDS:
        return False
    if not all(word.spaced for word in words):
        return run.prose and len(words) > 1 and not _has_kana_edges(words)
    if content > _MOST_CONTENT or len(words) > _MOST_WORDS or _mixes(run, start, end):
        return False
    return run.prose or content > 1


def _mixes(run: Run, start: int, end: int) -> bool:
    """Whether it says how somebody stands or looks, and more: that is no phrase, as in "elf ears looking"."""
    poses = {run.stems[place] in _POSES for place in range(start, end) if run.words[place].key not in FUNCTION_WORDS}
    return len(poses) > 1


def _has_kana_edges(words: Sequence[Word]) -> bool:
    """Whether it begins or ends with Hiragana, in which Japanese writes grammar."""
    return any("\u3040" <= word.key[0] <= "\u309f" for word in (words[0], words[-1]))


def frequent(captions: Sequence[Caption], share: float) -> list[Phrase]:
    """Phrases in `share` of the captions and more, the most frequent first. A longer one counts before its parts: those
    count only where they stand outside it. Of fewer than FEWEST pictures there are none; of fewer than FEW, those that
    all have."""
    pictures = len({caption.picture for caption in captions})
    if pictures < FEWEST:
        return []
    least = (1.0 if pictures < FEW else share) - _ALMOST
    runs = list(runs_of(captions))
    spots = _spots(runs, _frequent_stems(captions, runs, least))
    taken: set[tuple[int, int]] = set()  # run, place of a word
    found = []
    for stems in sorted(spots, key=lambda stems: (-len(stems), stems)):
        free = [spot for spot in spots[stems] if not any((spot.run, place) in taken for place in spot.places)]
        if _weight(captions, runs, free) < least:
            continue
        varies = _varies(captions, runs, free)
        if len(stems) > 1 and all(varies):  # "shirt facing", of "red shirt facing left" and "blue shirt facing right"
            continue
        taken |= {(spot.run, place) for spot in free for place in spot.places}
        on_purpose = stems[-1] in _SURROUNDINGS or (len(stems) == 1 and any(varies))
        found.append(_phrase(captions, runs, stems, free, on_purpose))
    return _in_order(found)


@dataclass(frozen=True)
class _Spot:
    """A phrase in a run, by their numbers: from start to before end."""

    run: int
    start: int
    end: int

    @property
    def places(self) -> range:
        return range(self.start, self.end)


def _frequent_stems(captions: Sequence[Caption], runs: Sequence[Run], least: float) -> frozenset[str]:
    weights: dict[str, float] = defaultdict(float)
    for number, group in itertools.groupby(runs, key=lambda run: run.caption):
        for each in {each for run in group for each in run.stems}:
            weights[each] += captions[number].weight
    return frozenset(each for each, weight in weights.items() if weight >= least)


def _spots(runs: Sequence[Run], stems: frozenset[str]) -> dict[Stems, list[_Spot]]:
    """Of every phrase whose words are all of `stems`, where it stands."""
    found: dict[Stems, list[_Spot]] = defaultdict(list)
    for number, run in enumerate(runs):
        for start, end in candidates(run, stems):
            found[run.stems[start:end]].append(_Spot(number, start, end))
    return found


def _weight(captions: Sequence[Caption], runs: Sequence[Run], spots: Sequence[_Spot]) -> float:
    """Of the captions that the spots are in."""
    return sum(captions[number].weight for number in {runs[spot.run].caption for spot in spots})


def _varies(captions: Sequence[Caption], runs: Sequence[Run], spots: Sequence[_Spot]) -> tuple[bool, bool]:
    """Whether most of the time another word that says something stands just before, and just after. (Where it was
    nearly always the same word, the phrase with it is frequent and came first.)"""
    most = _HALF * _weight(captions, runs, spots)
    before = [spot for spot in spots if _says_something(runs[spot.run], spot.start - 1)]
    after = [spot for spot in spots if _says_something(runs[spot.run], spot.end)]
    return _weight(captions, runs, before) >= most, _weight(captions, runs, after) >= most


def _says_something(run: Run, place: int) -> bool:
    return 0 <= place < len(run.words) and run.words[place].key not in FUNCTION_WORDS


def _phrase(
    captions: Sequence[Caption], runs: Sequence[Run], stems: Stems, spots: Sequence[_Spot], on_purpose: bool = False
) -> Phrase:
    places = []
    for spot in spots:
        words = runs[spot.run].words
        places.append(Place(runs[spot.run].caption, words[spot.start].start, words[spot.end - 1].end))
    written = (captions[place.caption].text[place.start : place.end] for place in places)
    spellings = Counter(" ".join(fold(text).replace("_", " ").split()) for text in written)
    text = max(spellings, key=lambda each: (spellings[each], each))
    return Phrase(stems, text, tuple(places), _weight(captions, runs, spots), on_purpose)


def _in_order(phrases: Iterable[Phrase]) -> list[Phrase]:
    return sorted(phrases, key=lambda phrase: (-phrase.share, phrase.text))


def of_description(captions: Sequence[Caption], description: Caption) -> list[Phrase]:
    """What the captions say that a description says too, the most frequent first: two to four words in a row that say
    something, or one that stands there alone between commas or function words. Longer ones count before their parts."""
    wanted = _described(description)
    vocabulary = frozenset(each for stems in wanted for each in stems)
    runs = list(runs_of(captions))
    spots: dict[Stems, list[_Spot]] = defaultdict(list)
    for number, run in enumerate(runs):
        taken: set[int] = set()
        for start, end in sorted(candidates(run, vocabulary), key=lambda span: span[0] - span[1]):
            if run.stems[start:end] in wanted and not taken & {*range(start, end)}:
                spots[run.stems[start:end]].append(_Spot(number, start, end))
                taken |= {*range(start, end)}
    return _in_order(_phrase(captions, runs, stems, where) for stems, where in spots.items())


def _described(description: Caption) -> frozenset[Stems]:
    """The phrases of a description: of its clauses those of two words and more that say something, and of each row of
    words between function words that is one word alone, that."""
    found: set[Stems] = set()
    for run in runs_of([description]):
        spans = candidates(run, frozenset(run.stems))
        found |= {run.stems[start:end] for start, end in spans if _says_more(run.words[start:end])}
        for is_function, group in itertools.groupby(run.words, key=lambda word: word.key in FUNCTION_WORDS):
            stems = tuple(stem(word.key) for word in group)
            if not is_function and len(stems) == 1:
                found.add(stems)
    return frozenset(stems for stems in found if _tells(stems))


def _says_more(words: Sequence[Word]) -> bool:
    """Whether there are two words that say something among them; characters of a script without spaces count too."""
    return sum(word.key not in FUNCTION_WORDS for word in words) > 1


def without_labels(description: str) -> str:
    """ "Hair: teal, long. Eyes: green." as "teal Hair, long. green Eyes." """
    return _LABEL.sub(r"\2 \1", description)


def _tells(stems: Stems) -> bool:
    """Whether a phrase of a description is one to look for: no short word such as "red", and nothing around."""
    return stems[-1] not in _SURROUNDINGS and (len(stems) > 1 or len(stems[0]) > _SHORT or not stems[0].isascii())
