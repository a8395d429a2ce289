"""Data sets from zip files, good and bad."""

from __future__ import annotations

import io
import random
import zipfile

import pytest
from PIL import Image

from isengard.nodes import zips
from isengard.nodes.dataset import archive, folder, incoming
from isengard.nodes.dataset.incoming import Added, IncomingError, NoSpace
from isengard.nodes.names import BadName
from isengard.nodes.zips import Limits, ZipError


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "png")
    return buffer.getvalue()


PICTURE = _picture()


@pytest.fixture
def root(tmp_path):
    """An input folder that is not there yet."""
    return tmp_path / "input"


@pytest.fixture
def packed(tmp_path):
    """A function that packs contents by name and gives the file."""

    def pack(contents: dict[str, bytes], name: str = "my hero.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, content in contents.items():
                archive.writestr(inside, content)
        return tmp_path / name

    return pack


def files(root) -> dict[str, bytes]:
    """Everything below, and so whatever was left behind."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_archive_becomes_a_data_set(packed, root):
    file = packed({"hero/01.png": PICTURE, "hero/01.txt": b"mira", "hero/x/2.png": PICTURE, "hero/notes.docx": b"x"})
    assert archive.unpack(file, root, "my hero") == Added("my hero", 2, ("hero/notes.docx",))
    assert files(root) == {"my hero/01.png": PICTURE, "my hero/01.txt": b"mira", "my hero/x/2.png": PICTURE}
    loaded = folder.load(root / "my hero", "my hero", folder.Options("default")).dataset
    assert [(sample.name, sample.caption) for sample in loaded.samples] == [("01.png", "mira"), ("x/2.png", "default")]


def test_the_same_again_stands_beside_it(packed, root):
    file = packed({"01.png": PICTURE})
    names = [archive.unpack(file, root, "hero", **more).name for more in ({}, {}, {"name": "hero"}, {"name": "x"})]
    assert names == ["hero", "hero-2", "hero-3", "x"]


def test_it_replaces_when_asked(packed, root):
    archive.unpack(packed({"old.png": PICTURE}), root, "hero")
    archive.unpack(packed({"new.png": PICTURE}), root, "hero", replace=True)
    assert list(files(root)) == ["hero/new.png"]


def test_repeats_in_folder_names_count_after_it(packed, root):
    archive.unpack(packed({"10_zorvik man/01.png": PICTURE}), root, "archive")
    (sample,) = folder.load(root / "archive", "archive").dataset.samples
    assert (sample.repeats, sample.caption) == (10, "zorvik man")


def test_progress_is_told(packed, root):
    told = []
    archive.unpack(packed({"a.png": PICTURE, "b.png": PICTURE}), root, "x", progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]


class Stopped(Exception):
    pass


def stop(done: int, of: int) -> None:
    raise Stopped


@pytest.mark.parametrize(
    "contents, more, error, message",
    [
        ({"a.png": PICTURE, "../evil.png": PICTURE}, {}, ZipError, "leads out of it"),
        ({"a.png": PICTURE, "/etc/evil.png": PICTURE}, {}, ZipError, "leads out of it"),
        ({"a.png": PICTURE, "..\\evil.png": PICTURE}, {}, ZipError, "leads out of it"),
        ({"a.png": PICTURE, "con.png": PICTURE}, {}, BadName, "cannot be a file name"),
        ({"a.png": PICTURE, "b?.png": PICTURE}, {}, BadName, "cannot be a file name"),
        ({"a.png": PICTURE, "a.png/b.png": PICTURE}, {}, IncomingError, "file and the folder"),
        ({"readme.md": b"x"}, {}, IncomingError, "no picture among 1 files: readme.md"),
        ({}, {}, IncomingError, "no picture"),
        ({"a.png": PICTURE, "b.png": PICTURE}, {"limits": Limits(1, 2**30)}, ZipError, "at most 1 of"),
        ({"a.png": PICTURE}, {"limits": Limits(9, 10)}, ZipError, "unpacks to 1 files"),
        ({"a.png": PICTURE}, {"progress": stop}, Stopped, None),
    ],
)
def test_what_is_refused_leaves_nothing(packed, root, contents, more, error, message):
    with pytest.raises(error, match=message):
        archive.unpack(packed(contents), root, "hero", **more)
    assert not root.exists() or list(root.iterdir()) == []


def test_a_picture_that_is_damaged_leaves_nothing(packed, root):
    file = packed({"a.png": PICTURE, "b.png": PICTURE, "c.png": PICTURE})
    data = bytearray(file.read_bytes())
    data[data.index(b"b.png") + 10] ^= 255
    file.write_bytes(data)
    with pytest.raises(ZipError, match="no zip file that can be read"):
        archive.unpack(file, root, "hero")
    assert list(root.iterdir()) == []


def test_names_that_are_one_on_the_disk_are_told(packed, root, monkeypatch):
    """Which differs from system to system: here a file and a folder."""
    monkeypatch.setattr(incoming, "_check_places", lambda places: None)
    with pytest.raises(IncomingError, match="cannot be written beside the archive's others"):
        archive.unpack(packed({"a.png": PICTURE, "a.png/b.png": PICTURE}), root, "hero")
    assert list(root.iterdir()) == []
    twice = packed({"a.png": PICTURE})
    with zips.opened(twice) as opened:
        (info,) = opened.infolist()
        archive._write(opened, info, root / "a.png")
        with pytest.raises(IncomingError, match="'a.png' cannot be written"):
            archive._write(opened, info, root / "a.png")


def test_a_disk_without_room_is_told_before_anything_is_written(packed, root, monkeypatch):
    monkeypatch.setattr(incoming, "_SPARE", 2**60)
    with pytest.raises(NoSpace):
        archive.unpack(packed({"a.png": PICTURE}), root, "hero")
    assert list(root.iterdir()) == []


def test_damaged_archives_leave_a_whole_data_set_or_nothing(packed, root):
    """Whatever is damaged, and whatever that makes of names and sizes."""
    draw = random.Random(1)
    whole = packed({f"hero/{number}.png": PICTURE + draw.randbytes(100) for number in range(4)}).read_bytes()
    file, unpacked = root.parent / "damaged.zip", 0
    for _ in range(300):
        bits = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            bits[draw.randrange(whole.index(b"PK\x01\x02"), len(bits))] ^= 1 << draw.randrange(8)
        file.write_bytes(bits)
        before = set(root.iterdir()) if root.exists() else set()
        try:
            added = archive.unpack(file, root, "hero")
        except (ZipError, IncomingError, BadName):
            assert not root.exists() or set(root.iterdir()) == before
        else:
            unpacked += 1
            assert set(root.iterdir()) - before == {root / added.name}
    assert 0 < unpacked < 300
    assert {path.name for path in root.parent.iterdir()} == {"input", "damaged.zip", "my hero.zip"}
