"""Names that people and programs give us, turned into paths that stay where they belong.

`POST /prompt` can be reached by whoever reaches the server, so a STRING never becomes a path by itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_LONGEST = 200  # bytes; file systems take 255, with an ending and a number
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved on Windows


class BadName(ValueError):
    """A name that cannot be used; the message says why and what to do."""


def confined(root: Path, name: str, what: str) -> Path:
    """The real path of `name` below `root`. Raises BadName where it would be anywhere else, links resolved.

    name: one or more path elements, separated by '/'. what: for the message, as in "folder".
    """
    root = root.resolve()
    path = (root / _checked(name, what)).resolve()
    if path != root and root not in path.parents:
        raise BadName(f"{what} '{name}' leads out of {root.name}/. Use a name below it, without links that lead out.")
    return path


def _checked(name: str, what: str) -> str:
    elements = name.split("/")
    if not name.strip() or "\\" in name or any(element in ("", ".", "..") for element in elements):
        raise BadName(
            f"{what} '{name}' is not a plain name. Use letters, digits, spaces, '-' and '_'; '/' only between names; "
            "no '..' and no absolute path."
        )
    for element in elements:
        if len(element.encode()) > _LONGEST:
            raise BadName(f"{what} '{name[:40]}…' is too long for a file. Use at most {_LONGEST} letters.")
        if _FORBIDDEN.search(element) or is_reserved(element) or element != element.strip() or element[-1] == ".":
            raise BadName(f"{what} '{name}' cannot be a file name on every system ('{element}'). Choose another name.")
    return name


def is_reserved(element: str) -> bool:
    """Whether it is a device on Windows, which cannot be a file's or folder's name there."""
    return bool(_DEVICES.fullmatch(element))


def unused(path: Path) -> Path:
    """`path`, or the same with -2, -3, … before the ending where there is such a file already."""
    return next(free for stem in numbered(path.stem) if not (free := path.with_stem(stem)).exists())


def numbered(name: str) -> Iterator[str]:
    """The name, name-2, name-3, …"""
    yield name
    for number in itertools.count(2):
        yield f"{name}-{number}"
