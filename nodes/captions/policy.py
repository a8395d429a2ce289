"""Whether captions are tags or sentences, and which of them a model family wants (sota/registry.yml)."""

from __future__ import annotations

from collections.abc import Sequence

from ...sota.registry import EITHER, SENTENCES, TAGS, CaptionPolicy
from .findings import STYLE, Caption, Finding
from .words import MOSTLY, Word, prose_parts

_HARDLY = 0.25  # of a caption's words in parts that read as sentences
_FEWEST_PARTS = 3
_HALF = 0.5
_INSTEAD = {
    TAGS: "tags, and this model wants sentences. Caption the pictures with a captioner that writes sentences, and "
    "connect it to Caption from Text",
    SENTENCES: "sentences, and this model wants tags. Caption the pictures with a tagger, and connect it to Caption "
    "from Text",
}


def style_of(words: Sequence[Word]) -> str:
    """TAGS, SENTENCES, or empty where it is neither clearly: a few words, or tags and sentences in one."""
    prose = prose_parts(words)
    in_prose = sum(word.part in prose for word in words)
    if in_prose and in_prose >= MOSTLY * len(words):
        return SENTENCES
    return TAGS if len({word.part for word in words}) >= _FEWEST_PARTS and in_prose <= _HARDLY * len(words) else ""


def findings(captions: Sequence[Caption], policy: CaptionPolicy | None) -> list[Finding]:
    """One where more than half of the captions are tags and the family wants sentences, or the reverse."""
    if policy is None or policy.style == EITHER or not captions:
        return []
    other = SENTENCES if policy.style == TAGS else TAGS
    wrong = sum(style_of(caption.words) == other for caption in captions)
    if wrong <= _HALF * len(captions):
        return []
    return [Finding(STYLE, (), "", f"{wrong} of {len(captions)} captions are {_INSTEAD[other]}.")]


def advice(policy: CaptionPolicy) -> str:
    """What a caption for the family is, for people."""
    style = "tags or sentences" if policy.style == EITHER else policy.style
    return (
        f"Write {style}, at most {policy.tokens} tokens. Name {policy.name}. Leave out {policy.leave_out}: that is "
        "what the trigger learns."
    )
