"""Lists of words, a line each, in text files that people write."""

from __future__ import annotations

from pathlib import Path

from ..names import confined
from .prompts import PromptError

_LARGEST = 2**24  # bytes


def lines(root: Path, name: str) -> list[str]:
    """The lines of the list, without empty ones and comments (#). name: its file's below `root`, without .txt. Raises
    PromptError where there is none, or it is no text; BadName for a name that leads out."""
    file = confined(root, f"{name}.txt", "list")
    if not file.is_file():
        known = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.txt"))
        raise PromptError(
            f"there is no list {name} (there are: {', '.join(known) or 'none'}). Write a line for each choice into "
            f"{root.name}/{name}.txt in the user's folder isengard."
        )
    if file.stat().st_size > _LARGEST:
        raise PromptError(f"the list {name} has more than {_LARGEST // 2**20} MB. Split it.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptError(f"the list {name} is no text in UTF-8 ({error}). Save it as such.") from error
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def fingerprint(root: Path) -> str:
    """Another one when a list was changed."""
    files = sorted(root.rglob("*.txt")) if root.is_dir() else []
    return str([(file.as_posix(), file.stat().st_mtime_ns, file.stat().st_size) for file in files])
