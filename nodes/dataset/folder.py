"""A data set from a folder: every picture, in the order of their names, with what is written of it around it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

from . import caption_files, images, layouts, manifest
from .caption_files import CaptionError, Words
from .records import Dataset, Mask, Origin, Sample

MASK = "-masklabel"  # the end of a mask's name (OneTrainer)
AS_MASK = "mask"  # of Options.transparency
_AT_ONCE = min(8, os.cpu_count() or 1)  # files that are decoded; each may take some hundred megabytes


class MaskError(ValueError):
    """A mask that does not fit its picture."""


class FolderError(ValueError):
    """A folder that cannot be loaded; the message says what was found, what was expected, and what to do."""


@dataclass(frozen=True)
class Options:
    """default_caption: of pictures that have none. subfolders: their pictures too. skip_unreadable: leave out what
    cannot be read. transparency: the colour below transparent parts, or AS_MASK: on white, and not learned."""

    default_caption: str = ""
    subfolders: bool = True
    skip_unreadable: bool = False
    transparency: str = "white"


@dataclass(frozen=True)
class Remark:
    """What a person should know of a file. name: as in the folder."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True)
class Loaded:
    """unread: pictures that were left out. notes: of those that were not."""

    dataset: Dataset
    unread: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()


Progress = Callable[[int, int], None]  # told how many of how many pictures are done


def load(folder: Path, name: str, options: Options = Options(), progress: Progress = lambda done, of: None) -> Loaded:
    """Every picture of `folder`, sorted as people count (2 before 10).

    A picture's caption stands beside it (`caption_files.beside`), in a metadata file of its folder or of `folder`
    (`layouts.metadata`), or in its folder's name ("10_hero", which also repeats it); else it is the default one.
    `01-masklabel.png` is the mask of `01.png`. Where there is a manifest, its samples come first and as they were
    written, and the data set has its name; captions that were edited since are the edited ones. name: of the folder.
    Raises FolderError for a folder that is missing or
    holds no picture, and names pictures that cannot be read, unless they are to be skipped.
    """
    known = _manifest(folder, name)
    files = _in_order(picture_files(folder, name, options.subfolders), folder, known)
    around = _Around(folder, name, known, options)
    unread, notes, samples = [], [], []
    for done, (file, found) in enumerate(_each(files, around.sample), 1):
        if isinstance(found, Exception):
            unread.append(Remark(f"{name}/{_relative(file, folder)}", str(found)))
        else:
            samples.append(found[0])
            notes += [Remark(found[0].name, found[1])] if found[1] else []
        progress(done, len(files))
    _refuse(unread, len(samples), options)
    return Loaded(Dataset(known.name or name, tuple(samples)), tuple(unread), tuple(notes))


def _manifest(folder: Path, name: str) -> manifest.Manifest:
    try:
        return manifest.read(folder)
    except (manifest.ManifestError, OSError) as error:
        raise FolderError(f"{name}: {error}") from error


def _in_order(files: list[Path], folder: Path, known: manifest.Manifest) -> list[Path]:
    """The manifest's first, in its order; masks are no pictures of their own."""
    places = {name: place for place, name in enumerate(known.entries)}
    found = [file for file in files if file not in known.masks]
    return sorted(found, key=lambda file: places.get(_relative(file, folder), len(places)))


def _refuse(unread: list[Remark], read: int, options: Options) -> None:
    if unread and not (options.skip_unreadable and read):
        skip = ", or turn 'skip_unreadable' on" if read else ""
        raise FolderError(
            f"{len(unread)} of {len(unread) + read} pictures could not be read ({first(unread)}). Replace or remove "
            f"them{skip}."
        )


def _each(files: list[Path], read: Callable[[Path], tuple[Sample, str]]) -> Iterable[tuple]:
    """Each file with what was read of it, or the error; several at a time, in order, and no more than those ahead."""

    def tried(file: Path) -> tuple[Sample, str] | Exception:
        try:
            return read(file)
        except (images.UnreadableImage, CaptionError, MaskError, OSError) as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(files), 4 * _AT_ONCE):  # an interrupt waits for no more than these
            some = files[start : start + 4 * _AT_ONCE]
            yield from zip(some, pool.map(tried, some), strict=True)


def picture_files(folder: Path, name: str, subfolders: bool = True) -> list[Path]:
    """The folder's pictures in order. Raises FolderError where it is missing, has none, or some of a kind that is not
    read, which would be missed only when the LoRA is done."""
    if not folder.is_dir():
        raise FolderError(f"there is no folder '{name}' in ComfyUI's input folder. Put the pictures in input/{name}/.")
    below = list(_files(folder, subfolders))
    found = [file for file in below if is_picture(file)]
    if not found:
        raise FolderError(f"folder '{name}' holds no picture ({len(below)} other files). Put {suffixes()} files in it.")
    other = [_relative(file, folder) for file in below if file.suffix.lower() in images.OTHER_SUFFIXES]
    if other:
        raise FolderError(
            f"{len(other)} pictures in '{name}' are of a kind that is not read ({first(sorted(other))}). Convert them "
            f"to one of {suffixes()}, or remove them."
        )
    return sorted(found, key=lambda file: [_natural(part) for part in file.relative_to(folder).parts])


def _files(folder: Path, subfolders: bool) -> Iterable[Path]:
    """Links to folders are not followed; what is hidden, and what macOS adds to archives, is left out."""
    for path, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if subfolders and each[0] != "." and each != "__MACOSX"]
        yield from (Path(path, name) for name in names if name[0] != ".")


