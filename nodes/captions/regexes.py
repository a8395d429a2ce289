"""Regular expressions from strangers, with an end to what they may cost.

Whoever reaches the server can send a pattern. Python's `re` tries every way to match, which for patterns such as
`(a+)+$` takes longer than anybody waits; it cannot be interrupted, and while it runs no other thread of the process
does, so that the server would hang. There is no telling such patterns from others by looking at them. So they run in a
process of their own, which is killed when its time is over. That process also has a limit of memory and of processor
time where the system has such limits (not on Windows), so that it ends even where nobody is left to kill it. Pattern,
captions and results are limited in length.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 10.0
LONGEST_PATTERN, LONGEST_CAPTION, LONGEST_ALTOGETHER = 500, 20_000, 50_000_000  # characters
_MEMORY = 2**30  # bytes

# It imports nothing of ours: a Python that is up in some 20 ms. Its errors come back as text.
_WORKER = """
import json, re, sys
given = json.load(sys.stdin.buffer)
try:
    import resource
    seconds = int(given["seconds"]) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (given["memory"], given["memory"]))
except (ImportError, ValueError, OSError):
    pass
made, lengths = [], {"caption": 0, "all": 0}
def expanded(match):
    text = match.expand(given["replacement"])
    for what in lengths:
        lengths[what] += len(text)
    if lengths["caption"] > given["longest"] or lengths["all"] > given["altogether"]:
        raise ValueError("what it makes of a caption is too long")
    return text
try:
    pattern = re.compile(given["pattern"])
    for caption in given["captions"]:
        lengths["caption"] = 0
        made.append(pattern.sub(expanded, caption))
    answer = {"made": made}
except (re.error, ValueError, IndexError, RecursionError, OverflowError, MemoryError) as error:
    answer = {"error": str(error) or type(error).__name__}
sys.stdout.write(json.dumps(answer))
"""


class RegexError(ValueError):
    """A pattern that cannot be used; the message says what to do."""


class TooSlow(RegexError):
    """A pattern that was not done in time."""


def substituted(pattern: str, replacement: str, captions: Sequence[str], seconds: float = SECONDS) -> list[str]:
    """`re.sub` on each caption, in their order. seconds: for all of them together.

    Raises RegexError for a pattern or replacement that is none, or is too long, and for captions that are too long
    before or afterwards; TooSlow where the time is over.
    """
    _check_lengths(pattern, replacement, captions)
    if not captions:
        return []
    given = {
        "pattern": pattern, "replacement": replacement, "captions": list(captions), "seconds": seconds,
        "memory": _MEMORY + 20 * sum(map(len, captions)), "longest": LONGEST_CAPTION, "altogether": LONGEST_ALTOGETHER,
    }  # fmt: skip
    answer = _asked(json.dumps(given).encode("ascii"), seconds, pattern)
    if "error" in answer:
        raise RegexError(f"{pattern!r} cannot be used ({answer['error']}). Correct the pattern or what replaces it.")
    return answer["made"]


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


def _asked(given: bytes, seconds: float, pattern: str) -> dict:
    """What the worker answers; it is gone when this returns or raises."""
    command = [sys.executable, "-I", "-S", "-c", _WORKER]
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would show one
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=seconds, creationflags=no_window)
    except subprocess.TimeoutExpired as error:  # run() has killed it
        raise TooSlow(
            f"{pattern!r} was not done after {seconds:.0f} s and was stopped; nothing is changed. Patterns with "
            "repetitions within repetitions, as (a+)+, take very long: write it without them."
        ) from error
    except OSError as error:
        raise RegexError(
            f"regular expressions need a Python to run in, and {sys.executable!r} gives {error}."
        ) from error
    if done.returncode or not done.stdout:
        raise RegexError(f"{pattern!r} took too much memory or time and was stopped. Write it simpler.")
    return json.loads(done.stdout)
