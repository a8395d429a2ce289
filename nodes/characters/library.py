"""Characters on disk: a folder each, with character.yaml, references/ and loras/.

Folders may be copied, moved and read by people. Every change is made under a lock of the character, to what is on disk
at that moment, and written whole or not at all, so two processes that write at once lose nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from ...trainers import state_file
from ..names import is_reserved, numbered
from . import records
from .records import Character, CharacterError, Reference, Version

FILE, REFERENCES, LORAS = "character.yaml", "references", "loras"
_TRASH, _LOCKS = ".trash", ".locks"
_LOCK_SECONDS = 20.0


class UnknownCharacter(CharacterError):
    """There is no such character."""


class Conflict(CharacterError):
    """It was changed by somebody else meanwhile."""


@dataclass(frozen=True)
class Stored:
    """A character as it is on disk. etag: changes with every change."""

    character: Character
    etag: str


class Library:
    """The characters below a folder, which is made when the first one is."""

    def __init__(self, root: Path):
        self.root = root

    def slugs(self) -> list[str]:
        """Of all characters, in the order of their names."""
        found = [path.parent.name for path in self.root.glob(f"*/{FILE}") if path.parent.name[0] != "."]
        return sorted(found)

    def get(self, slug: str) -> Stored:
        """Raises UnknownCharacter, and CharacterError for a file that is damaged."""
        try:
            data = (self.folder(slug) / FILE).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            known = ", ".join(self.slugs()[:5]) or "none yet"
            raise UnknownCharacter(
                f"there is no character '{slug}' (there are: {known}). Choose one of these, or save it first."
            ) from error
        return Stored(records.from_yaml(data.decode("utf-8", "replace"), slug), _etag(data))

    def create(self, name: str, **fields: str) -> Stored:
        """A new character, in a folder of its name, or of that with a number. fields: of Character."""
        now = _now()
        self.root.mkdir(parents=True, exist_ok=True)
        character = Character(slug_of(name), " ".join(name.split()), created=now, changed=now, **fields)
        slug = next(each for each in numbered(character.slug) if self._made(each))
        return self._write(dataclasses.replace(character, slug=slug))

    def put(self, name: str, **fields: str) -> Stored:
        """The character of a name, made where there is none; fields that are not empty are set. By its folder's name,
        so that the same name always finds the same."""
        given = {field: text for field, text in fields.items() if text.strip()}
        if slug_of(name) not in self.slugs():
            return self.create(name, **given)
        return self.update(slug_of(name), lambda character: dataclasses.replace(character, **given))

    def update(self, slug: str, change: Callable[[Character], Character], etag: str | None = None) -> Stored:
        """Change a character as it is on disk now. etag: of the state that the change was made for; Conflict is raised
        where it is another by now."""
        with self._locked(slug):
            before = self.get(slug)
            if etag is not None and etag != before.etag:
                raise Conflict(f"'{slug}' was changed meanwhile. Load it again, and make your changes to that.")
            after = change(before.character)
            if after == before.character:
                return before
            return self._write(dataclasses.replace(after, slug=slug, created=before.character.created, changed=_now()))

    def add_reference(self, slug: str, name: str, data: bytes, caption: str = "") -> Stored:
        """Keep a picture's file. A picture that is there already, by its bytes, is not kept twice."""
        sha256 = hashlib.sha256(data).hexdigest()

        def add(character: Character) -> Character:
            if any(reference.sha256 == sha256 for reference in character.references):
                return character
            file = _free(self.folder(slug) / REFERENCES, name)
            state_file.write(file, data)
            reference = Reference(file.name, sha256, caption)
            return dataclasses.replace(character, references=(*character.references, reference))

        return self.update(slug, add)

    def remove_reference(self, slug: str, file: str, etag: str | None = None) -> Stored:
        """The picture goes to the trash."""

        def remove(character: Character) -> Character:
            left = tuple(reference for reference in character.references if reference.file != file)
            if len(left) == len(character.references):
                known = ", ".join(reference.file for reference in left[:5]) or "none yet"
                raise UnknownCharacter(f"'{slug}' has no reference '{file}' (there are: {known}). Load it again.")
            if (self.folder(slug) / REFERENCES / file).exists():  # else somebody took it away by hand
                self._to_trash(self.folder(slug) / REFERENCES / file)
            return dataclasses.replace(character, references=left)

        return self.update(slug, remove, etag)

    def add_version(self, slug: str, lora: Path, **about) -> Stored:
        """Keep a LoRA file as the next version. about: of Version: run, base, note, scores."""

        def add(character: Character) -> Character:
            number = character.numbered + 1
            file = self.folder(slug) / LORAS / f"v{number}{lora.suffix}"
            _link_or_copy(lora, file)
            version = Version(f"v{number}", file.name, _sha256(file), _now(), **about)
            return dataclasses.replace(character, versions=(*character.versions, version), numbered=number)

        return self.update(slug, add)

    def choose(self, slug: str, version: str, etag: str | None = None) -> Stored:
        """Use a version from now on; empty: always the latest."""
        return self.update(slug, lambda character: dataclasses.replace(character, chosen=version), etag)

    def delete(self, slug: str, etag: str | None = None) -> str:
        """Move a character to the trash; gives the name that `restore` takes."""
        with self._locked(slug):
            stored = self.get(slug)
            if etag is not None and etag != stored.etag:
                raise Conflict(f"'{slug}' was changed meanwhile. Look at it again before you delete it.")
            return self._to_trash(self.folder(slug))

    def trash(self) -> list[str]:
        """Names of the characters in the trash, the oldest first."""
        return sorted(path.parent.name for path in (self.root / _TRASH).glob(f"*/{FILE}"))

    def restore(self, trashed: str) -> Stored:
        """Take a character back from the trash, under its slug or that with a number."""
        if trashed not in self.trash():
            known = ", ".join(self.trash()[-5:]) or "nothing"
            raise UnknownCharacter(f"there is no '{trashed}' in the trash (there is: {known}). Choose one of these.")
        slug = trashed.split("~", 1)[1]
        with self._locked(slug):
            free = next(each for each in numbered(slug) if not self.folder(each).exists())
            (self.root / _TRASH / trashed).rename(self.folder(free))
            return self.get(free)

    def empty_trash(self) -> None:
        shutil.rmtree(self.root / _TRASH, ignore_errors=True)

    def folder(self, slug: str) -> Path:
        """Raises UnknownCharacter for what cannot be a slug."""
        if not re.fullmatch(r"[\w-]+", slug):
            raise UnknownCharacter(f"'{slug}' is no character's folder name. Use letters, digits, '-' and '_'.")
        return self.root / slug

    def adopt(self, files: Path, character: Character) -> Stored:
        """A new character of another's, with the folders of its references and LoRAs, which are moved here."""
        character = dataclasses.replace(character, slug=slug_of(character.name))
        slug = next(each for each in numbered(character.slug) if self._made(each))
        for folder in files.iterdir():
            folder.rename(self.folder(slug) / folder.name)
        return self._write(dataclasses.replace(character, slug=slug))

    def _made(self, slug: str) -> bool:
        """Whether the folder is new: of two programs, one makes it."""
        try:
            self.folder(slug).mkdir()
        except FileExistsError:
            return False
        return True

    def _write(self, character: Character) -> Stored:
        data = records.to_yaml(character).encode()
        state_file.write(self.folder(character.slug) / FILE, data)
        return Stored(character, _etag(data))

    @contextmanager
    def _locked(self, slug: str) -> Iterator[None]:
        """Outside the character's folder, so that it can be moved and deleted."""
        self.folder(slug)
        locks = self.root / _LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(locks / f"{slug}.lock", timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise Conflict(f"another program has '{slug}' open for {_LOCK_SECONDS:.0f} s. Try again.") from error

    def _to_trash(self, path: Path) -> str:
        name = f"{time.time_ns():020}~{path.name}"
        (self.root / _TRASH).mkdir(parents=True, exist_ok=True)
        path.rename(self.root / _TRASH / name)
        return name


def slug_of(name: str) -> str:
    """A folder's name of a character's: letters and digits of any script, the rest '-'."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    slug = re.sub(r"[^\w]+", "-", plain).strip("-_")[:60] or "character"
    return f"{slug}-1" if is_reserved(slug) else slug


def _free(folder: Path, name: str) -> Path:
    """A path in the folder that is not taken, of letters that every system has in file names."""
    folder.mkdir(parents=True, exist_ok=True)
    given = PurePosixPath(name.replace("\\", "/"))
    plain = re.sub(r"[^\w-]+", "-", given.stem).strip("-")[:80] or "picture"
    suffix = given.suffix.lower() if re.fullmatch(r"\.[a-z0-9]{1,5}", given.suffix.lower()) else ""
    return next(folder / f"{each}{suffix}" for each in numbered(plain) if not (folder / f"{each}{suffix}").exists())


def _link_or_copy(source: Path, target: Path) -> None:
    """LoRAs are large: where the file system can, both names are of one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        partial = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, partial)
        partial.replace(target)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
