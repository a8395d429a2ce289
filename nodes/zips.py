"""Zip files from strangers: everything about them is checked before anything of them is written.

What the names in an archive are, and where they may lead: PKWARE APPNOTE 6.3.10, sections 4.4.17 and 4.6.9.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_LONGEST_DIRECTORY = 2**24  # bytes; 100,000 files with long names, and what they take in memory is some 200 MB
_BLOCK = 2**20  # bytes that are unpacked at a time
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the others without a limit to memory
_ANY_RATIO = 2**30  # bytes; below, a data set of masks may be packed a thousandfold
_ENCRYPTED, _UTF8 = 0x1, 0x800  # of the flags
_UNICODE_PATH = 0x7075  # of the extra fields
_DRIVE = re.compile(r"[A-Za-z]:")
# what zipfile raises; RuntimeError: made by a newer program; ValueError: names that are no text, places beyond any end
_DAMAGE = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError, zlib.error, struct.error)


class ZipError(ValueError):
    """An archive that is not read; the message says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to. ratio: of that to the archive's own size, where it is more than 1 GB."""

    files: int
    bytes: int
    ratio: int = 200


@contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The archive in a file. Raises ZipError where there is none."""
    with _Bounded(io.FileIO(file)) as source:
        with _reading():
            archive = zipfile.ZipFile(source)
        with archive:
            yield archive


def members(archive: zipfile.ZipFile, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by their names, parted by "/". Raises ZipError for one that is too large, or with anything
    but plain files at places inside it: names that lead out, links, devices, two of one name, encrypted ones."""
    _check_size(archive, limits)
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        written = _name(info).replace("\\", "/")  # as old .NET parts names, and nothing else means
        name = _plain(written)
        _check_kind(info, name)
        if written.endswith("/"):
            continue
        if not name:
            raise ZipError("the archive has a file without a name. Pack it anew.")
        if name in found:
            raise ZipError(f"the archive has two files '{name}'. Pack it anew.")
        found[name] = info
    return found


def blocks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """A file's content, some of it at a time, and no more than its entry says. Raises ZipError for damage."""
    with _reading(), archive.open(info) as source:
        while block := source.read(_BLOCK):
            yield block


def content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """All of a file that is small. Raises ZipError for damage."""
    return b"".join(blocks(archive, info))


class _Bounded(io.BufferedReader):
    """zipfile reads the whole directory of an archive at once, as long as its end says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LONGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size)


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever zipfile raises for archives that are none, or damaged, as ZipError."""
    try:
        yield
    except _DAMAGE as error:
        raise ZipError(f"this is no zip file that can be read ({error or type(error).__name__}).") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the beginning
            raise
        raise ZipError("this is no zip file that can be read (it is cut off, or damaged).") from error


def _check_size(archive: zipfile.ZipFile, limits: Limits) -> None:
    """By what the entries say, which `blocks` holds them to."""
    infos = archive.infolist()
    unpacked, packed = sum(info.file_size for info in infos), os.fstat(archive.fp.fileno()).st_size
    if len(infos) > limits.files or unpacked > limits.bytes:
        raise ZipError(
            f"the archive unpacks to {len(infos)} files of {unpacked / 2**30:.1f} GB; at most {limits.files} of "
            f"{limits.bytes / 2**30:.0f} GB are read."
        )
    if unpacked > _ANY_RATIO and unpacked > limits.ratio * packed:
        raise ZipError(
            f"the archive has {packed / 2**20:.1f} MB and unpacks to {unpacked / 2**30:.1f} GB; no pictures are packed "
            "like that. Nothing of it was unpacked."
        )


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name. Without the flag for UTF-8 Python takes it for DOS' (cp437); macOS means UTF-8 all the same, and
    Info-ZIP writes a field that says it in Unicode."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        raw = info.orig_filename.encode("cp437")
        return _unicode_path(info.extra, raw) or raw.decode("utf-8")
    except UnicodeError:  # DOS' indeed; or a newer Python has read the field
        return info.filename


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the extra field 0x7075, where that was written for this name (APPNOTE, section 4.6.9)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5:
            version, checksum = struct.unpack("<BL", field[:5])
            if version == 1 and checksum == zlib.crc32(raw):
                return field[5:].decode("utf-8")
    return None


def _plain(name: str) -> str:
    """The name with single "/" between its parts. Raises ZipError for one that leads out of the archive."""
    parts = PurePosixPath(name).parts
    drive = parts and _DRIVE.match(parts[0])
    if "\0" in name or drive or any(part in ("..", "/", "//") for part in parts):
        raise ZipError(f"the archive has a file '{name}' that leads out of it. Nothing of it was unpacked.")
    return "/".join(parts)


def _check_kind(info: zipfile.ZipInfo, name: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)  # as Unix has it; 0 where another system packed it
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "link" if kind == stat.S_IFLNK else "device"
        raise ZipError(f"'{name}' in the archive is a {what}, no file. Pack the files themselves.")
    if info.flag_bits & _ENCRYPTED:
        raise ZipError(f"'{name}' in the archive is encrypted. Pack it anew without a password.")
    if info.compress_type not in _METHODS:
        raise ZipError(
            f"'{name}' in the archive is packed in a way that is not read (method {info.compress_type}). Pack it anew "
            "as an ordinary zip (Deflate)."
        )