def is_picture(file: PurePath) -> bool:
    """By its name; a mask is none."""
    return file.suffix.lower() in images.SUFFIXES and not file.stem.endswith(MASK)


def number_of_pictures(folder: Path) -> int:
    """How many `load` finds, by their names; masks that a manifest tells of are none."""
    try:
        masks = manifest.read(folder).masks
    except (manifest.ManifestError, OSError):
        masks = set()
    return sum(is_picture(file) and file not in masks for file in _files(folder, subfolders=True))


def fingerprint(folder: Path) -> str:
    """Changes when a file of the folder, or below it, comes, goes or is edited; cheap (no file is opened)."""
    digest = hashlib.sha256()
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(path, name)
            status = file.stat() if file.exists() else file.lstat()  # a link may lead nowhere
            digest.update(f"{path}/{name} {status.st_size} {status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def with_pictures(root: Path, depth: int = 3) -> list[str]:
    """Names of the folders below `root` that hold a picture, or a folder that does, for a drop-down; links are not
    followed."""
    found: set[str] = set()
    for path, folders, files in os.walk(root):
        name = Path(path).relative_to(root)
        folders[:] = sorted(folder for folder in folders if folder[0] != ".") if len(name.parts) < depth else []
        if name.parts and any(Path(file).suffix.lower() in images.SUFFIXES for file in files):
            found |= {each.as_posix() for each in (name, *name.parents) if each.parts}
    return sorted(found, key=_natural)


class _Around:
    """What the files of a folder say of its pictures; a metadata file is read once."""

    def __init__(self, root: Path, folder_name: str, known: manifest.Manifest, options: Options):
        self._root, self._name, self._known, self._options = root, folder_name, known, options
        self._metadata: dict[Path, dict[str, Words]] = {}

    def sample(self, file: Path) -> tuple[Sample, str]:
        """With a note for the report. Raises UnreadableImage, CaptionError, MaskError, OSError."""
        name, data = _relative(file, self._root), file.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        entry = self._known.entries.get(name)
        if entry and entry.sample.origin.sha256 == sha256:
            return self._as_written(entry, data)
        sample, note = self._anew(file, name, data, sha256)
        changed = "it was edited since it was written; only its caption is known of it" if entry else ""
        return sample, "; ".join(filter(None, [changed, note]))

    def _anew(self, file: Path, name: str, data: bytes, sha256: str) -> tuple[Sample, str]:
        as_mask = self._options.transparency == AS_MASK
        background = "white" if as_mask else self._options.transparency
        size = images.decode(data, background).size
        words, times = self._words(file)
        mask = _mask(file.with_name(f"{file.stem}{MASK}.png"), size)
        if mask is None and as_mask and images.alpha(data):
            mask = Mask(file, sha256, of_alpha=True)
        sample = Sample(
            name, file, size, words.captions, Origin(f"{self._name}/{name}", sha256), mask,
            background=background, tags=words.tags, repeats=times,
        )  # fmt: skip
        return sample, words.note

    def _as_written(self, entry: manifest.Entry, data: bytes) -> tuple[Sample, str]:
        """A sample that a manifest knows, with the caption and the mask that its files have now."""
        sample, note = entry.sample, ""
        size = images.decode(data, sample.background).size
        caption = sample.image.with_suffix(".txt")
        if caption.is_file() and hashlib.sha256(caption.read_bytes()).hexdigest() != entry.words:
            words = caption_files.beside(sample.image)
            sample, note = dataclasses.replace(sample, captions=words.captions), words.note
        if sample.mask and not sample.mask.of_alpha:
            mask = _mask(sample.mask.image, size)
            if mask is None:
                raise MaskError(f"its mask {sample.mask.image.name} is missing")
            sample = dataclasses.replace(sample, mask=mask)
        return dataclasses.replace(sample, size=sample.box.size if sample.box else size), note

    def _words(self, file: Path) -> tuple[Words, int]:
        """Captions and tags of a picture, and how often it is repeated."""
        times, by_folder = layouts.repeats(file.parent.name)
        beside = caption_files.beside(file)
        words = beside if beside.captions else self._in_metadata(file) or beside
        default = " ".join(self._options.default_caption.split())
        captions = words.captions or tuple(filter(None, [by_folder or default]))
        return Words(captions, words.tags, words.note), times

    def _in_metadata(self, file: Path) -> Words | None:
        for folder in (file.parent, self._root):
            if folder not in self._metadata:
                self._metadata[folder] = layouts.metadata(folder)
            words = self._metadata[folder].get(_relative(file, folder))
            if words:
                return words
        return None


def _mask(file: Path, size: tuple[int, int]) -> Mask | None:
    """Raises MaskError for one that is not as large as its picture."""
    if not file.exists():
        return None
    data = file.read_bytes()
    found = images.decode(data).size
    if found != size:
        raise MaskError(f"its mask {file.name} is {found[0]} x {found[1]} and the picture {size[0]} x {size[1]} pixels")
    return Mask(file, hashlib.sha256(data).hexdigest())


def _relative(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _natural(name: str) -> tuple[list, str]:
    parts = re.split(r"(\d+)", name)  # text and numbers in turn, so like is compared with like
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], name


def first(items: list) -> str:
    """Of many, for a message."""
    return "; ".join(map(str, items[:3])) + ("; …" if len(items) > 3 else "")


def suffixes() -> str:
    return ", ".join(sorted(images.SUFFIXES))
