"""Data sets that come in piece by piece: many files, or one archive, of any size, over many requests.

An upload begins with a list of all its files, so that what is wrong with them is said before any is sent. Each then
comes in one or several pieces, in order, several files at a time; a piece that did not come whole is sent again. Only
when all are there does the data set appear. What is known of an upload ends with ComfyUI; its files are removed later.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from . import archive, incoming
from .incoming import Added, IncomingError, Plan

_ARCHIVE = "archive.zip"
_IDLE_SECONDS = 3600.0  # after which an upload that nothing came for is dropped


class UnknownUpload(IncomingError):
    """There is no such upload, or no such file of it."""


class OutOfTurn(IncomingError):
    """A piece that cannot be taken now; another one is wanted first."""


class Cancelled(IncomingError):
    """It was taken back meanwhile."""


@dataclass(frozen=True)
class Offered:
    """A file that is to come. name: its path, parted by "/"; of a folder with that folder. size: in bytes."""

    name: str
    size: int


@dataclass
class Upload:
    """What is known of one. wanted: the files that are to be sent, by their number in what was offered. planned: what
    becomes of them; None for an archive, of which that is known only when it is there."""

    id: str
    stage: Path
    offered: Sequence[Offered]
    wanted: Mapping[int, Path]
    planned: Plan | None
    name: str
    replace: bool
    used: float = field(default_factory=time.monotonic)
    busy: set[int] = field(default_factory=set)  # numbers of files of which a piece is coming
    finishing: bool = False
    ended: bool = False  # finished or cancelled

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.planned.left_out if self.planned else ()

    def check(self) -> None:
        """Raises Cancelled where it was."""
        if self.ended:
            raise Cancelled("the upload was cancelled; nothing of it was kept.")


class Uploads:
    """The uploads into the folder that `root` gives. Its methods may be called from several threads."""

    def __init__(self, root: Callable[[], Path]):
        self._root = root
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, files: Sequence[Offered], name: str = "", replace: bool = False) -> Upload:
        """Make room for files. A single .zip is an archive; others are the files of a data set. name, replace: as for
        `incoming.settle`. Raises IncomingError and BadName for files that would not be taken in the end."""
        self._drop_idle()
        planned, places = _places(files)
        if name:
            incoming.check_name(name)
        root = self._root()
        incoming.check_space(root, sum(files[number].size for number in places))
        incoming.remove_forgotten(root)
        stage = incoming.make_stage(root)
        wanted = {number: stage / place for number, place in places.items()}
        upload = Upload(secrets.token_hex(16), stage, files, wanted, planned, name, replace)
        self._uploads[upload.id] = upload
        return upload

    @contextmanager
    def receiving(self, id: str, number: int, start: int) -> Iterator[Callable[[bytes], None]]:
        """A function that takes the bytes of a file from `start` on, block by block; what was there from `start` on is
        written over. Raises UnknownUpload, OutOfTurn for a gap or a file that is being sent already, IncomingError for
        more bytes than were offered."""
        upload = self._get(id)
        if number not in upload.wanted:
            raise UnknownUpload(f"file {number} of the upload is not wanted.")
        with self._lock:
            if number in upload.busy:
                raise OutOfTurn(f"another piece of file {number} is still coming. Send this one later.")
            upload.busy.add(number)
        try:
            if upload.finishing or upload.ended:  # asked when it is busy: who ends it looks at that afterwards
                raise OutOfTurn("the upload has ended.")
            os.utime(upload.stage)  # for `incoming.remove_forgotten`
            with _opened_at(upload.wanted[number], start) as out:
                yield _writer(upload, out, upload.offered[number])
        finally:
            upload.busy.discard(number)
            upload.used = time.monotonic()
            self._remove_where_ended(upload)

    def finish(self, id: str) -> Added:
        """Make the upload a data set. Raises OutOfTurn where files are missing, after which they may be sent; for what
        cannot be a data set what `incoming.settle` and `archive.unpack` raise, after which the upload is gone."""
        upload = self._get(id)
        with self._lock:
            if upload.finishing:
                raise OutOfTurn("the upload is being finished already.")
            upload.finishing = True
        try:
            _check_whole(upload)
            return self._settled(upload)
        finally:
            upload.finishing = False
            self._remove_where_ended(upload)

    def cancel(self, id: str) -> None:
        """Drop an upload and all that came of it. Raises UnknownUpload."""
        upload = self._get(id)
        self._end(upload)
        self._remove_where_ended(upload)

    def _settled(self, upload: Upload) -> Added:
        try:
            if upload.planned is None:
                return _unpacked(upload, self._root())
            upload.check()
            return incoming.settle(upload.stage, upload.name, upload.planned, upload.replace)
        finally:
            self._end(upload)

    def _end(self, upload: Upload) -> None:
        upload.ended = True
        self._uploads.pop(upload.id, None)

    def _get(self, id: str) -> Upload:
        if id not in self._uploads:
            raise UnknownUpload("there is no such upload: it has ended, or ComfyUI was started anew. Begin again.")
        return self._uploads[id]

    def _remove_where_ended(self, upload: Upload) -> None:
        """By whoever is the last that works on it."""
        if upload.ended and not upload.finishing and not upload.busy:
            shutil.rmtree(upload.stage, ignore_errors=True)

    def _drop_idle(self) -> None:
        before = time.monotonic() - _IDLE_SECONDS
        for upload in list(self._uploads.values()):
            if upload.used < before and not upload.busy and not upload.finishing:
                self.cancel(upload.id)


def _places(files: Sequence[Offered]) -> tuple[Plan | None, dict[int, str]]:
    """What becomes of the files, and the places of those that are wanted, by number."""
    if len(files) > archive.LIMITS.files or sum(file.size for file in files) > archive.LIMITS.bytes:
        raise IncomingError(
            f"these are {len(files)} files of {sum(file.size for file in files) / 2**30:.1f} GB; at most "
            f"{archive.LIMITS.files} of {archive.LIMITS.bytes / 2**30:.0f} GB are taken. Choose fewer."
        )
    if len(files) == 1 and _is_archive(files[0]):
        return None, {0: _ARCHIVE}
    numbers = {file.name: number for number, file in enumerate(files)}
    if len(numbers) < len(files):
        raise IncomingError(f"two of the {len(files)} files have the same name. Choose each once.")
    planned = incoming.plan(numbers)
    return planned, {numbers[name]: place for name, place in planned.places.items()}


def _is_archive(file: Offered) -> bool:
    return file.name.lower().endswith(".zip")


@contextmanager
def _opened_at(file: Path, start: int) -> Iterator[BinaryIO]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab"):  # there from now on
        pass
    with open(file, "r+b") as out:
        there = out.seek(0, os.SEEK_END)
        if start > there:
            raise OutOfTurn(f"byte {there} is the next; got a piece that begins at {start}.")
        out.seek(start)
        out.truncate()
        yield out


def _writer(upload: Upload, out: BinaryIO, offered: Offered) -> Callable[[bytes], None]:
    def write(block: bytes) -> None:
        upload.check()
        if out.tell() + len(block) > offered.size:
            raise IncomingError(f"'{offered.name}' has more than the {offered.size} bytes that were offered.")
        out.write(block)

    return write


def _check_whole(upload: Upload) -> None:
    if upload.busy:
        raise OutOfTurn(f"{len(upload.busy)} files are still coming.")
    for number, file in upload.wanted.items():
        there = file.stat().st_size if file.exists() else 0
        if there != upload.offered[number].size or not file.exists():
            offered = upload.offered[number]
            raise OutOfTurn(f"'{offered.name}' did not come whole: {there} of {offered.size} bytes. Send the rest.")


def _unpacked(upload: Upload, root: Path) -> Added:
    file, called = upload.stage / _ARCHIVE, PurePosixPath(upload.offered[0].name).stem
    return archive.unpack(file, root, called, upload.name, upload.replace, progress=lambda done, of: upload.check())
