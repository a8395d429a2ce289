"""Which files an upload sends."""

from __future__ import annotations

import pytest

from isengard.nodes.dataset import images
from isengard.workflows import uploads


def test_a_folder_gives_its_pictures_and_captions(tmp_path):
    for name in ("b.PNG", "a.jpg", "a.txt", "notes.md", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "below.png").mkdir()
    assert [file.name for file in uploads.files(tmp_path)] == ["a.jpg", "a.txt", "b.PNG"]


def test_a_file_is_sent_whatever_it_is(tmp_path):
    (tmp_path / "mask.tiff").write_bytes(b"x")
    assert uploads.files(tmp_path / "mask.tiff") == [tmp_path / "mask.tiff"]


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a caption alone")
    with pytest.raises(uploads.UploadError, match=f"folder {tmp_path} holds no picture. Give one with .bmp, .jpeg"):
        uploads.files(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(uploads.UploadError, match="there is no file or folder .*gone to upload"):
        uploads.files(tmp_path / "gone")


def test_it_sends_what_the_load_dataset_node_reads():
    assert uploads.PICTURES == images.SUFFIXES


def test_the_name_is_the_folders_own(tmp_path, monkeypatch):
    (tmp_path / "hero").mkdir()
    monkeypatch.chdir(tmp_path / "hero")
    assert uploads.name(tmp_path / "hero" / "..") == tmp_path.name
    assert uploads.name(tmp_path.joinpath(".")) == tmp_path.name
    assert uploads.name(type(tmp_path)(".")) == "hero"
