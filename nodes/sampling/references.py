"""Which picture of a data set to show beside a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence


def nearest(prompt: str, captions: Sequence[str]) -> int:
    """The place of the caption that shares the most with a prompt: of their phrases (what stands between commas), then
    of their words, as shares of all in either (Jaccard index); the first of several alike."""
    wanted = _phrases(prompt), _words(prompt)

    def alike(place: int) -> tuple[float, float]:
        return _shared(wanted[0], _phrases(captions[place])), _shared(wanted[1], _words(captions[place]))

    return max(range(len(captions)), key=alike)


def _phrases(text: str) -> set[str]:
    return {phrase.strip().lower() for phrase in text.split(",")}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _shared(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))
