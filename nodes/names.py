"""Names that people and programs give us, turned into paths that stay where they belong.

`POST /prompt` can be reached by whoever reaches the server, so a STRING never becomes a path by itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\ud800-\udfff]')  # the last: halves of a character
_LONGEST = 200  # bytes; file systems take 255, with an ending and a number
_AROUND = re.compile(r"^[\s.]+|[\s.]+$")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved on Windows


class BadName(ValueError):
    """A name that cannot be used; the message says why and what to do."""


def confined(root: Path, name: str, what: str) -> Path:
    """The real path of `name` below `root`. Raises BadName where it would be anywhere else, links resolved.

    name: one or more path elements, separated by '/'. what: for the message, as in "folder".
    """
    root = root.resolve()
    path = (root / checked(name, what)).resolve()
    if path != root and root not in path.parents:
        raise BadName(f"{what} '{name}' leads out of {root.name}/. Use a name below it, without links that lead out.")
    return path


def checked(name: str, what: str, longest: int = _LONGEST) -> str:
    """`name`, where it is path elements that every system can have, separated by "/". longest: each of them, in bytes.
    Raises BadName for another one."""
    elements = name.split("/")
    if not name.strip() or "\\" in name or any(element in ("", ".", "..") for element in elements):
        raise BadName(
            f"{what} '{name}' is not a plain name. Use letters, digits, spaces, '-' and '_'; '/' only between names; "
            "no '..' and no absolute path."
        )
    for element in elements:
        if _FORBIDDEN.search(element) or is_reserved(element) or element != element.strip() or element[-1] == ".":
            raise BadName(f"{what} '{name}' cannot be a file name on every system ('{element}'). Choose another name.")
        if len(element.encode()) > longest:
            raise BadName(f"{what} '{name[:40]}…' is too long for a file. Use at most {longest} letters.")
    return name


def mended(name: str, otherwise: str) -> str:
    """One path element like `name` that every system can have, and that is not hidden; `otherwise` where nothing is
    left of it."""
    element = _FORBIDDEN.sub("-", name.replace("/", "-").replace("\\", "-"))
    element = element.encode()[:_LONGEST].decode(errors="ignore")
    element = _AROUND.sub("", element)
    return element if element and not is_reserved(element) else otherwise


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
