"""Regular expressions from strangers.

Whoever reaches the server can send a pattern, and Python's `re` takes longer than anybody waits for some, such as
`(a+)+$`, while no other thread of the process runs. RE2 searches in time that grows with the text alone and refuses
patterns that would take much memory (github.com/google/re2); in exchange it has no lookaround and no backreferences in
patterns. Pattern, captions and results are limited in length.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import re2

LONGEST_PATTERN, LONGEST_CAPTION, LONGEST_ALTOGETHER = 500, 20_000, 50_000_000  # characters
_MEMORY = 2**24  # bytes, of a compiled pattern


class RegexError(ValueError):
    """A pattern that cannot be used; the message says what to do."""


def substituted(pattern: str, replacement: str, captions: Sequence[str]) -> list[str]:
    """Each caption with the replacement (\\1 or \\g<name> in it are groups) in the place of what the pattern finds.

    Raises RegexError for a pattern or replacement that is none, or is too long, and for captions that are too long
    before or afterwards.
    """
    _check_lengths(pattern, replacement, captions)
    try:
        compiled = re2.compile(pattern, _options())
        return [_replaced(compiled, replacement, caption) for caption in captions]
    except (re2.error, ValueError, IndexError, KeyError) as error:
        raise RegexError(
            f"{pattern!r} cannot be used ({_reason(error)}). Correct the pattern or what replaces it; it is RE2's "
            "syntax, without lookaround."
        ) from error


def _replaced(compiled, replacement: str, caption: str) -> str:
    length = 0

    def expanded(match) -> str:
        nonlocal length
        text = match.expand(replacement)
        length += len(text)
        if length > LONGEST_CAPTION:
            raise ValueError("what it makes of a caption is too long")
        return text

    return compiled.sub(expanded, caption)


@functools.cache
def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem, options.log_errors = _MEMORY, False
    return options


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _check_lengths(pattern: str, replacement: str, captions: Sequence[str]) -> None:
    for what, text in (("pattern", pattern), ("replacement", replacement)):
        if len(text) > LONGEST_PATTERN:
            raise RegexError(f"the {what} has {len(text)} characters; at most {LONGEST_PATTERN} are used. Shorten it.")
    longest = max(map(len, captions), default=0)
    if longest > LONGEST_CAPTION or sum(map(len, captions)) > LONGEST_ALTOGETHER:
        raise RegexError(
            f"the captions are too long for regular expressions (the longest has {longest} characters; at most "
            f"{LONGEST_CAPTION}, and {LONGEST_ALTOGETHER} in all, are searched). Shorten them, or use replace."
        )
