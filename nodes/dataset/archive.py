"""A data set from a zip file: its pictures and what belongs to them, unpacked into a folder."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from .. import zips
from . import incoming
from .incoming import Added, IncomingError

LIMITS = zips.Limits(files=200_000, bytes=2**36)  # 20,000 pictures of 3 MB, each with a caption and a mask

Progress = Callable[[int, int], None]  # told how many of how many files are done


def unpack(
    file: Path,
    root: Path,
    called: str,
    name: str = "",
    replace: bool = False,
    limits: zips.Limits = LIMITS,
    progress: Progress = lambda done, of: None,
) -> Added:
    """Make an archive a data set below `root`, whole or not at all; what `incoming.plan` leaves out stays in it.

    called: what the archive is called, without its ending. name, replace: of the folder, as for `incoming.settle`;
    without a name it is called as the archive is. Raises ZipError for what is no archive that may be unpacked,
    IncomingError and BadName for one whose files make no data set. What `progress` raises ends it.
    """
    with zips.opened(file) as archive:
        inside = zips.members(archive, limits)
        planned = incoming.plan(inside, called)
        incoming.check_space(root, sum(inside[given].file_size for given in planned.places))
        with incoming.staged(root) as stage:
            for done, (given, place) in enumerate(planned.places.items(), 1):
                _write(archive, inside[given], stage / place)
                progress(done, len(planned.places))
            return incoming.settle(stage, name, planned, replace)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "xb") as out:  # two names may be one on this disk
            for block in zips.blocks(archive, info):
                out.write(block)
    except (FileExistsError, NotADirectoryError) as error:
        raise IncomingError(f"'{info.filename}' cannot be written beside the archive's others. Rename it.") from error
