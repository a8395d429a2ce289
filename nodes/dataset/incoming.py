"""Files that a person brings: which of them make a data set, and how that becomes a folder, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..names import checked, mended, numbered
from . import caption_files, folder, images, layouts, manifest

ANY_NAME = "dataset"  # of a data set whose files do not tell one
_STAGE = ".upload-"  # hidden, so no list of folders shows it
_OLD_HOURS = 24  # after which a stage that nobody writes to is removed
_DEEPEST = 10  # folders in each other
_LONGEST = 255  # bytes of a file's name
_SPARE = 2**28  # bytes that stay free on the disk
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # what systems add
_DATA = frozenset({*layouts.METADATA, manifest.FILE})
_SUFFIXES = images.SUFFIXES | frozenset(caption_files.ENDINGS)


class IncomingError(ValueError):
    """Files that make no data set, or for which there is no place; the message says why and what to do."""


class NoSpace(IncomingError):
    """The disk is too full."""


@dataclass(frozen=True)
class Plan:
    """Which files make a data set. places: where each goes in its folder, by the name that it came with. left_out: the
    names of those that do not belong to one, less what systems add; pictures that are not read stand first. name: what
    the files call the data set; empty where they do not."""

    places: Mapping[str, str]
    left_out: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Added:
    """A data set that came in. name: of its folder. pictures: how many. left_out: names of files that were not kept."""

    name: str
    pictures: int
    left_out: tuple[str, ...]


def plan(names: Iterable[str], called: str = "") -> Plan:
    """What becomes of files with these names, which are paths of parts parted by "/".

    Pictures, masks, captions and metadata files are kept. A folder around all of them is taken off, unless its name
    says how often to repeat ("10_hero"). called: what they are together, where they come as one file; else they are
    called as the folder around them. Raises IncomingError where there is no picture, or two files are one on some
    system; BadName for a name that no file can have everywhere.
    """
    seen = [name for name in names if not _is_junk(name)]
    kept = [name for name in seen if _is_kept(name)]
    left_out = sorted(set(seen) - set(kept), key=lambda name: (not _is_unread_picture(name), name))
    _check_pictures(kept, left_out)
    around = _around(kept)
    _, subject = layouts.repeats(around)
    taken_off = f"{around}/" if around and not subject else ""
    places = {name: name.removeprefix(taken_off) for name in kept}
    _check_places(list(places.values()))
    return Plan(places, tuple(left_out), called or subject or around)


def check_space(root: Path, size: int) -> None:
    """Raises NoSpace where the disk of `root`, which is made where it is missing, has no room for so many bytes."""
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if size + _SPARE > free:
        raise NoSpace(
            f"the files have {size / 2**30:.1f} GB, and the disk of ComfyUI's input folder has {free / 2**30:.1f} GB "
            "left. Make room on it."
        )


def make_stage(root: Path) -> Path:
    """A new folder for files that are on their way, in `root`, which is made where it is missing."""
    root.mkdir(parents=True, exist_ok=True)
    stage = root / f"{_STAGE}{secrets.token_hex(16)}"
    stage.mkdir()
    return stage


@contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A stage that is gone afterwards, whatever happens; `settle` moves it before that."""
    stage = make_stage(root)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def remove_forgotten(root: Path) -> None:
    """Stages that were left behind when a ComfyUI ended. Those of another one that runs are newer."""
    before = time.time() - _OLD_HOURS * 3600
    for stage in root.glob(f"{_STAGE}*"):
        with suppress(OSError):  # another ComfyUI was quicker
            if not stage.is_symlink() and stage.stat().st_mtime < before:
                shutil.rmtree(stage, ignore_errors=True)


def check_name(name: str) -> None:
    """Raises IncomingError, or BadName, for a name that a data set's folder cannot have."""
    if "/" in checked(name, "name") or name[0] == ".":
        raise IncomingError(f"name '{name}' is not that of a folder that is shown. Use letters, digits, '-' and '_'.")


