"""What is written comes back as it was, and is what other programs read."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isengard.nodes.dataset import archive, export, folder, images, manifest
from isengard.nodes.dataset.records import HELD_OUT, SPLITS, Box, Dataset, Mask, Origin, Sample


def file_of(path: Path, seed: int = 0, mode: str = "RGB", size=(8, 6)) -> str:
    """A picture's file; gives its sha256."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.squeeze(-1) if channels == 1 else values).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sample(path: Path, name: str, seed: int = 0, **more) -> Sample:
    origin = Origin(f"hero/{name}", file_of(path / name, seed))
    return Sample(name, path / name, (8, 6), ("a", "b, c"), origin, **more)


def hero(path: Path) -> Dataset:
    """One of everything: as it is, masked and held out, cut out of a larger picture, and in memory."""
    mask = Mask(path / "m.png", file_of(path / "m.png", 5, "L"))
    pixels = torch.rand(1, 6, 8, 3, generator=torch.Generator().manual_seed(0))
    return Dataset("hero", (
        sample(path, "a.png", repeats=3, tags=("red", "blue"), scores={"sharpness": 0.5}, reason="blurred"),
        sample(path, "sub/b.png", 1, mask=mask, split=HELD_OUT, weight=0.5),
        dataclasses.replace(sample(path, "A.bmp", 2, mask=mask, box=Box(1, 2, 5, 6)), size=(4, 4)),
        Sample("of a node", pixels, (8, 6), ("d",), Origin("KSampler", "f" * 64, "CC0", "e" * 64, "sd15", 7)),
    ))  # fmt: skip


@pytest.mark.parametrize("layout", export.LAYOUTS)
def test_what_is_written_reads_back_as_it_was(tmp_path, layout):
    before = hero(tmp_path / "in")
    written = export.to_folder(before, tmp_path / "out", layout)
    found = folder.load(tmp_path / "out", "out")
    assert found.dataset == written
    assert found.notes == found.unread == ()
    for old, new in zip(before.samples, written.samples, strict=True):
        kept = ("captions", "tags", "scores", "repeats", "weight", "split", "reason", "size")
        assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]
        assert np.array_equal(*(np.asarray(images.opened(each)) for each in (old, new)))
        assert (images.read_mask(old) is None) == (images.read_mask(new) is None)
        if old.mask:
            assert torch.equal(images.read_mask(old), images.read_mask(new))


@pytest.mark.parametrize("layout", export.LAYOUTS)
def test_what_is_packed_and_uploaded_is_the_same(tmp_path, layout):
    before = hero(tmp_path / "in")
    file = export.save(before, tmp_path / "hero", layout, as_zip=True, progress=lambda done, of: None)
    added = archive.unpack(file, tmp_path / "input", file.stem)
    assert (added.name, added.pictures, added.left_out) == ("hero", 4, ())
    found = folder.load(tmp_path / "input" / "hero", "hero")
    assert found.dataset.hash == export.to_folder(before, tmp_path / "out", layout).hash
    assert found.notes == found.unread == ()


def test_every_picture_says_where_it_comes_from(tmp_path):
    before = hero(tmp_path / "in")
    whole, _, cut, made = export.to_folder(before, tmp_path / "out", "folder").samples
    assert whole.origin == before.samples[0].origin
    assert (cut.origin.parent, cut.origin.source) == (before.samples[2].origin.sha256, "hero/A.bmp")
    assert cut.origin.sha256 == hashlib.sha256(cut.image.read_bytes()).hexdigest()
    assert (made.origin.licence, made.origin.generator, made.origin.seed) == ("CC0", "sd15", 7)


def below(path: Path) -> set[str]:
    return {each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()}


@pytest.mark.parametrize(
    "layout, expected",
    [
        ("folder", {"a.png", "sub-b.png", "sub-b-masklabel.png", "A-2.png", "A-2-masklabel.png", "of a node.png"}),
        ("kohya", {"img/3_hero/a.png", "held_out/sub-b.png", "masks/held_out/sub-b.png", "img/1_hero/A.png",
                   "masks/img/1_hero/A.png", "img/1_hero/of a node.png"}),
        ("ai-toolkit", {"a.png", "held_out/sub-b.png", "masks/held_out/sub-b.png", "A-2.png", "masks/A-2.png",
                        "of a node.png"}),
        ("imagefolder", {"train/a.png", "validation/sub-b.png", "masks/validation/sub-b.png", "train/A-2.png",
                         "masks/train/A-2.png", "train/of a node.png"}),
    ],
)  # fmt: skip
def test_files_lie_where_the_program_looks(tmp_path, layout, expected):
    export.to_folder(hero(tmp_path / "in"), tmp_path / "out", layout)
    assert {name for name in below(tmp_path / "out") if name.endswith(".png")} == expected


def test_sd_scripts_reads_the_first_line_and_others_empty_lines(tmp_path):
    for layout, text in (("kohya", "a\nb, c"), ("ai-toolkit", "a"), ("folder", "a\n\nb, c")):
        (first, *_) = export.to_folder(hero(tmp_path / "in"), tmp_path / layout, layout).samples
        assert first.image.with_suffix(".txt").read_text() == text


