"""Findings in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...sota.registry import Family
from ..dataset.records import Dataset
from .findings import CONSTANT, KINDS, Expected, Finding, named
from .phrases import FEW, FEWEST
from .policy import advice

_MOST_OF_A_KIND = 12


def in_words(
    dataset: Dataset,
    findings: Sequence[Finding],
    expected: Expected,
    family: Family | None = None,
    counted: bool = False,
    fixed: int | None = None,
) -> str:
    """What was found, by kind, worst first; what was not looked at; and how to caption for the family.

    counted: whether tokens were. fixed: how many pictures have other captions than before, where they were fixed; the
    findings are then those that are left.
    """
    parts = [_headline(dataset, findings, fixed)]
    for kind, group in itertools.groupby(findings, key=lambda finding: finding.kind):
        parts.append(_of_kind(kind, list(group), len(dataset.samples)))
    parts.append("\n".join(_not_looked_at(dataset, expected, counted)))
    if family:
        parts.append(f"For {family.name}: {advice(family.captions)}")
    return "\n\n".join(filter(None, parts))


def _headline(dataset: Dataset, findings: Sequence[Finding], fixed: int | None) -> str:
    captions = sum(len(sample.captions) for sample in dataset.samples)
    pictures = {name for finding in findings for name in finding.pictures}
    result = f"findings in {_count(len(pictures), 'picture')}" if pictures else "nothing found in any picture"
    lines = [f"{dataset.name}: {_count(len(dataset.samples), 'picture')}, {_count(captions, 'caption')}; {result}"]
    if fixed is not None:
        lines.append(f"Fixed: {_count(fixed, 'picture')} with other captions than before. What is left stands below.")
    return "\n".join(lines)


def _of_kind(kind: str, findings: Sequence[Finding], pictures: int) -> str:
    lines = [f"{KINDS[kind]} ({len(findings)})"]
    if kind == CONSTANT:
        phrases = ", ".join(f"'{finding.phrase}'" for finding in findings[:_MOST_OF_A_KIND])
        return f"{lines[0]}\n- {phrases}. Take out what belongs to the character."
    for finding in findings[:_MOST_OF_A_KIND]:
        who = "" if not finding.pictures else f" ({_who(finding.pictures, pictures)})"
        lines.append(f"- {finding.text}{who}")
    more = len(findings) - _MOST_OF_A_KIND
    return "\n".join([*lines, f"… and {more} more"] if more > 0 else lines)


def _who(names: Sequence[str], of: int) -> str:
    return "every picture" if len(names) == of > 1 else named(names)


def _not_looked_at(dataset: Dataset, expected: Expected, counted: bool) -> list[str]:
    lines = []
    if not expected.trigger.strip():
        lines.append("No trigger is given, so none is looked for, and it may stand above as a phrase that competes.")
    number = len(dataset.samples)
    if number < FEWEST:
        lines.append(f"Phrases that compete are looked for in {FEWEST} pictures and more.")
    elif number < FEW:
        lines.append(f"With fewer than {FEW} pictures, only phrases in every caption are told.")
    if not counted:
        lines.append("Tokens were not counted: connect clip.")
    return lines


def reasons(findings: Sequence[Finding]) -> dict[str, str]:
    """Why each picture is flagged, by its name."""
    found: dict[str, dict[str, None]] = {}
    for finding in findings:
        said = KINDS[finding.kind].lower() + (f" ({finding.phrase})" if finding.phrase else "")
        for name in finding.pictures:
            found.setdefault(name, {})[said] = None
    return {name: "; ".join(said) for name, said in found.items()}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