def settle(stage: Path, name: str, planned: Plan, replace: bool = False) -> Added:
    """Make the stage the data set `name`, or what its files call it. A name that is taken gets a number, or with
    `replace` its folder goes; IncomingError is raised where that holds anything but a data set."""
    target = stage.with_name(name or mended(planned.name, ANY_NAME))
    if replace and os.path.lexists(target):
        _check_replaceable(target)
        _exchange(stage, target)
    else:
        target = _moved(stage, target)
    return Added(target.name, folder.number_of_pictures(target), planned.left_out)


def _check_pictures(kept: list[str], left_out: list[str]) -> None:
    if any(folder.is_picture(PurePosixPath(name)) for name in kept):
        return
    named = f": {folder.first(left_out)}" if left_out else ""
    raise IncomingError(
        f"there is no picture among {len(kept) + len(left_out)} files{named}. Give {folder.suffixes()} files, with "
        "captions beside them if you have some."
    )


def _is_junk(name: str) -> bool:
    """What is hidden, or added by a system: left out without a word."""
    parts = PurePosixPath(name).parts
    return any((part[0] == "." and part != "..") or part.lower() in _JUNK for part in parts)


def _is_unread_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in images.OTHER_SUFFIXES


def _is_kept(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES or path.name in _DATA


def _around(names: list[str]) -> str:
    """The one folder that all are in; empty where there is none."""
    tops = {name.partition("/")[0] for name in names}
    inside = len(tops) == 1 and all("/" in name for name in names) and not tops & {".", ".."}
    return tops.pop() if inside else ""


def _check_places(places: list[str]) -> None:
    """Before any of them is made."""
    taken: dict[str, str] = {}
    for place in places:
        checked(place, "file", _LONGEST)
        if place.count("/") > _DEEPEST:
            raise IncomingError(f"'{place}' lies more than {_DEEPEST} folders deep. Bring the folder that it is in.")
        other = taken.setdefault(place.casefold(), place)
        if other != place:
            raise IncomingError(f"'{other}' and '{place}' are one file on some systems. Rename one.")
    for place in places:
        for parent in PurePosixPath(place).parents:
            if str(parent).casefold() in taken:
                raise IncomingError(f"'{parent}' is a file and the folder of '{place}' at once. Rename one.")


def _moved(stage: Path, target: Path) -> Path:
    """Where the stage is now: a name that is free at that moment."""
    for stem in numbered(target.name):
        free = target.with_name(stem)
        if os.path.lexists(free):
            continue
        try:
            return stage.rename(free)
        except OSError:
            if not free.exists():  # else another one was quicker
                raise
    raise AssertionError("numbers do not end")


def _exchange(stage: Path, target: Path) -> None:
    """The old folder goes only when the new one is in its place."""
    old = make_stage(target.parent)
    aside = target.rename(old / target.name)
    try:
        stage.rename(target)
    except BaseException:
        _moved(aside, target)  # to a free name where another upload took its place; where that fails, it stays aside
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    if target.is_symlink() or not target.is_dir():
        raise IncomingError(f"input/{target.name} is no folder. Choose another name.")
    others = []
    for path, folders, names in os.walk(target):
        below = [Path(path, name).relative_to(target).as_posix() for name in names]
        links = [Path(path, each).relative_to(target).as_posix() for each in folders if Path(path, each).is_symlink()]
        others += links + [name for name in below if not (_is_kept(name) or _is_added(name))]
    if others:
        raise IncomingError(
            f"input/{target.name} holds {len(others)} files that are no data set's ({folder.first(sorted(others))}), "
            "so it is not replaced. Remove them, or choose another name."
        )


def _is_added(name: str) -> bool:
    """By a system: less than what is hidden, which may be somebody's work."""
    path = PurePosixPath(name)
    return path.name.lower() in _JUNK or path.name in (".DS_Store", ".directory") or path.name.startswith("._")
