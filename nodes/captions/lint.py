"""What may be wrong with a data set's captions: what the trigger will not learn because of them, and slips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..dataset.records import Dataset
from . import editing, people, phrases, policy, triggers
from .findings import (
    COMPETING,
    CONSTANT,
    DESCRIBED,
    DOUBLED,
    EMPTY,
    KINDS,
    LONG,
    MISSING,
    MISSPELLED,
    NAME,
    OTHER,
    REPEATED,
    Caption,
    Expected,
    Finding,
    own_places,
    read,
)
from .phrases import Phrase
from .words import bare, keys_of, says_something, tags_of, words_of

_LONGEST_DESCRIPTION = 10_000  # characters that are looked at

Count = Callable[[str], tuple[int, int]]  # how many tokens a caption has, and how many a text encoder takes at once
Progress = Callable[[int, int], None]


def check(
    dataset: Dataset, expected: Expected, count: Count | None = None, progress: Progress = lambda done, of: None
) -> tuple[Finding, ...]:
    """All findings, worst first, in the order of KINDS.

    count: of tokens; without it the length is not checked. progress: told (captions done, captions) while they are
    counted.
    """
    captions = read(dataset, expected)
    phases = (
        _empty(dataset),
        _triggers(captions, expected),
        _phrases(captions, expected),
        _others(captions, expected),
        _doubled(captions),
        _repeated(captions),
        policy.findings(captions, expected.policy),
        _long(captions, expected, count, progress),
    )
    found: list[Finding] = []
    for phase in phases:
        progress(0, max(1, len(captions)))  # so that it can be cancelled in between
        found += phase
    order = list(KINDS)
    return tuple(sorted(found, key=lambda finding: order.index(finding.kind)))


def _empty(dataset: Dataset) -> Iterator[Finding]:
    empty = [each.name for each in dataset.samples if not each.captions or not all(map(says_something, each.captions))]
    if empty:
        yield Finding(EMPTY, tuple(empty), "", "there is no caption, or an empty one. Write what is in the picture.")


def _triggers(captions: Sequence[Caption], expected: Expected) -> Iterator[Finding]:
    trigger = expected.trigger.strip()
    if not trigger:
        return
    by_word: dict[str, list[str]] = defaultdict(list)
    for miss in triggers.misses(captions, trigger):
        caption = captions[miss.caption]
        by_word[caption.text[miss.start : miss.end]].append(caption.picture)
    for word, pictures in by_word.items():
        if word:
            text = f"'{word}' looks like the trigger '{trigger}', spelled otherwise. Write '{trigger}'."
            yield Finding(MISSPELLED, _once(pictures), word, text)
        else:
            text = f"the trigger '{trigger}' is not in the caption. Add it: 'add first: {trigger}' in Edit Captions."
            yield Finding(MISSING, _once(pictures), trigger, text)


def _phrases(captions: Sequence[Caption], expected: Expected) -> Iterator[Finding]:
    frequent = phrases.frequent(captions, expected.share)
    on_purpose = [phrase for phrase in frequent if phrase.on_purpose]
    competing = [phrase for phrase in frequent if not phrase.on_purpose]
    for phrase in competing:
        text = (
            f"'{phrase.text}' is in {phrase.share:.0%} of the captions: the model learns it under these words, and not "
            f"under the trigger. If it belongs to the character, take it out: 'remove: {phrase.text}' in Edit Captions."
        )
        yield Finding(COMPETING, _pictures(captions, phrase), phrase.text, text)
    for phrase in _of_description(captions, expected, competing):
        text = (
            f"'{phrase.text}' is in the character's description, and so for the trigger to learn. Take it out, unless "
            f"it changes from picture to picture: 'remove: {phrase.text}' in Edit Captions."
        )
        yield Finding(DESCRIBED, _pictures(captions, phrase), phrase.text, text)
    for phrase in on_purpose:
        text = (
            f"'{phrase.text}' is in {phrase.share:.0%} of the captions. Leave it, unless it belongs to the character."
        )
        yield Finding(CONSTANT, (), phrase.text, text)


def _of_description(captions: Sequence[Caption], expected: Expected, told: Sequence[Phrase]) -> list[Phrase]:
    """Those that are not told already, as they or a longer phrase compete."""
    text = phrases.without_labels(expected.description[:_LONGEST_DESCRIPTION])
    words = tuple(words_of(text))
    own = own_places(words, expected) | {
        place for place, word in enumerate(words) if word.key in keys_of(expected.name)
    }
    found = phrases.of_description(captions, Caption("", text, words, own, 1.0))
    return [phrase for phrase in found if not any(_is_part(phrase.stems, each.stems) for each in told)]


def _is_part(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _others(captions: Sequence[Caption], expected: Expected) -> Iterator[Finding]:
    others, names = defaultdict(list), defaultdict(list)
    ordinary = people.written_small(captions)
    known = dict.fromkeys(filter(str.strip, expected.others))
    for caption in captions:
        told = people.others_in(caption, known, expected)
        for name in told:
            others[name].append(caption.picture)
        keys = {key for name in told for key in keys_of(name)}
        for name in people.capitalised(caption, expected):
            if not (keys | ordinary) >= {*keys_of(name)}:
                names[name].append(caption.picture)
    for name, pictures in others.items():
        text = (
            f"'{name}' is another character's. Take it out, or this character learns what the other one's words mean."
        )
        yield Finding(OTHER, _once(pictures), name, text)
    for name, pictures in names.items():
        text = f"'{name}' may be a name that the model knows somebody by. If it is, take it out."
        yield Finding(NAME, _once(pictures), name, text)


def _doubled(captions: Sequence[Caption]) -> Iterator[Finding]:
    same: dict[tuple[str, ...], list[Caption]] = defaultdict(list)
    for caption in captions:
        same[tuple(sorted(map(bare, tags_of(caption.text))))].append(caption)
    for group in same.values():
        if len(group) > 1:
            pictures = _once(caption.picture for caption in group)
            many = f"{len(pictures)} pictures have" if len(pictures) > 1 else f"a picture has {len(group)} times"
            text = f"{many} this caption: '{_short(group[0].text)}'. Say in each what is different in the picture."
            yield Finding(DOUBLED, pictures, _short(group[0].text), text)


def _repeated(captions: Sequence[Caption]) -> Iterator[Finding]:
    again: dict[str, list[str]] = defaultdict(list)
    for caption in captions:
        for start, end in editing.repeated(caption.text):
            again[bare(caption.text[start:end])].append(caption.picture)
    for tag, pictures in again.items():
        text = f"'{tag}' is there more than once, which only takes room. Use 'once' in Edit Captions."
        yield Finding(REPEATED, _once(pictures), tag, text)


def _long(
    captions: Sequence[Caption], expected: Expected, count: Count | None, progress: Progress
) -> Iterator[Finding]:
    for done, caption in enumerate(captions if count else (), 1):
        tokens, room = count(caption.text)
        most = min(room, expected.policy.tokens) if expected.policy else room
        if tokens > most:
            why = "the rest is read apart from them" if most == room else "the model was trained on no more"
            text = f"{tokens} tokens, and {most} fit: {why}. Shorten the caption."
            yield Finding(LONG, (caption.picture,), _short(caption.text), text)
        progress(done, len(captions))


def _pictures(captions: Sequence[Caption], phrase: Phrase) -> tuple[str, ...]:
    return _once(captions[place.caption].picture for place in phrase.places)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
