"""A data set as files: in folders as other programs read them, with a manifest that brings it back as it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ..names import numbered, unused
from . import images, manifest
from .folder import MASK
from .records import HELD_OUT, Dataset, Mask, Sample

Progress = Callable[[int, int], None]  # told how many of how many pictures are done


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a program wants a data set. place: the folder of a sample's picture; of_mask: of its mask, by the picture's;
    caption: what its .txt holds; extra: further files, by path, from the samples as they were written."""

    place: Callable[[Sample, str], str]
    of_mask: Callable[[str], str]
    caption: Callable[[Sample], str]
    extra: Callable[[list[tuple[str, Sample]]], dict[str, str]] = lambda written: {}


def _held_out_apart(sample: Sample, folder: str) -> str:
    return HELD_OUT if sample.split == HELD_OUT else folder


def _beside(picture: str) -> str:
    return str(Path(picture).with_name(f"{Path(picture).stem}{MASK}.png").as_posix())


def _in_masks(picture: str) -> str:
    return f"masks/{Path(picture).with_suffix('.png').as_posix()}"


def _metadata(written: list[tuple[str, Sample]]) -> dict[str, str]:
    """A metadata.jsonl for each split, with what datasets.load_dataset("imagefolder") makes columns of."""
    rows: dict[str, list[str]] = {}
    for place, sample in written:
        folder, _, name = place.partition("/")
        row = {"file_name": name, "text": sample.caption, "tags": sample.tags, "licence": sample.origin.licence}
        rows.setdefault(f"{folder}/metadata.jsonl", []).append(json.dumps(row, ensure_ascii=False) + "\n")
    return {place: "".join(lines) for place, lines in rows.items()}


LAYOUTS: dict[str, Layout] = {
    # this pack's, OneTrainer's: empty lines part captions
    "folder": Layout(lambda sample, name: "", _beside, lambda sample: "\n\n".join(sample.captions)),
    # kohya_ss: img/10_name; a line a caption, of which sd-scripts reads the first, or any with enable_wildcard
    "kohya": Layout(
        lambda sample, name: _held_out_apart(sample, f"img/{sample.repeats}_{name}"),
        _in_masks,
        lambda sample: "\n".join(" ".join(caption.split()) for caption in sample.captions),
    ),
    # ostris/ai-toolkit: a flat folder; mask_path is the folder masks
    "ai-toolkit": Layout(lambda sample, name: _held_out_apart(sample, ""), _in_masks, lambda sample: sample.caption),
    # Hugging Face datasets: ImageFolder, with its names of splits
    "imagefolder": Layout(
        lambda sample, name: "validation" if sample.split == HELD_OUT else "train",
        _in_masks,
        lambda sample: "\n\n".join(sample.captions),
        _metadata,
    ),
}


def save(dataset: Dataset, place: Path, layout: str, as_zip: bool, progress: Progress) -> Path:
    """Write a data set as a folder, or as an archive with the ending .zip, under a name that is free: `place`, or that
    with a number. Gives where it is."""
    if as_zip:
        free = unused(place.with_name(f"{place.name}.zip"))
        free.parent.mkdir(parents=True, exist_ok=True)
        to_zip(dataset, free, layout, progress)
        return free
    free = unused(place)
    to_folder(dataset, free, layout, progress)
    return free


def to_folder(dataset: Dataset, folder: Path, layout: str, progress: Progress = lambda done, of: None) -> Dataset:
    """Write a data set into a folder that is not there yet; whole, or not at all.

    Pictures that are shown whole are copied as they are; others become PNG, with the file that they were cut from as
    parent. Gives the data set of the files that were written: `folder.load` reads the same back. Raises FileExistsError
    where there is such a folder, UnreadableImage for a picture that was changed meanwhile.
    """
    if folder.exists():
        raise FileExistsError(f"there is a folder {folder.name} already. Choose another name.")
    with _in_place(folder) as partial:
        entries = _written(dataset, partial, LAYOUTS[layout], progress)
        (partial / manifest.FILE).write_bytes(manifest.content(dataset.name, entries, partial))
    return Dataset(dataset.name, tuple(_moved(entry.sample, partial, folder) for entry in entries))


def to_zip(dataset: Dataset, file: Path, layout: str, progress: Progress = lambda done, of: None) -> None:
    """The same as one archive, with a folder of the archive's name in it."""
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as temporary:
        folder = Path(temporary) / file.stem
        to_folder(dataset, folder, layout, progress)
        partial = Path(temporary) / "zip"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
            for each in sorted(folder.rglob("*")):
                archive.write(each, each.relative_to(temporary))
        partial.replace(file)


@contextmanager
def _in_place(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".export-"))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp's are private
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _written(dataset: Dataset, folder: Path, layout: Layout, progress: Progress) -> list[manifest.Entry]:
    taken: set[str] = set()
    entries, placed = [], []
    for done, sample in enumerate(dataset.samples, 1):
        data, ending = images.file_of(sample)
        place = _free(layout.place(sample, _plain(dataset.name)), _plain(sample.name), ending, taken)
        words = layout.caption(sample).encode()
        _write(folder / place, data)
        _write(folder / Path(place).with_suffix(".txt"), words)
        mask = _write_mask(sample, folder / layout.of_mask(place), data)
        entries.append(manifest.Entry(_of_file(sample, folder / place, data, mask), hashlib.sha256(words).hexdigest()))
        placed.append((place, sample))
        progress(done, len(dataset.samples))
    for place, content in layout.extra(placed).items():
        _write(folder / place, content.encode())
    return entries


def _write_mask(sample: Sample, file: Path, data: bytes) -> Mask | None:
    if sample.mask is None:
        return None
    if sample.mask.of_alpha and sample.box is None:  # it is in the picture
        return Mask(Path(), hashlib.sha256(data).hexdigest(), of_alpha=True)
    pixels = (images.read_mask(sample).numpy() * 255).round().astype(np.uint8)
    content = images.png(Image.fromarray(pixels))
    _write(file, content)
    return Mask(file, hashlib.sha256(content).hexdigest())


def _of_file(sample: Sample, file: Path, data: bytes, mask: Mask | None) -> Sample:
    sha256 = hashlib.sha256(data).hexdigest()
    if mask and mask.of_alpha:
        mask = dataclasses.replace(mask, image=file)
    origin = sample.origin
    if sha256 != origin.sha256:
        origin = dataclasses.replace(origin, sha256=sha256, parent=origin.sha256)
    return dataclasses.replace(sample, name="", image=file, origin=origin, mask=mask, box=None)


def _moved(sample: Sample, before: Path, after: Path) -> Sample:
    place = sample.image.relative_to(before)
    mask = sample.mask and dataclasses.replace(sample.mask, image=after / sample.mask.image.relative_to(before))
    return dataclasses.replace(sample, name=place.as_posix(), image=after / place, mask=mask)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _plain(name: str) -> str:
    """A name as a file has it on every system, without its ending and without folders."""
    stem = name.rsplit(".", 1)[0] if "." in name.rsplit("/", 1)[-1] else name
    return re.sub(r"[^\w\- ]+", "-", stem).strip("- ")[:80] or "picture"


def _free(folder: str, stem: str, ending: str, taken: set[str]) -> str:
    """A path that no other picture has, whatever its ending: captions and masks are found by it."""
    free = next(each for each in numbered(stem) if f"{folder}/{each}".casefold() not in taken)
    taken.add(f"{folder}/{free}".casefold())
    return f"{folder}/{free}{ending}" if folder else f"{free}{ending}"
