"""The check of captions as one operation: findings, the pictures that have them, a report, and the captions fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...sota.registry import Family
from ..characters.records import Character
from ..dataset.records import Dataset
from . import lint, mend, report, tokens
from .findings import Expected, Finding


@dataclass(frozen=True)
class Subject:
    """Whom the captions are about; each may be empty."""

    trigger: str = ""
    class_noun: str = ""
    name: str = ""
    description: str = ""
    slug: str = ""


@dataclass(frozen=True)
class Checked:
    """dataset: fixed, or as it was. flagged: its pictures with findings, each with the reason."""

    dataset: Dataset
    flagged: Dataset
    findings: tuple[Finding, ...]
    report: str


def subject(character: Character | None, trigger: str, class_noun: str) -> Subject:
    """A character's words; a trigger or class noun that is given wins over its own."""
    own = Subject()
    if character is not None:
        own = Subject(character.trigger, character.class_noun, character.name, character.description, character.slug)
    return Subject(
        trigger.strip() or own.trigger, class_noun.strip() or own.class_noun, own.name, own.description, own.slug
    )


def run(
    dataset: Dataset,
    who: Subject,
    library: Sequence[Character] = (),
    family: Family | None = None,
    clip: Any = None,
    share: float = 0.8,
    fix: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Checked:
    """Check captions, and fix them first where asked. library: all characters; their names and triggers are others',
    but for those of the subject. clip: ComfyUI's, to count tokens with. Raises CheckError and TokenizerError."""
    expected = Expected(
        who.trigger, who.class_noun, who.name, who.description, others(library, who), family and family.captions, share
    )
    before, fixed = dataset, None
    if fix:
        dataset = mend.mended(dataset, expected, progress)
        pairs = zip(before.samples, dataset.samples, strict=True)
        fixed = sum(old.captions != new.captions for old, new in pairs)
    count = None if clip is None else tokens.counter(clip)
    findings = lint.check(dataset, expected, count, progress)
    said = report.in_words(dataset, findings, expected, family, count is not None, fixed)
    return Checked(dataset, dataset.parted(report.reasons(findings))[1], findings, said)


def others(library: Sequence[Character], who: Subject) -> tuple[str, ...]:
    """Names and triggers of all characters but the subject: told by its folder, or where it has none by its trigger."""
    found = []
    for character in library:
        same_trigger = not who.slug and character.trigger.casefold() == who.trigger.casefold() != ""
        if character.slug != who.slug and not same_trigger:
            found += [character.name, character.trigger]
    return tuple(dict.fromkeys(filter(str.strip, found)))
