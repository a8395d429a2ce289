"""Captions mended: what can be put right without looking at the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..dataset.records import Dataset
from . import editing, phrases, triggers
from .findings import Caption, CheckError, Expected, read, read_one
from .triggers import Miss
from .vocabulary import CLASS_NOUNS, FUNCTION_WORDS
from .words import has, keys_of, places, says_something, words_of

_MOST_ROUNDS = 20  # what is taken out brings words together, which may make another phrase


def mended(
    dataset: Dataset, expected: Expected, progress: Callable[[int, int], None] = lambda done, of: None
) -> Dataset:
    """The data set with the trigger in every caption, without phrases that compete with it, and without doubled tags.

    A trigger that is surely misspelled is written right; where it is missing it comes before the class noun that the
    caption begins with, or first. A picture without a caption gets trigger and class noun. Of fewer than three
    pictures no phrase is taken out. Raises CheckError where there is no trigger: then it would be a phrase like others.
    """
    if not expected.trigger.strip():
        raise CheckError("captions cannot be fixed without a trigger. Fill it in, or connect a character that has one.")
    dataset = dataset.of(
        replace(sample, captions=tuple(filter(says_something, sample.captions)) or (_who(expected),))
        for sample in dataset.samples
    )
    for done in range(_MOST_ROUNDS):
        progress(done, _MOST_ROUNDS)
        captions = read(dataset, expected)
        texts = _without_repeated(_without_competing(_with_trigger(captions, expected), expected))
        if texts == [caption.text for caption in captions]:
            break
        dataset = _with(dataset, texts)
    return dataset


def _who(expected: Expected) -> str:
    return " ".join(f"{expected.trigger} {expected.class_noun}".split())


def _with(dataset: Dataset, texts: Sequence[str]) -> Dataset:
    """texts: of all samples, one after the other, as many as each has captions."""
    left = iter(texts)
    return dataset.of(replace(each, captions=tuple(next(left) for _ in each.captions)) for each in dataset.samples)


def _with_trigger(captions: Sequence[Caption], expected: Expected) -> list[Caption]:
    texts = [caption.text for caption in captions]
    misses = triggers.misses(captions, expected.trigger)
    for miss in sorted(misses, key=lambda miss: -miss.start):  # from the end, so that the others' places stay right
        texts[miss.caption] = _mended(texts[miss.caption], miss, expected)
    return [_anew(caption, text, expected) for caption, text in zip(captions, texts, strict=True)]


def _anew(caption: Caption, text: str, expected: Expected) -> Caption:
    return caption if text == caption.text else read_one(caption.picture, text, expected, caption.weight)


def _mended(text: str, miss: Miss, expected: Expected) -> str:
    trigger = expected.trigger.strip()
    if miss.resembles and miss.sure:
        return text[: miss.start] + trigger + text[miss.end :]
    return _added(text, expected) if miss.lacking else text


def _added(text: str, expected: Expected) -> str:
    trigger, noun = expected.trigger.strip(), keys_of(expected.class_noun)
    words = words_of(text)
    starts = places(words, noun) or [place for place, word in enumerate(words) if not noun and word.key in CLASS_NOUNS]
    if starts and all(word.key in FUNCTION_WORDS for word in words[: starts[0]]):
        at = words[starts[0]].start
        return f"{text[:at]}{trigger} {text[at:]}"
    return f"{trigger if has(text, expected.class_noun) else _who(expected)}, {text}"


def _without_competing(captions: Sequence[Caption], expected: Expected) -> list[str]:
    cuts: list[list[editing.Span]] = [[] for _ in captions]
    for phrase in phrases.frequent(captions, expected.share):
        for place in () if phrase.on_purpose else phrase.places:
            cuts[place.caption].append((place.start, place.end))
    return [editing.without(caption.text, cut) for caption, cut in zip(captions, cuts, strict=True)]


def _without_repeated(texts: Sequence[str]) -> list[str]:
    return [editing.once(text) for text in texts]
