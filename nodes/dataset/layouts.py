"""What the folders and files around pictures say of them, in the layouts of other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from . import caption_files
from .caption_files import CaptionError, Words

METADATA = ("metadata.jsonl", "metadata.csv")
_REPEATS = re.compile(r"([1-9]\d{0,3})_(.+)")


def repeats(folder: str) -> tuple[int, str]:
    """How often an epoch shows a folder's pictures, and their caption where they have none, by a name like "10_hero"
    (sd-scripts, docs/train_README: DreamBooth, class+identifier method); 1 and no caption for other names."""
    found = _REPEATS.fullmatch(folder)
    return (int(found[1]), " ".join(found[2].split())) if found else (1, "")


def metadata(folder: Path) -> dict[str, Words]:
    """By file name, as the folder's metadata file has it (Hugging Face datasets, ImageFolder): a row each with
    `file_name`, and a caption under one of `caption_files.TEXT_KEYS`. Raises CaptionError for a file that is broken."""
    file = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if file is None:
        return {}
    text, _ = caption_files.decode(file.read_bytes(), file.name)
    rows = _json_lines(text, file.name) if file.suffix == ".jsonl" else csv.DictReader(io.StringIO(text))
    found = {}
    for row in rows:
        name, words = row.get("file_name"), caption_files.of_fields(row)
        if isinstance(name, str) and words:
            found[str(PurePosixPath(name.replace("\\", "/")))] = words
    return found


def _json_lines(text: str, name: str) -> Iterator[dict]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CaptionError(f"line {number} of {name} is no JSON ({error}); mend or remove it") from error
        if isinstance(row, dict):
            yield row
