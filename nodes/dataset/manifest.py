"""manifest.jsonl: what is known of the pictures in a folder, so that a data set that was written reads back as it was.

One JSON object a line. The first is {"format": "isengard-dataset", "version": 1, "name": …}; each of the others is a
sample, with `file_name` and its mask's relative to the folder. The order of the lines is the data set's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .records import Box, Mask, Origin, Sample

FILE = "manifest.jsonl"
_FORMAT, _VERSION = "isengard-dataset", 1


class ManifestError(ValueError):
    """A manifest that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """A sample as it was written, its picture and mask as paths in the folder. words: sha256 of its caption file, by
    which is told whether a person has edited that since."""

    sample: Sample
    words: str


@dataclass(frozen=True)
class Manifest:
    """name: of the data set. entries: by file name in the folder, in the order of the data set."""

    name: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def masks(self) -> set[Path]:
        """Files that are masks, of which some programs want the names of the pictures."""
        found = (entry.sample.mask for entry in self.entries.values())
        return {mask.image for mask in found if mask and not mask.of_alpha}


def content(name: str, entries: Iterable[Entry], folder: Path) -> bytes:
    """The file of a data set whose pictures and masks are files below `folder`."""
    header = {"format": _FORMAT, "version": _VERSION, "name": name}
    rows = [header, *(_row(entry.sample, folder) | {"words": entry.words} for entry in entries)]
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return text.encode("utf-8", "surrogatepass")  # file names need not be text


def read(folder: Path) -> Manifest:
    """The folder's; an empty one where there is none. Raises ManifestError for one that is damaged or newer than this,
    and for names that lead out of the folder."""
    file = folder / FILE
    if not file.is_file():
        return Manifest()
    try:
        lines = file.read_bytes().decode("utf-8", "surrogatepass").split("\n")  # not at U+2028 and the like
        header, *rows = [json.loads(line) for line in lines if line.strip()]
        if (header["format"], header["version"]) != (_FORMAT, _VERSION):
            raise ManifestError(
                f"{FILE} is {header['format']} {header['version']}, and {_FORMAT} {_VERSION} is read. Remove it to "
                "load the pictures with their captions alone."
            )
        entries = {row["file_name"]: Entry(_sample(row, folder), str(row["words"])) for row in rows}
        return Manifest(str(header["name"]), entries)
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(
            f"{FILE} is damaged ({type(error).__name__}: {error}). Mend it, or remove it to load the pictures with "
            "their captions alone."
        ) from error


def _row(sample: Sample, folder: Path) -> dict[str, Any]:
    mask = sample.mask
    return {
        "file_name": sample.image.relative_to(folder).as_posix(),
        "captions": sample.captions,
        "size": sample.size,
        "origin": dataclasses.asdict(sample.origin),
        "mask": mask and dataclasses.asdict(mask) | {"image": mask.image.relative_to(folder).as_posix()},
        "box": sample.box,
        "background": sample.background,
        "scores": dict(sample.scores),
        "tags": sample.tags,
        "repeats": sample.repeats,
        "weight": sample.weight,
        "split": sample.split,
        "reason": sample.reason,
    }


def _sample(row: dict[str, Any], folder: Path) -> Sample:
    width, height = row["size"]
    mask, box, origin = row["mask"], row["box"], Origin(**row["origin"])
    sample = Sample(
        name=row["file_name"],
        image=_inside(folder, row["file_name"]),
        size=(int(width), int(height)),
        captions=_texts(row["captions"]),
        origin=origin,
        mask=mask and Mask(_inside(folder, mask["image"]), str(mask["sha256"]), bool(mask["of_alpha"])),
        box=box and Box(*map(int, box)),
        background=str(row["background"]),
        scores={str(name): float(score) for name, score in row["scores"].items()},
        tags=_texts(row["tags"]),
        repeats=int(row["repeats"]),
        weight=float(row["weight"]),
        split=row["split"],
        reason=str(row.get("reason", "")),
    )
    if not all(isinstance(value, str) for value in (origin.source, origin.sha256, origin.licence)):
        raise TypeError(f"the origin of {sample.name} is not text")
    return sample


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise TypeError(f"{found!r} is no list of texts")
    return tuple(found)


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise ManifestError(f"{FILE} names {name!r}, which is not below its folder. Remove that line.")
    return folder / path
