"""Which pictures of a character are drawn: every prompt, strength and seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import lists, prompts

MOST = 256  # pictures, which are kept in memory together
_LONGEST = 60  # characters of a prompt in a label


class ShotsError(ValueError):
    """Pictures that cannot be drawn together; the message says what to change."""


@dataclass(frozen=True)
class Shot:
    """One picture. strength: of the LoRA."""

    strength: float
    prompt: str
    seed: int

    @property
    def label(self) -> str:
        return f"seed {self.seed} · {self.strength:g} · {in_short(self.prompt)}"


@dataclass(frozen=True)
class Plan:
    """What is varied; the number of pictures is the product of all three."""

    strengths: tuple[float, ...]
    templates: tuple[str, ...]
    seeds: tuple[int, ...]

    def shots(self, filled: Callable[[str, int], str]) -> tuple[Shot, ...]:
        """Strength by strength, then prompt by prompt. filled: a template's prompt for a seed, which is that of its
        choices too, so that the same seed has the same prompt at every strength."""
        wanted = [(filled(template, seed), seed) for template in self.templates for seed in self.seeds]
        return tuple(Shot(strength, *each) for strength in self.strengths for each in wanted)


def plan(templates: str | None, strengths: str | None, seeds: str | None) -> Plan:
    """By what a person wrote: one template a line, and lists. None: what is not known yet, and counts as one. Raises
    ListError, PromptError and ShotsError."""
    found = Plan(
        (1.0,) if strengths is None else lists.strengths(strengths),
        ("",) if templates is None else _templates(templates),
        (0,) if seeds is None else lists.seeds(seeds),
    )
    number = len(found.strengths) * len(found.templates) * len(found.seeds)
    if number > MOST:
        raise ShotsError(
            f"{len(found.templates)} prompts x {len(found.strengths)} strengths x {len(found.seeds)} seeds are "
            f"{number} pictures; at most {MOST} are drawn at once. Write fewer, or draw them in several runs."
        )
    return found


def _templates(text: str) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise ShotsError("there is no prompt to draw. Write one a line into 'prompts', such as {trigger} {class}.")
    for number, line in enumerate(lines, 1):
        try:
            prompts.parsed(line)
        except prompts.PromptError as error:
            raise prompts.PromptError(f"prompt {number} ('{in_short(line)}'): {error}") from error
    return lines


def by_strength(shots: Sequence[Shot]) -> Iterator[tuple[float, list[Shot]]]:
    """The pictures of each strength together."""
    for strength, group in itertools.groupby(shots, lambda shot: shot.strength):
        yield strength, list(group)


def in_short(prompt: str) -> str:
    """A prompt on one line of a label."""
    line = " ".join(prompt.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def report(who: str, shots: Sequence[Shot], files: Sequence[str], notes: Sequence[str]) -> str:
    """What was drawn, for people, and what to know of it. who: the LoRA; files: below ComfyUI's output folder."""
    number = f"{len(shots)} picture" + ("" if len(shots) == 1 else "s")
    where = files[0] if len(files) == 1 else f"{files[0]} to {files[-1].rsplit('/', 1)[-1]}"
    return "\n".join([f"{number} with {who}: output/{where}", *notes])
