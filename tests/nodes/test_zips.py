"""Zip files from strangers: each attack by itself, and two thousand damaged ones."""

from __future__ import annotations

import io
import random
import stat
import struct
import time
import zipfile
import zlib

import psutil
import pytest

from isengard.nodes import zips
from isengard.nodes.zips import Limits, ZipError

LIMITS = Limits(files=100, bytes=2**34)


@pytest.fixture
def packed(tmp_path):
    """A function that packs contents by name, or by ZipInfo, and gives the file."""

    def pack(*entries, method=zipfile.ZIP_DEFLATED):
        file = tmp_path / "a.zip"
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return file

    return pack


def read(file, limits: Limits = LIMITS) -> dict[str, bytes]:
    with zips.opened(file) as archive:
        return {name: zips.content(archive, info) for name, info in zips.members(archive, limits).items()}


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_an_ordinary_archive_is_read(packed):
    file = packed(
        ("./", b""), ("hero/", b""), ("hero/01.png", b"pixels" * 1000), ("./hero//01.txt", b"mira"), ("Ünï.png", b"")
    )
    assert read(file) == {"hero/01.png": b"pixels" * 1000, "hero/01.txt": b"mira", "Ünï.png": b""}


def test_names_that_windows_parted_are_read(packed):
    file = packed(("hero\\", b""), ("hero\\01.png", b"x"), ("hero\\more/02.png", b"y"))
    assert read(file) == {"hero/01.png": b"x", "hero/more/02.png": b"y"}


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "//host/evil", "..\\evil", "C:\\evil", "C:evil", "c:/evil", "a/..", "../"],
)
def test_names_that_lead_out_are_refused(packed, name):
    with pytest.raises(ZipError, match="leads out of it"):
        read(packed(("good.png", b"x"), (name, b"x")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(packed, kind):
    what = "a link" if kind == stat.S_IFLNK else "a device"
    with pytest.raises(ZipError, match=f"'01.png' in the archive is {what}"):
        read(packed((with_mode("01.png", kind | 0o777), b"/etc/passwd")))


def test_two_files_of_one_name_are_refused(packed):
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = packed(("a.png", b"x"), ("a.png", b"y"))
    with pytest.raises(ZipError, match="two files 'a.png'"):
        read(file)
    with pytest.raises(ZipError, match="two files 'a.png'"):
        read(packed(("a.png", b"x"), ("./a.png", b"y")))


def test_an_encrypted_file_is_told(packed):
    file = packed(("a.png", b"x"))
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    with pytest.raises(ZipError, match="'a.png' in the archive is encrypted. Pack it anew without a password"):
        read(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_limit_are_refused(packed, method):
    with pytest.raises(ZipError, match=rf"method {method}\). Pack it anew"):
        read(packed(("a.png", bytes(1000)), method=method))


def test_too_many_files_are_refused(packed):
    file = packed(*((f"{number}.png", b"") for number in range(101)))
    with pytest.raises(ZipError, match="unpacks to 101 files of 0.0 GB; at most 100"):
        read(file)


def saying(file, size: int):
    """The archive, whose first entry says that it unpacks to so many bytes."""
    data = bytearray(file.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, size)
    file.write_bytes(data)
    return file


def test_a_bomb_is_refused_by_its_size(packed):
    file = saying(packed(("a.png", bytes(2**20))), 2**31)
    with pytest.raises(ZipError, match="unpacks to 1 files of 2.0 GB; at most"):
        read(file, Limits(100, 2**30))


def test_a_bomb_is_refused_by_its_ratio(packed):
    with pytest.raises(ZipError, match="unpacks to 2.0 GB; no pictures are packed like that"):
        read(saying(packed(("a.png", bytes(2**20))), 2**31))


def test_masks_may_be_packed_a_thousandfold(packed):
    assert len(read(packed(("a-masklabel.png", bytes(2**24))))["a-masklabel.png"]) == 2**24


def test_a_file_that_holds_more_than_it_says_is_held_to_that(packed):
    """Else the limits would be worth nothing."""
    before, file = psutil.Process().memory_info().rss, saying(packed(("a.png", bytes(2**28))), 10)
    with zips.opened(file) as archive:
        (info,) = zips.members(archive, LIMITS).values()
        received = 0
        with pytest.raises(ZipError, match="no zip file that can be read"):  # nor is the checksum right
            for block in zips.blocks(archive, info):
                received += len(block)
    assert received <= 10
    assert psutil.Process().memory_info().rss - before < 2**26


def test_a_directory_of_any_length_is_not_read(tmp_path):
    """Python reads as much of a file as the archive's end says that its directory has."""
    file, size = tmp_path / "a.zip", 2**30
    with open(file, "wb") as out:
        out.truncate(size)
        out.seek(size)
        out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    before = psutil.Process().memory_info().rss
    with pytest.raises(ZipError, match="directory of 1073741824 bytes"):
        read(file)
    assert psutil.Process().memory_info().rss - before < 2**26


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04 cut off", b"PK\x05\x06" + bytes(18), bytes(1000)])
def test_what_is_no_zip_is_told(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    if data.startswith(b"PK\x05"):
        assert read(tmp_path / "a.zip") == {}  # an empty archive
        return
    with pytest.raises(ZipError, match="no zip file that can be read"):
        read(tmp_path / "a.zip")


def renamed(file, before: bytes, after: bytes, extra: bytes = b""):
    """The archive with the bytes of a name changed, unflagged, and a field in its directory."""
    assert len(before) == len(after)
    data = file.read_bytes().replace(before, after)
    if extra:
        place = data.index(b"PK\x01\x02")
        end = place + 46 + len(after)
        data = data[: place + 30] + struct.pack("<H", len(extra)) + data[place + 32 : end] + extra + data[end:]
        last = data.index(b"PK\x05\x06")
        size = struct.unpack_from("<L", data, last + 12)[0]
        data = data[: last + 12] + struct.pack("<L", size + len(extra)) + data[last + 16 :]
    file.write_bytes(data)
    return file


def test_names_in_utf_8_that_do_not_say_so_are_read(packed):
    """As macOS packs them."""
    name = "ミラ.png".encode()
    assert list(read(renamed(packed(("x" * len(name), b"x")), b"x" * len(name), name))) == ["ミラ.png"]


def test_names_of_dos_are_read(packed):
    assert list(read(renamed(packed(("xx.png", b"x")), b"xx.png", b"\x81b.png"))) == ["üb.png"]


def unicode_path(name: bytes, of: bytes) -> bytes:
    field = struct.pack("<BL", 1, zlib.crc32(of)) + name
    return struct.pack("<HH", 0x7075, len(field)) + field


def test_a_name_in_the_unicode_field_counts(packed):
    """As Info-ZIP packs it."""
    field = unicode_path("ミラ.png".encode(), b"__.png")
    assert list(read(renamed(packed(("xx.png", b"x")), b"xx.png", b"__.png", field))) == ["ミラ.png"]
    stale = unicode_path(b"other.png", b"of another name")
    assert list(read(renamed(packed(("xx.png", b"x")), b"xx.png", b"__.png", stale))) == ["__.png"]


def test_a_name_in_the_unicode_field_may_not_lead_out(packed):
    field = unicode_path(b"../../evil.png", b"__.png")
    with pytest.raises(ZipError, match="leads out of it"):
        read(renamed(packed(("xx.png", b"x")), b"xx.png", b"__.png", field))


def test_errors_of_the_disk_are_not_the_archives(packed, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone.zip")


def damaged(data: bytes, draw: random.Random) -> bytes:
    """In one of the ways that files come to harm, or are made to."""
    bits, kind = bytearray(data), draw.randrange(5)
    if kind == 0:  # anywhere
        for _ in range(draw.randrange(1, 30)):
            bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
    elif kind == 1:  # in the directory and the end, which say where everything is
        for _ in range(draw.randrange(1, 10)):
            bits[draw.randrange(data.index(b"PK\x01\x02"), len(bits))] = draw.randrange(256)
    elif kind == 2:
        del bits[draw.randrange(len(bits)) :]
    elif kind == 3:
        start = draw.randrange(len(bits))
        bits[start : start + draw.randrange(1, 64)] = draw.randbytes(draw.randrange(64))
    else:
        struct.pack_into("<L", bits, draw.randrange(len(bits) - 4), draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
    return bytes(bits)


def test_two_thousand_damaged_archives_are_read_or_told(packed, tmp_path):
    draw = random.Random(0)
    entries = [(f"hero/{number}.png", draw.randbytes(200) + bytes(2000)) for number in range(5)]
    whole = packed(*entries, ("hero/ミラ.txt", b"mira, smiling")).read_bytes()
    before, started, told = psutil.Process().memory_info().rss, time.monotonic(), 0
    for number in range(2000):
        file = tmp_path / f"{number}.zip"
        file.write_bytes(damaged(whole, draw))
        try:
            read(file)
        except ZipError as error:
            assert str(error)
            told += 1
        file.unlink()
    assert told > 1000
    assert time.monotonic() - started < 60
    assert psutil.Process().memory_info().rss - before < 2**28


def test_what_is_damaged_is_not_read_as_something_else(packed, tmp_path):
    """The checksum of every file is looked at."""
    file = packed(("a.png", b"pixels" * 100), method=zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes().replace(b"pixels", b"pixelz", 1))
    with pytest.raises(ZipError, match="Bad CRC-32"):
        read(file)


def test_comments_and_what_stands_before_an_archive_are_passed_over(packed, tmp_path):
    data = packed(("a.png", b"x")).read_bytes()
    (tmp_path / "b.zip").write_bytes(b"#!/bin/sh\n" + data)
    assert read(tmp_path / "b.zip") == {"a.png": b"x"}
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"made by hand"
    (tmp_path / "c.zip").write_bytes(buffer.getvalue())
    assert read(tmp_path / "c.zip") == {"a.png": b"x"}


def test_a_file_without_a_name_is_refused(packed):
    with pytest.raises(ZipError, match="a file without a name"):
        read(packed(("a.png", b"x"), (".", b"x")))


def test_a_place_beyond_any_file_is_told(packed):
    """In the field for archives above 4 GB."""
    file = packed(("a.png", b"x"))
    field = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    data = bytearray(renamed(file, b"a.png", b"a.png", field).read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 42, 2**32 - 1)
    file.write_bytes(data)
    with pytest.raises(ZipError, match="no zip file that can be read"):
        read(file)
