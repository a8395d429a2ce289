"""A data set from a folder: every picture, in the order of their names, with the caption in the .txt beside it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from . import images
from .records import Dataset, Mask, Origin, Sample

MASK = "-masklabel"  # the end of a mask's name


class CaptionError(ValueError):
    """A caption that is no text; the message says what to do."""


class MaskError(ValueError):
    """A mask that does not fit its picture."""


class FolderError(ValueError):
    """A folder that cannot be loaded; the message says what was found, what was expected, and what to do."""


def load(folder: Path, name: str, default_caption: str = "") -> Dataset:
    """Every picture of `folder` (not of folders below it), sorted as people count (2 before 10).

    A caption is the UTF-8 text beside the picture (`01.txt` for `01.png`), else `default_caption`. Empty lines part
    several captions of one picture. `01-masklabel.png` is the mask of `01.png` (OneTrainer's name for it).
    Raises FolderError for a folder that is missing or holds no picture, and names every picture that cannot be
    read or has no caption.
    """
    files = picture_files(folder, name)
    _refuse_other_kinds(folder, name)
    broken: list[str] = []
    uncaptioned: list[str] = []
    samples = []
    for file in files:
        try:
            sample = _sample(file, name, default_caption)
        except (images.UnreadableImage, CaptionError, MaskError, OSError) as error:
            broken.append(f"{name}/{file.name}: {error}")
            continue
        if not sample.captions:
            uncaptioned.append(file.name)
        samples.append(sample)
    if broken:
        raise FolderError(
            f"{len(broken)} of {len(files)} pictures could not be read ({_first(broken)}). Replace or remove them."
        )
    if uncaptioned:
        raise FolderError(
            f"{len(uncaptioned)} of {len(files)} pictures in '{name}' have no caption ({_first(uncaptioned)}). Write a "
            ".txt beside each, or fill in 'default caption'."
        )
    return Dataset(name, tuple(samples))


def picture_files(folder: Path, name: str) -> list[Path]:
    """The folder's pictures in order. Raises FolderError where it is missing or has none."""
    if not folder.is_dir():
        raise FolderError(f"there is no folder '{name}' in ComfyUI's input folder. Put the pictures in input/{name}/.")
    files = [file for file in folder.iterdir() if _is_picture(file) and not file.stem.endswith(MASK)]
    if not files:
        raise FolderError(
            f"folder '{name}' holds no picture ({len(list(folder.iterdir()))} other files). Put {_suffixes()} files "
            "in it."
        )
    return sorted(files, key=lambda file: _natural(file.name))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in images.SUFFIXES and file.name[0] != "."


def _refuse_other_kinds(folder: Path, name: str) -> None:
    """Left out without a word, they would be missed only when the LoRA is done."""
    other = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in images.OTHER_SUFFIXES)
    if other:
        raise FolderError(
            f"{len(other)} pictures in '{name}' are of a kind that is not read ({_first(other)}). Convert them to one "
            f"of {_suffixes()}, or remove them."
        )


def fingerprint(folder: Path) -> str:
    """Changes when a file of the folder comes, goes or is edited; cheap (no file is opened)."""
    digest = hashlib.sha256()
    if folder.is_dir():
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            status = entry.stat(follow_symlinks=not _dangling(entry))
            digest.update(f"{entry.name} {status.st_size} {status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _dangling(entry: os.DirEntry) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def with_pictures(root: Path, depth: int = 3) -> list[str]:
    """Names of the folders below `root` that hold a picture, for a drop-down; links are not followed."""
    found = []
    for path, folders, files in os.walk(root):
        name = Path(path).relative_to(root)
        folders[:] = sorted(folder for folder in folders if folder[0] != ".") if len(name.parts) < depth else []
        if name.parts and any(Path(file).suffix.lower() in images.SUFFIXES for file in files):
            found.append(name.as_posix())
    return sorted(found, key=_natural)


def _sample(file: Path, folder_name: str, default_caption: str) -> Sample:
    data = file.read_bytes()
    image = images.decode(data)
    mask = file.with_name(f"{file.stem}{MASK}.png")
    return Sample(
        name=file.name,
        image=file,
        size=image.size,
        captions=_captions(file.with_suffix(".txt")) or tuple(filter(None, [default_caption.strip()])),
        origin=Origin(source=f"{folder_name}/{file.name}", sha256=hashlib.sha256(data).hexdigest()),
        mask=_mask(mask, image.size) if mask.exists() else None,
    )


def _mask(file: Path, size: tuple[int, int]) -> Mask:
    """Raises MaskError for one that is not as large as its picture."""
    data = file.read_bytes()
    found = images.decode(data).size
    if found != size:
        raise MaskError(f"its mask {file.name} is {found[0]} x {found[1]} and the picture {size[0]} x {size[1]} pixels")
    return Mask(file, hashlib.sha256(data).hexdigest())


def _captions(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise CaptionError(
            f"its caption {file.name} is not UTF-8 text (byte 0x{error.object[error.start]:02X} at position "
            f"{error.start}; save it as UTF-8)"
        ) from error
    paragraphs = re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n"))
    return tuple(" ".join(each.split()) for each in paragraphs if each.strip())


def _natural(name: str) -> tuple[list, str]:
    parts = re.split(r"(\d+)", name)  # text and numbers in turn, so like is compared with like
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], name


def _first(items: list[str]) -> str:
    return "; ".join(items[:3]) + ("; …" if len(items) > 3 else "")


def _suffixes() -> str:
    return ", ".join(sorted(images.SUFFIXES))
