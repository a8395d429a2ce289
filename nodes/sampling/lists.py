"""Lists of numbers that people write: "0.6, 0.8, 1.0", "1, 5, 100-103"."""

from __future__ import annotations

import re

STRONGEST = 10.0
LARGEST_SEED = 2**64 - 1  # KSampler's
MOST = 256  # numbers in a list

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?", re.ASCII)


class ListError(ValueError):
    """A list that cannot be read; the message says what to write."""


def strengths(text: str) -> tuple[float, ...]:
    """The numbers of a list, each once, in its order. Raises ListError."""
    return tuple(dict.fromkeys(_strength(piece) for piece in _pieces(text, "strength", "1.0 or 0.6, 0.8, 1.0")))


def seeds(text: str) -> tuple[int, ...]:
    """The whole numbers of a list, each once, in its order; 100-103 are four. Raises ListError."""
    spans = [_span(piece) for piece in _pieces(text, "seed", "0 or 1, 5, 100-103")]
    number = sum(last - first + 1 for first, last in spans)
    if number > MOST:
        raise ListError(f"seeds are {number} numbers; at most {MOST} are drawn at once. Write fewer, or run twice.")
    return tuple(dict.fromkeys(seed for first, last in spans for seed in range(first, last + 1)))


def _pieces(text: str, what: str, example: str) -> list[str]:
    """What stands between commas, semicolons and ends of lines."""
    pieces = [piece.strip() for piece in re.split(r"[,;\n]", text) if piece.strip()]
    if not pieces:
        raise ListError(f"there is no {what}. Write one or several into '{what}s', such as {example}.")
    if len(pieces) > MOST:
        raise ListError(f"{what}s are {len(pieces)} numbers; at most {MOST} are drawn at once. Write fewer.")
    return pieces


def _strength(piece: str) -> float:
    if not _NUMBER.fullmatch(piece):
        raise ListError(f"'{piece[:40]}' in strengths is no number. Write numbers with commas between: 0.6, 0.8, 1.0.")
    if abs(float(piece)) > STRONGEST:
        raise ListError(f"the strength {piece[:40]} is too large. Write one from -{STRONGEST:g} to {STRONGEST:g}.")
    return float(piece)


def _span(piece: str) -> tuple[int, int]:
    """First and last seed."""
    found = _RANGE.fullmatch(piece)
    if not found:
        raise ListError(f"'{piece[:40]}' in seeds is no seed. Write whole numbers from 0, or ranges: 1, 5, 100-103.")
    first, last = _seed(found[1]), _seed(found[2] or found[1])
    if last < first:
        raise ListError(f"the range {piece} in seeds goes backwards. Write {last}-{first}.")
    return first, last


def _seed(digits: str) -> int:
    if len(digits.lstrip("0")) > len(str(LARGEST_SEED)) or int(digits) > LARGEST_SEED:
        raise ListError(f"the seed {digits[:24]} is too large. Write one from 0 to {LARGEST_SEED}.")
    return int(digits)
