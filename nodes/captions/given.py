"""Captions from the texts that other nodes give, one for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..dataset.records import Dataset

REPLACE, APPEND, ANOTHER = "replace", "append", "add as another"
MODES = (REPLACE, APPEND, ANOTHER)
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


class TextsError(ValueError):
    """Texts that do not go with the pictures; the message says what to do."""


def captioned(dataset: Dataset, texts: Sequence[str], mode: str = REPLACE) -> Dataset:
    """The data set with a text for each picture, in order.

    mode: of MODES; the text is the caption instead of those there, stands at the end of each of them, or is one more.
    A text that is empty is no caption. White space becomes a space each. Raises TextsError where the numbers differ or
    a text is none.
    """
    if mode not in MODES:
        raise TextsError(f"mode is {mode!r}. Choose one of {', '.join(MODES)}.")
    if len(texts) != len(dataset.samples):
        raise TextsError(
            f"there are {len(dataset.samples)} pictures and {len(texts)} texts. Give one for each picture, in the "
            "order of Dataset to Images; a captioner that says one text of them all has to be given one at a time."
        )
    samples = (
        replace(sample, captions=_captions(sample.captions, _text(text, number), mode))
        for number, (sample, text) in enumerate(zip(dataset.samples, texts, strict=True), 1)
    )
    return dataset.of(samples)


def _text(text: str, number: int) -> str:
    if not isinstance(text, str):
        raise TextsError(f"text {number} is no text ({type(text).__name__}). Connect an output that gives STRING.")
    return " ".join(text.split())


def _captions(before: tuple[str, ...], text: str, mode: str) -> tuple[str, ...]:
    if mode == REPLACE:
        return tuple(filter(None, [text]))
    if not text:
        return before
    if mode == APPEND:
        return tuple(_appended(caption, text) for caption in before) or (text,)
    return before if text in before else (*before, text)


def _appended(caption: str, text: str) -> str:
    if not caption.strip():
        return text
    joint = " " if caption.rstrip().endswith(_SENTENCE_ENDS) else ", "
    return caption.rstrip().rstrip(",").rstrip() + joint + text
