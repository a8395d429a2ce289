"""Which files an upload sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from isengard.nodes.dataset import caption_files, images, layouts, manifest
from isengard.workflows import uploads


def test_a_folder_gives_its_pictures_and_captions(tmp_path):
    for name in ("b.PNG", "a.jpg", "a.txt", "notes.md", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("10_hero/c.png", "10_hero/c.caption", ".trash/d.png", "below.png/metadata.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.relative_to(tmp_path).as_posix() for file in uploads.files(tmp_path)] == [
        "10_hero/c.caption",
        "10_hero/c.png",
        "a.jpg",
        "a.txt",
        "b.PNG",
        "below.png/metadata.jsonl",
    ]


def test_a_file_is_sent_whatever_it_is(tmp_path):
    (tmp_path / "mask.tiff").write_bytes(b"x")
    assert uploads.files(tmp_path / "mask.tiff") == [tmp_path / "mask.tiff"]


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a caption alone")
    with pytest.raises(uploads.UploadError, match=f"folder {tmp_path} holds no picture. Give one with .avif, .bmp"):
        uploads.files(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(uploads.UploadError, match="there is no file or folder .*gone to upload"):
        uploads.files(tmp_path / "gone")


def test_it_sends_what_the_load_dataset_node_reads():
    assert uploads.PICTURES == images.SUFFIXES
    assert set(caption_files.ENDINGS) | {Path(name).suffix for name in (*layouts.METADATA, manifest.FILE)} == (
        uploads.CAPTIONS
    )


def test_the_name_is_the_folders_own(tmp_path, monkeypatch):
    (tmp_path / "hero").mkdir()
    monkeypatch.chdir(tmp_path / "hero")
    assert uploads.name(tmp_path / "hero" / "..") == tmp_path.name
    assert uploads.name(tmp_path.joinpath(".")) == tmp_path.name
    assert uploads.name(type(tmp_path)(".")) == "hero"
