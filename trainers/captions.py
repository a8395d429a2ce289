"""What a caption says otherwise: in another order, and without the character."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from .errors import TrainingError


def tag_frequency(captions: Iterable[str]) -> dict[str, int]:
    """How many captions have each part between commas, the most frequent first."""
    parts = ({part.strip() for part in caption.split(",")} - {""} for caption in captions)
    return dict(Counter(part for each in parts for part in sorted(each)).most_common())


def shuffled(caption: str, keep: int, count: int, seed: int) -> list[str]:
    """Up to `count` different orders of the caption's parts between commas, the first `keep` of them left in place; the
    caption itself comes first. seed and caption decide them."""
    parts = [part.strip() for part in caption.split(",")]
    generator = np.random.default_rng([seed, *caption.encode()])
    orders = {caption: None}
    for _ in range(4 * count):  # short captions have few orders, which come up again and again
        order = keep + generator.permutation(max(0, len(parts) - keep))
        orders[", ".join([*parts[:keep], *(parts[place] for place in order)])] = None
    return list(orders)[:count]


def class_captions(captions: Mapping[str, str], trigger: str, class_noun: str) -> dict[str, str]:
    """Each picture's caption with the class noun in the trigger's place, or nothing there where that is empty.

    captions: by picture. The trigger is found as whole words, in capitals or not, with its possessive, which a class
    noun takes over; a class noun that follows it already is not doubled. Raises TrainingError where a caption lacks
    the trigger, or has nothing else.
    """
    pattern = _pattern(trigger, class_noun)
    plain = {name: unicodedata.normalize("NFC", caption) for name, caption in captions.items()}
    lacking = [name for name, caption in plain.items() if not pattern.search(caption)]
    if lacking:
        raise TrainingError(
            f"prior preservation needs the trigger {trigger.strip()!r} in every caption; {_some(lacking)} of "
            f"{len(captions)} lack it. Add it there, correct the trigger, or set prior preservation's weight to 0."
        )
    noun = class_noun.strip()
    others = {
        name: _tidy(pattern.sub(lambda found: noun and noun + (found["possessive"] or ""), caption))
        for name, caption in plain.items()
    }
    empty = [name for name, caption in others.items() if not re.search(r"\w", caption)]
    if empty:
        raise TrainingError(
            f"prior preservation compares captions without the trigger {trigger.strip()!r}, and of {_some(empty)} of "
            f"{len(captions)} nothing is left. Set class_noun to what the character is, such as woman."
        )
    return others


def _pattern(trigger: str, class_noun: str) -> re.Pattern[str]:
    words, following = _words(trigger), ""
    if class_noun.strip():
        noun = rf"(?:{_words(class_noun)}|{_words(class_noun.split()[-1])})"  # of "a woman" the last word may be there
        following = rf"(?:[\s_]+{noun}{_end(class_noun)})?"
    possessive = r"(?P<possessive>['’]s\b)?"
    return re.compile(rf"{_start(trigger)}{words}{_end(trigger)}{possessive}{following}", re.IGNORECASE)


def _words(phrase: str) -> str:
    return r"\s+".join(re.escape(word) for word in unicodedata.normalize("NFC", phrase).split())


def _start(phrase: str) -> str:
    return r"(?<![^\W_])" if parted_by_spaces(phrase.strip()[0]) else ""


def _end(phrase: str) -> str:
    return r"(?![^\W_])" if parted_by_spaces(phrase.strip()[-1]) else ""


def parted_by_spaces(sign: str) -> bool:
    """Whether words of this sign's script have spaces between them: true of letters with capitals, and digits."""
    return sign.isdigit() or sign.lower() != sign.upper()


def _tidy(caption: str) -> str:
    """Without what a removed word leaves: emphasis of nothing, spaces, commas."""
    removed = 1
    while removed:  # emphasis within emphasis
        caption, removed = re.subn(r"\(\s*(?::\s*[\d.]+)?\s*\)|\[\s*(?::\s*[\d.]+)?\s*\]", "", caption)
    caption = re.sub(r"\s+(?=[.!?;])", "", caption)
    parts = (" ".join(part.split()).strip("_") for part in caption.split(","))
    return ", ".join(part for part in parts if part)


def _some(names: list[str]) -> str:
    """ "3 (a.png, b.png, …)" """
    return f"{len(names)} ({', '.join(names[:2])}{', …' if len(names) > 2 else ''})"
