"""A character as one zip file, to give away or keep: character.yaml, references/ and loras/ in one folder."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from pathlib import Path

from .. import zips
from ..dataset import images
from . import records
from .library import FILE, LORAS, REFERENCES, Library, Stored
from .records import Character, CharacterError

_MOST_BYTES = 2**33  # unpacked
_MOST_FILES = 10_000
_LONGEST_YAML = 10_000_000  # bytes


class ArchiveError(CharacterError):
    """An archive that holds no character; the message says why."""


def write(library: Library, slug: str, file: Path) -> None:
    """The character as it is now. LoRAs and pictures are not compressed again."""
    character = library.get(slug).character
    folder, partial = library.folder(slug), file.with_name(f".{file.name}.tmp")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{slug}/{FILE}", records.to_yaml(character))
        for place in _files(character):
            archive.write(folder / place, f"{slug}/{place}")
    partial.replace(file)


def read(library: Library, file: Path) -> Stored:
    """Add the character of an archive, beside those that are there. Raises ArchiveError for what `write` did not write:
    other files, names that lead elsewhere, files that are missing, damaged or far too large."""
    try:
        with zips.opened(file) as archive:
            inside = _checked(archive)
            character = records.from_yaml(zips.content(archive, inside[FILE]).decode("utf-8", "replace"), "imported")
            with tempfile.TemporaryDirectory(dir=_made(library.root), prefix=".import-") as temporary:
                _unpack(archive, inside, character, Path(temporary))
                return library.adopt(Path(temporary), character)
    except zips.ZipError as error:
        raise ArchiveError(str(error)) from error


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _files(character: Character) -> list[str]:
    """Of references and versions, relative to the character's folder."""
    references = [f"{REFERENCES}/{reference.file}" for reference in character.references]
    return references + [f"{LORAS}/{version.file}" for version in character.versions]


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by their place in the character's folder."""
    inside = {}
    for name, info in zips.members(archive, zips.Limits(_MOST_FILES, _MOST_BYTES)).items():
        if ":" in name:
            raise ArchiveError(f"the archive has a file '{name}' that leads out of it on some systems.")
        inside[name.partition("/")[2]] = info
    if FILE in inside and inside[FILE].file_size > _LONGEST_YAML:
        raise ArchiveError(f"{FILE} in the archive has {inside[FILE].file_size} bytes; it is no character's.")
    if FILE not in inside:
        raise ArchiveError(f"the archive has no {FILE} in its folder; it is no character.")
    return inside


def _unpack(archive: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo], character: Character, folder: Path) -> None:
    """What character.yaml names, and nothing else. Raises ArchiveError where it is missing or another file."""
    hashes = [each.sha256 for each in (*character.references, *character.versions)]
    for place, sha256 in zip(_files(character), hashes, strict=True):
        target = (folder / place).resolve()
        if folder.resolve() not in target.parents or place.count("/") != 1:
            raise ArchiveError(f"{FILE} names a file '{place}' that leads out of the archive.")
        if place not in inside:
            raise ArchiveError(f"the archive has no {place}, which its {FILE} names.")
        target.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        with open(target, "wb") as out:
            for block in zips.blocks(archive, inside[place]):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != sha256:
            raise ArchiveError(f"{place} in the archive is not the file that its {FILE} names.")
    for reference in character.references:
        _check_picture(folder / REFERENCES / reference.file)


def _check_picture(file: Path) -> None:
    try:
        images.decode(file.read_bytes())
    except images.UnreadableImage as error:
        raise ArchiveError(f"{file.name} in the archive is no picture ({error}).") from error
