from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from isengard.nodes.captions import regexes
from isengard.nodes.captions.regexes import RegexError, TooSlow


def test_it_is_what_re_does():
    captions, made = ["red shirt", "", "青い髪 \ud800"], ["<red >shirt", "", "青い髪 \ud800"]
    assert regexes.substituted(r"(\w+) (?=s)|red", r"<\g<0>>", captions) == made
    assert regexes.substituted("x", "y", []) == []


def test_a_pattern_that_never_ends_is_stopped():
    """In this process it would hang for years, and the server with it."""
    with pytest.raises(TooSlow, match=r"was not done after 1 s and was stopped"):
        regexes.substituted(r"^(a+)+$", "", ["a" * 60 + "!"], seconds=1)
    assert not _workers()


def test_a_pattern_that_never_ends_to_compile_is_stopped():
    ranges = "".join(f"[\\U00010000-\\U0010{n:04x}]" for n in range(0xFF00, 0xFF12))
    with pytest.raises(RegexError):
        regexes.substituted(f"(?i){ranges}"[:500] + "(", "", ["a"], seconds=0.5)


def _workers() -> list[Path]:
    """This process's children that run the worker."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no /proc to look at")
    parent, found = f"PPid:\t{os.getpid()}\n", []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            is_child = parent in (process / "status").read_text()
            if is_child and b"sys.stdin.buffer" in (process / "cmdline").read_bytes():
                found.append(process)
    return found


@pytest.mark.parametrize(
    "pattern, replacement, message",
    [
        ("(x", "", r"'\(x' cannot be used \(missing \)"),
        ("x", r"\2", "invalid group reference"),
        ("x" * 501, "", "the pattern has 501 characters; at most 500"),
        ("x", "y" * 501, "the replacement has 501 characters"),
        ("a", r"\g<0>" * 90 + "b" * 40, "what it makes of a caption is too long"),
        ("(?=(a*))", r"\1" * 200, "what it makes of a caption is too long"),
    ],
)
def test_what_cannot_be_used_is_told(pattern, replacement, message):
    with pytest.raises(RegexError, match=message):
        regexes.substituted(pattern, replacement, ["x" + "a" * 900])


def test_captions_have_a_length():
    with pytest.raises(RegexError, match="the longest has 20001 characters; at most 20000"):
        regexes.substituted("x", "", ["a" * 20_001])


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_memory_has_a_limit():
    with pytest.raises(RegexError, match="memory|too much|cannot be used|was not done"):
        regexes.substituted("(?:(?:(?:a?){999}){999}){999}$", "", ["a" * 19_000 + "!"], seconds=3)


def test_where_no_python_can_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RegexError, match="need a Python to run in, and '/nowhere/python'"):
        regexes.substituted("x", "", ["a"])
