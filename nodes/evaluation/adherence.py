"""Whether pictures show what their prompts say, by an encoder that puts pictures and text into one space (CLIP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

_SCALE = 2.5  # of CLIPScore, so that good captions come near 1


class AdherenceError(ValueError):
    """Pictures that cannot be compared with prompts; the message says what to do."""


@dataclass(frozen=True)
class Adherence:
    """How well a picture shows its prompt. value: CLIPScore, 2.5 times the cosine and at least 0 (arXiv 2104.08718,
    section 3). is_own: whether of all prompts its own is the likeliest (R-precision, arXiv 1711.10485, section 4);
    none where all pictures have the same."""

    value: float
    is_own: bool | None


@dataclass(frozen=True)
class Prompts:
    """texts: each once. own: of each picture, the place of its own in them."""

    texts: tuple[str, ...]
    own: tuple[int, ...]


def prompts(lines: Sequence[str], pictures: int) -> Prompts:
    """One for all pictures, or one for each. Raises AdherenceError."""
    if len(lines) not in (1, pictures):
        raise AdherenceError(
            f"there are {len(lines)} prompts for {pictures} pictures. Write one for all, or one for each, a line each."
        )
    texts = tuple(dict.fromkeys(lines))
    return Prompts(texts, tuple(texts.index(lines[place % len(lines)]) for place in range(pictures)))


def adherences(pictures: Tensor, texts: Tensor, own: Sequence[int]) -> tuple[Adherence, ...]:
    """Of pictures N,d and texts P,d of unit length; own: N places among the texts."""
    cosines = pictures @ texts.T
    likeliest = cosines.argmax(1).tolist()
    return tuple(
        Adherence(max(0.0, _SCALE * cosines[row, place].item()), likeliest[row] == place if len(texts) > 1 else None)
        for row, place in enumerate(own)
    )
