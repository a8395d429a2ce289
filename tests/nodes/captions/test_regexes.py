"""Regular expressions from strangers: what they do, and what they cannot do to the server."""

from __future__ import annotations

import time

import pytest

from isengard.nodes.captions import regexes
from isengard.nodes.captions.regexes import RegexError


def test_groups_and_any_script():
    captions, made = ["red shirt", "", "青い髪"], ["<red> shirt", "", "青い<髪>"]
    assert regexes.substituted(r"\bred\b|髪", r"<\g<0>>", captions) == made
    assert regexes.substituted(r"(\w+) (?P<what>shirt)", r"\g<what>, \1", captions)[0] == "shirt, red"
    assert regexes.substituted("x", "y", []) == []


@pytest.mark.parametrize("pattern", [r"^(a+)+$", "(a|aa)+$", "(.*)*(.*)*(.*)*x", "(?:a?){999}$"])
def test_no_pattern_takes_long(pattern):
    """In `re` the first would hang the server for years."""
    started = time.monotonic()
    regexes.substituted(pattern, "", ["a" * 19_000 + "!"])
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "pattern, replacement, message",
    [
        ("(x", "", r"'\(x' cannot be used \(missing \)"),
        ("x", r"\2", "cannot be used"),
        ("x(?=a)", "", "without lookaround"),
        ("(?:(?:(?:a?){999}){999}){999}$", "", "cannot be used"),
        ("x" * 501, "", "the pattern has 501 characters; at most 500"),
        ("x", "y" * 501, "the replacement has 501 characters"),
        ("a", r"\g<0>" * 90 + "b" * 40, "what it makes of a caption is too long"),
    ],
)
def test_what_cannot_be_used_is_told(pattern, replacement, message):
    with pytest.raises(RegexError, match=message):
        regexes.substituted(pattern, replacement, ["x" + "a" * 900])


def test_captions_have_a_length():
    with pytest.raises(RegexError, match="the longest has 20001 characters; at most 20000"):
        regexes.substituted("x", "", ["a" * 20_001])
