"""Data sets that come in piece by piece: many files, or one archive, of any size, over many requests.

An upload begins with a list of all its files, so that what is wrong with them is said before any is sent. The bytes of
those that are wanted then come one file after the other, as if they were one, in pieces of any length: thousands of
small files need few requests, and a large one many. A piece that did not come whole is sent again. Only when all are
there does the data set appear. What is known of an upload ends with ComfyUI; its files are removed later.
"""

from __future__ import annotations

import bisect
import itertools
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from . import archive, incoming
from .incoming import Added, IncomingError, Plan

_ARCHIVE = "archive.zip"
_IDLE_SECONDS = 3600.0  # after which an upload that nothing came for is dropped
_OUTCOMES = 100  # that are kept for who asks again


class UnknownUpload(IncomingError):
    """There is no such upload."""


class OutOfTurn(IncomingError):
    """What cannot be taken now; something else is wanted first."""


class Cancelled(IncomingError):
    """It was taken back meanwhile."""


@dataclass(frozen=True)
class Offered:
    """A file that is to come. name: its path, parted by "/"; of a folder with that folder. size: in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Wanted:
    """A file that is to be sent. number: its place in what was offered. place: where it goes. size: in bytes."""

    number: int
    place: Path
    size: int


@dataclass
class Upload:
    """What is known of one. called: what an archive is; planned: what becomes of files; None for an archive, of which
    that is known only when it is there. received: how many bytes of those that are wanted are there."""

    id: str
    stage: Path
    wanted: Sequence[Wanted]
    called: str
    planned: Plan | None
    name: str
    replace: bool
    received: int = 0
    used: float = field(default_factory=time.monotonic)
    receiver: _Files | None = None  # of a piece that comes now
    outcome: Future[Added] | None = None  # from when it is being finished
    ended: bool = False  # finished or cancelled
    lock: threading.Lock = field(default_factory=threading.Lock)  # for what changes

    @property
    def size(self) -> int:
        return sum(file.size for file in self.wanted)

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
        self._outcomes: dict[str, Future[Added]] = {}  # of the last that ended

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
        wanted = tuple(Wanted(number, stage / place, files[number].size) for number, place in places.items())
        called = PurePosixPath(files[0].name).stem
        upload = Upload(secrets.token_hex(16), stage, wanted, called, planned, name, replace)
        self._uploads[upload.id] = upload
        return upload

    @contextmanager
    def receiving(self, id: str, start: int) -> Iterator[Callable[[bytes], None]]:
        """A function that takes a piece, block by block. start: the byte at which it begins, counted over all wanted
        files in their order; one that came before is written over. A piece that still comes is broken off: it is sent
        anew where its connection went silently. Raises UnknownUpload, OutOfTurn for a gap or where another piece came
        meanwhile, IncomingError for more bytes than were offered."""
        upload = self._get(id)
        files = _Files(upload, start)
        with upload.lock:
            if upload.outcome or upload.ended:
                raise OutOfTurn("the upload has ended.")
            _stop_receiving(upload)
            if start > upload.received:
                raise OutOfTurn(f"byte {upload.received} is the next; got a piece that begins at {start}.")
            os.utime(upload.stage)  # for `incoming.remove_forgotten`
            upload.received, upload.receiver = start, files
        try:
            yield files.write
        finally:
            with upload.lock:
                if upload.receiver is files:
                    _stop_receiving(upload)

    def finish(self, id: str) -> Added:
        """Make the upload a data set. Raises OutOfTurn where bytes are missing, after which they may be sent; for what
        cannot be a data set what `incoming.settle` and `archive.unpack` raise, after which the upload is gone. Asked
        again, it gives or raises the same, when that is known: a connection may have ended before."""
        if outcome := self.outcome(id):
            return outcome.result()
        upload = self._get(id)
        with upload.lock:
            upload.check()
            if upload.receiver or upload.received < upload.size:
                raise OutOfTurn(f"{upload.received} of {upload.size} bytes are there. Send the rest.")
            is_first = upload.outcome is None
            upload.outcome = upload.outcome or _begun()
        if is_first:
            self._settle(upload, upload.outcome)
        return upload.outcome.result()

    def outcome(self, id: str) -> Future[Added] | None:
        """What `finish` gives or raises, where it was asked before; for those who cannot spare a thread to wait."""
        upload = self._uploads.get(id)
        return upload.outcome if upload else self._outcomes.get(id)

    def cancel(self, id: str) -> None:
        """Drop an upload and all that came of it. Raises UnknownUpload."""
        upload = self._get(id)
        with upload.lock:
            self._end(upload)
            if upload.outcome:  # who finishes it looks whether it has ended, and removes what is there
                return
            with suppress(OSError):  # what is not written any more
                _stop_receiving(upload)
        shutil.rmtree(upload.stage, ignore_errors=True)

    def _settle(self, upload: Upload, outcome: Future[Added]) -> None:
        try:
            added = _settled(upload, self._root())
        except BaseException as error:
            self._end(upload)
            outcome.set_exception(error)
        else:
            self._end(upload)
            outcome.set_result(added)
        finally:
            shutil.rmtree(upload.stage, ignore_errors=True)

    def _end(self, upload: Upload) -> None:
        upload.ended = True
        if upload.outcome:
            self._outcomes[upload.id] = upload.outcome
            for id in list(self._outcomes)[:-_OUTCOMES]:
                self._outcomes.pop(id, None)
        self._uploads.pop(upload.id, None)

    def _get(self, id: str) -> Upload:
        upload = self._uploads.get(id)
        if upload is None:
            raise UnknownUpload("there is no such upload: it has ended, or ComfyUI was started anew. Begin again.")
        return upload

    def _drop_idle(self) -> None:
        before = time.monotonic() - _IDLE_SECONDS
        for upload in list(self._uploads.values()):
            if upload.used < before and not upload.outcome:
                with suppress(UnknownUpload):  # it has just ended
                    self.cancel(upload.id)


class _Files:
    """The wanted files of an upload, written one after the other from a byte on. position: the next byte."""

    def __init__(self, upload: Upload, start: int):
        self._upload, self._start, self.position = upload, start, start
        self._ends = list(itertools.accumulate(file.size for file in upload.wanted))
        self._out: BinaryIO | None = None

    def write(self, block: bytes) -> None:
        with self._upload.lock:
            self._upload.check()
            if self._upload.receiver is not self:
                raise OutOfTurn("another piece came in place of this one.")
            self._upload.used = time.monotonic()
            self._write(block)

    def _write(self, block: bytes) -> None:
        if self.position + len(block) > self._ends[-1]:
            raise IncomingError(f"got more than the {self._ends[-1]} bytes that were offered.")
        try:
            self._spread(memoryview(block))
        except OSError:
            self.position = self._start  # what was not written yet is not known; the piece has to come again
            raise

    def close(self) -> None:
        if self._out:
            self._out.close()
            self._out = None

    def _spread(self, block: memoryview) -> None:
        while block:
            place = bisect.bisect_right(self._ends, self.position)
            if self._out is None:
                file = self._upload.wanted[place]
                self._out = _opened_at(file.place, self.position - (self._ends[place] - file.size))
            part = block[: self._ends[place] - self.position]
            self._out.write(part)
            self.position += len(part)
            block = block[len(part) :]
            if self.position == self._ends[place]:
                self.close()


def _begun() -> Future[Added]:
    """Of what nobody who waits for it may cancel."""
    outcome: Future[Added] = Future()
    outcome.set_running_or_notify_cancel()
    return outcome


def _stop_receiving(upload: Upload) -> None:
    files, upload.receiver = upload.receiver, None
    if files:
        files.close()  # where that fails, the piece has to come again
        upload.received, upload.used = files.position, time.monotonic()


def _opened_at(file: Path, start: int) -> BinaryIO:
    """To go on with from there."""
    if start:
        os.truncate(file, start)
        return open(file, "ab")
    file.parent.mkdir(parents=True, exist_ok=True)
    return open(file, "wb")


def _settled(upload: Upload, root: Path) -> Added:
    if upload.planned is None:
        return _unpacked(upload, root)
    _make_empty_files(upload)
    upload.check()
    return incoming.settle(upload.stage, upload.name, upload.planned, upload.replace)


def _make_empty_files(upload: Upload) -> None:
    """Of which no byte came."""
    for file in upload.wanted:
        if not file.size:
            file.place.parent.mkdir(parents=True, exist_ok=True)
            file.place.touch()


def _places(files: Sequence[Offered]) -> tuple[Plan | None, dict[int, str]]:
    """What becomes of the files, and the places of those that are wanted, by number."""
    if len(files) > archive.LIMITS.files or sum(file.size for file in files) > archive.LIMITS.bytes:
        raise IncomingError(
            f"these are {len(files)} files of {sum(file.size for file in files) / 2**30:.1f} GB; at most "
            f"{archive.LIMITS.files} of {archive.LIMITS.bytes / 2**30:.0f} GB are taken. Choose fewer."
        )
    if len(files) == 1 and files[0].name.lower().endswith(".zip"):
        return None, {0: _ARCHIVE}
    numbers = {file.name: number for number, file in enumerate(files)}
    if len(numbers) < len(files):
        raise IncomingError(f"two of the {len(files)} files have the same name. Choose each once.")
    planned = incoming.plan(numbers)
    return planned, {numbers[name]: place for name, place in planned.places.items()}


def _unpacked(upload: Upload, root: Path) -> Added:
    file = upload.wanted[0].place
    return archive.unpack(
        file, root, upload.called, upload.name, upload.replace, progress=lambda done, of: upload.check()
    )