def test_an_imagefolder_has_its_captions_in_metadata(tmp_path):
    export.to_folder(hero(tmp_path / "in"), tmp_path / "out", "imagefolder")
    lines = (tmp_path / "out/train/metadata.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"file_name": "a.png", "text": "a", "tags": ["red", "blue"], "licence": ""}
    assert len(lines) == 3


def test_a_caption_that_was_edited_counts_and_the_rest_stays(tmp_path):
    export.to_folder(hero(tmp_path / "in"), tmp_path / "out", "kohya")
    (tmp_path / "out/img/3_hero/a.txt").write_text("edited")
    (first, second, *_) = folder.load(tmp_path / "out", "out").dataset.samples
    assert (first.captions, first.repeats, first.scores) == (("edited",), 3, {"sharpness": 0.5})
    assert second.captions == ("a", "b, c")


def test_pictures_that_were_edited_removed_or_added_are_what_they_are_now(tmp_path):
    export.to_folder(hero(tmp_path / "in"), tmp_path / "out", "folder")
    file_of(tmp_path / "out/a.png", 9)
    file_of(tmp_path / "out/A new one.png", 10)
    (tmp_path / "out/A-2.png").unlink()
    found = folder.load(tmp_path / "out", "out")
    assert [each.name for each in found.dataset.samples] == ["a.png", "sub-b.png", "of a node.png", "A new one.png"]
    assert found.dataset.samples[0].scores == {}
    assert list(map(str, found.notes)) == ["a.png: it was edited since it was written; only its caption is known of it"]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"version": 1', '"version": 2', "manifest.jsonl is isengard-dataset 2"),
        ('"file_name": "a.png"', '"file_name": "../a.png"', "'../a.png', which is not below its folder"),
        ('"file_name": "a.png"', '"file_name": "/etc/passwd"', "not below its folder"),
        ('"repeats": 3', '"repeats": "x"', "manifest.jsonl is damaged"),
        ('"captions": ["a", "b, c"]', '"captions": "a"', "is damaged"),
        ('{"format"', '["format"', "is damaged"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told(tmp_path, old, new, message):
    export.to_folder(hero(tmp_path / "in"), tmp_path / "out", "folder")
    file = tmp_path / "out" / manifest.FILE
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(folder.FolderError, match=message):
        folder.load(tmp_path / "out", "out")


def test_nothing_is_left_where_writing_fails(tmp_path):
    dataset = hero(tmp_path / "in")
    dataset.samples[1].image.write_bytes(b"changed")
    with pytest.raises(images.UnreadableImage, match="b.png was changed"):
        export.to_folder(dataset, tmp_path / "out", "folder")
    assert {each.name for each in tmp_path.iterdir()} == {"in"}


def test_no_folder_is_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="there is a folder out already"):
        export.to_folder(hero(tmp_path / "in"), tmp_path / "out", "folder")


def test_an_archive_holds_the_same(tmp_path):
    dataset = hero(tmp_path / "in")
    export.to_zip(dataset, tmp_path / "out.zip", "folder")
    export.to_folder(dataset, tmp_path / "out", "folder")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert below(tmp_path / "unpacked/out") == below(tmp_path / "out")
    assert folder.load(tmp_path / "unpacked/out", "x").dataset.hash == folder.load(tmp_path / "out", "x").dataset.hash


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SAMPLES = st.fixed_dictionaries({
    "name": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    "captions": st.lists(TEXTS, max_size=3).map(tuple),
    "background": st.sampled_from(["white", "#102030"]),
    "scores": st.dictionaries(TEXTS, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
    "tags": st.lists(TEXTS, max_size=3).map(tuple),
    "repeats": st.integers(1, 1000),
    "weight": st.floats(1e-3, 1e3),
    "split": st.sampled_from(SPLITS),
    "reason": TEXTS,
    "box": st.none() | st.just(Box(1, 1, 5, 4)),
    "origin": st.builds(Origin, TEXTS, st.just("0" * 64), TEXTS, TEXTS, TEXTS, st.none() | st.integers(0, 2**64)),
})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(name=TEXTS, all_of_it=st.lists(SAMPLES, min_size=1, max_size=4), layout=st.sampled_from(sorted(export.LAYOUTS)))
def test_any_data_set_reads_back_as_it_was_written(name, all_of_it, layout):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(buffer, "png")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "picture.png"
        file.write_bytes(buffer.getvalue())
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        samples = tuple(
            Sample(
                image=file, size=each["box"].size if each["box"] else (8, 6),
                **each | {"origin": dataclasses.replace(each["origin"], sha256=sha256)},
            )
            for each in all_of_it
        )  # fmt: skip
        written = export.to_folder(Dataset(name, samples), Path(place) / "out", layout)
        found = folder.load(Path(place) / "out", name)
    assert found.dataset == written
    assert [each.captions for each in written.samples] == [each.captions for each in samples]
