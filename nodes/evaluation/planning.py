"""What a grid is made of: which LoRAs, at which strengths, with which prompts and seeds; and what decides a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...trainers import fingerprints
from ...trainers.run import Run
from ..characters.records import Character
from ..sampling import prompts
from ..sampling.prompts import Wildcards
from .records import CHARACTER, FILE, RUN, THE_BASE, Candidate, Cell, Column, GridError, Row

FORMAT = "1"  # of keys: another one draws every picture anew
_OF_A_CHARACTER = re.compile(r"\{\s*(trigger|class|description)\s*\}")


def of_run(run: Run) -> list[Candidate]:
    """Its checkpoints. Raises GridError where it has none."""
    if not run.checkpoints:
        raise GridError(
            f"the run {run.name} has no checkpoints: its folder cannot be written, or was removed. Make room on the "
            "disk and train again, or name LoRA files in 'loras'."
        )
    return [Candidate(f"step {each.step}", RUN, each.file, each.step, each.validation_loss) for each in run.checkpoints]


def of_files(names: Sequence[str], known: Sequence[str], locate: Callable[[str], Path]) -> list[Candidate]:
    """LoRA files by their names among the known ones, with or without their ending; "*" stands for anything. Raises
    GridError for a name that none has."""
    listed = {name.replace("\\", "/"): name for name in known}
    found: dict[str, Candidate] = {}
    for name in names:
        pattern = re.compile(re.escape(name.replace("\\", "/")).replace(r"\*", ".*"))
        wanted = [each for each in listed if pattern.fullmatch(each) or pattern.fullmatch(_stem(each))]
        if not wanted:
            some = ", ".join(list(listed)[:5]) or "none"
            raise GridError(
                f"there is no LoRA '{name}' in ComfyUI's LoRA folder (there are: {some}). Name one of these."
            )
        found |= {each: Candidate(_stem(each), FILE, locate(listed[each])) for each in wanted}
    return list(found.values())


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z0-9]{1,11}$", "", name)


def of_character(character: Character, folder: Path) -> list[Candidate]:
    """All its versions. folder: of their files. Raises GridError where it has none."""
    if not character.versions:
        raise GridError(f"{character.name} has no LoRA yet. Add one with Add LoRA to Character, or connect a run.")
    return [Candidate(f"{character.name} {each.id}", CHARACTER, folder / each.file) for each in character.versions]


def filled(lines: Sequence[str], character: Character | None, wildcards: Wildcards, seed: int) -> list[str]:
    """The prompts with the character's words, each once. Raises GridError where there are none, or a word is asked for
    that nobody gives; PromptError for other fields."""
    check_prompts(lines)
    field = next(filter(None, map(_OF_A_CHARACTER.search, lines)), None)
    if field and character is None:
        raise GridError(
            f"a prompt has {field[0]} and no character is connected. Connect one, or write the word itself."
        )
    values = {}
    if character:
        values = {
            "trigger": character.trigger, "class": character.class_noun, "description": character.description
        }  # fmt: skip
    return list(dict.fromkeys(prompts.filled(line, values, wildcards, seed) for line in lines))


def check_prompts(lines: Sequence[str]) -> None:
    """Raise GridError where there are none."""
    if not lines:
        raise GridError("there is no prompt to draw. Write one prompt a line into 'prompts'.")


def cells(
    candidates: Sequence[Candidate], strengths: Sequence[float], rows: Sequence[Row], with_base: bool
) -> tuple[Cell, ...]:
    """Column by column, the base first. Raises GridError where there is no column."""
    columns = [Column(candidate, strength) for candidate in candidates for strength in strengths]
    if with_base:
        columns.insert(0, Column(THE_BASE, 0.0))
    if not columns:
        raise GridError("there is no LoRA to draw with. Connect a run or a character, or name files in 'loras'.")
    return tuple(Cell(column, row) for column in columns for row in rows)


def key(shared: str, content: str, cell: Cell) -> str:
    """Tells pictures apart by everything that decides them. shared: of what all cells have in common; content: of the
    LoRA's weights, empty for the base."""
    strength = repr(float(cell.column.strength)) if content else ""
    return fingerprints.of_parts(FORMAT, shared, content, strength, cell.row.prompt, str(cell.row.seed))


def report(cells: Sequence[Cell], drawn: int) -> str:
    """For people: how many pictures were drawn, taken from disk, and failed, and why."""
    failed = [cell for cell in cells if cell.failed]
    there = len(cells) - drawn - len(failed)
    said = [f"{len(cells)} pictures: {drawn} drawn, {there} from disk, {len(failed)} failed."]
    reasons: dict[str, list[Cell]] = {}
    for cell in failed:
        reasons.setdefault(cell.failed, []).append(cell)
    for reason, where in reasons.items():
        columns = list(dict.fromkeys(cell.column.label for cell in where))
        named = ", ".join(columns[:5]) + (", …" if len(columns) > 5 else "")
        said.append(f"{named} ({len(where)} failed): {reason}")
    return "\n".join(said)
