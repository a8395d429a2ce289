"""Characters as zip files, good and bad."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile

import pytest
from PIL import Image

from isengard.nodes.characters import archive
from isengard.nodes.characters.archive import ArchiveError
from isengard.nodes.characters.library import Library


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "png")
    return buffer.getvalue()


PICTURE = _picture()


@pytest.fixture
def characters(tmp_path):
    """With one that has everything."""
    found = Library(tmp_path / "characters")
    found.create("Mira Vale", trigger="mira", notes="kind")
    found.add_reference("mira-vale", "a.png", PICTURE, "mira, smiling")
    lora = tmp_path / "hero.safetensors"
    for content in (b"one", b"two"):
        lora.write_bytes(content)
        found.add_version("mira-vale", lora, scores={"likeness": 0.5})
        lora.unlink()
    return found


@pytest.fixture
def written(characters, tmp_path):
    archive.write(characters, "mira-vale", tmp_path / "mira.zip")
    return tmp_path / "mira.zip"


def test_a_character_comes_back_beside_the_one_that_is_there(characters, written):
    before = characters.get("mira-vale").character
    after = archive.read(characters, written).character
    assert dataclasses.replace(after, slug=before.slug) == before
    assert after.slug == "mira-vale-2"
    for slug in ("mira-vale", "mira-vale-2"):
        loras = characters.root / slug / "loras"
        assert [(loras / f"v{number}.safetensors").read_bytes() for number in (1, 2)] == [b"one", b"two"]
    assert characters.slugs() == ["mira-vale", "mira-vale-2"]
    assert [path.name for path in characters.root.iterdir() if path.name.startswith(".import")] == []


def test_it_is_read_into_an_empty_library(written, tmp_path):
    assert archive.read(Library(tmp_path / "other" / "place"), written).character.trigger == "mira"


def repacked(file, change) -> None:
    """The archive with other files: change is given a dictionary of contents by name."""
    with zipfile.ZipFile(file) as source:
        contents = {name: source.read(name) for name in source.namelist()}
    change(contents)
    with zipfile.ZipFile(file, "w") as target:
        for name, content in contents.items():
            target.writestr(name, content)


def yaml_with(old: bytes, new: bytes):
    def change(contents):
        name = "mira-vale/character.yaml"
        assert old in contents[name]
        contents[name] = contents[name].replace(old, new)

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda contents: contents.update({"mira-vale/../../evil": b"x"}), "leads out of it"),
        (lambda contents: contents.update({"/etc/evil": b"x"}), "leads out of it"),
        (lambda contents: contents.update({"mira-vale\\..\\evil": b"x"}), "leads out of it"),
        (lambda contents: contents.pop("mira-vale/character.yaml"), "has no character.yaml"),
        (lambda contents: contents.pop("mira-vale/references/a.png"), "has no references/a.png"),
        (
            lambda contents: contents.update({"mira-vale/loras/v1.safetensors": b"x"}),
            "v1.safetensors .* is not the file",
        ),
        (yaml_with(b"file: a.png", b"file: ../../a.png"), "names a file .* that leads out"),
        (yaml_with(b"file: a.png", b"file: /etc/passwd"), "names a file .* that leads out"),
        (yaml_with(b"name: Mira Vale", b"name: ["), "is damaged"),
    ],
)
def test_what_is_no_characters_archive_is_refused_and_leaves_nothing(characters, written, change, message):
    repacked(written, change)
    before = sorted(path for path in characters.root.rglob("*") if ".locks" not in path.parts)
    with pytest.raises(ValueError, match=message):
        archive.read(characters, written)
    assert sorted(path for path in characters.root.rglob("*") if ".locks" not in path.parts) == before


def test_a_reference_that_is_no_picture_is_refused(characters, written):
    """It would be sent to browsers."""
    page = b"<script>alert(1)</script>"

    def change(contents):
        yaml_with(hashlib.sha256(PICTURE).hexdigest().encode(), hashlib.sha256(page).hexdigest().encode())(contents)
        contents["mira-vale/references/a.png"] = page

    repacked(written, change)
    with pytest.raises(ArchiveError, match="a.png in the archive is no picture"):
        archive.read(characters, written)


def test_other_files_in_it_are_left_where_they_are(characters, written):
    repacked(written, lambda contents: contents.update({"mira-vale/loras/virus.exe": b"x"}))
    slug = archive.read(characters, written).character.slug
    assert not (characters.root / slug / "loras" / "virus.exe").exists()


def test_a_damaged_stream_is_told(characters, written):
    with zipfile.ZipFile(written) as source:
        contents = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)
    data = bytearray(written.read_bytes())
    start = data.index(b"references/a.png") + len(b"references/a.png")
    data[start : start + 20] = b"\xff" * 20
    written.write_bytes(data)
    with pytest.raises(ArchiveError, match="no zip file that can be read"):
        archive.read(characters, written)


def test_a_bomb_is_refused(characters, written, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_BYTES", 10)
    with pytest.raises(ArchiveError, match="at most"):
        archive.read(characters, written)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04 cut off"])
def test_what_is_no_zip_is_refused(characters, tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="no zip file"):
        archive.read(characters, tmp_path / "a.zip")
