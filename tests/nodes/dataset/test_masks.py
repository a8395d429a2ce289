"""Masks beside pictures."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

from isengard.nodes.dataset import folder, images
from isengard.nodes.dataset.records import Box


def masked(place, size=(8, 6)):
    Image.new("RGB", (8, 6), "red").save(place / "a.png")
    (place / "a.txt").write_text("mira")
    half = Image.new("L", size)
    half.paste(255, (0, 0, size[0] // 2, size[1]))
    half.save(place / "a-masklabel.png")
    return place


def test_a_mask_belongs_to_its_picture_and_is_none_itself(tmp_path):
    (sample,) = folder.load(masked(tmp_path), "hero").dataset.samples
    assert sample.name == "a.png"
    mask = images.read_mask(sample)
    assert mask.shape == (6, 8)
    assert mask[:, :4].min() == 1
    assert mask[:, 4:].max() == 0


def test_another_mask_makes_another_data_set(tmp_path):
    before = folder.load(masked(tmp_path), "hero").dataset.hash
    Image.new("L", (8, 6), 255).save(tmp_path / "a-masklabel.png")
    white = folder.load(tmp_path, "hero").dataset.hash
    (tmp_path / "a-masklabel.png").unlink()
    assert len({before, white, folder.load(tmp_path, "hero").dataset.hash}) == 3


def test_a_mask_of_another_size_is_told(tmp_path):
    with pytest.raises(folder.FolderError, match="its mask a-masklabel.png is 4 x 4 and the picture 8 x 6 pixels"):
        folder.load(masked(tmp_path, (4, 4)), "hero")


def test_transparent_parts_are_not_learned(tmp_path):
    see_through = Image.new("RGBA", (8, 6), (255, 0, 0, 255))
    see_through.paste((0, 255, 0, 0), (0, 0, 2, 6))
    see_through.save(tmp_path / "a.png")
    Image.new("RGBA", (8, 6), (255, 0, 0, 255)).save(tmp_path / "b.png")
    first, opaque = folder.load(tmp_path, "hero", folder.Options(transparency="mask")).dataset.samples
    mask = images.read_mask(first)
    assert (mask[:, :2].max(), mask[:, 2:].min()) == (0, 1)
    assert images.read(first)[0, 0, 0].tolist() == [1, 1, 1], "on white"
    assert opaque.mask is None
    black = folder.load(tmp_path, "hero", folder.Options(transparency="black")).dataset.samples[0]
    assert black.mask is None
    assert images.read(black)[0, 0, 0].tolist() == [0, 0, 0]


def test_a_box_cuts_picture_and_mask(tmp_path):
    (sample,) = folder.load(masked(tmp_path), "hero").dataset.samples
    cut = dataclasses.replace(sample, box=Box(3, 1, 6, 5), size=(3, 4))
    assert images.read(cut).shape == (1, 4, 3, 3)
    assert images.read_mask(cut).tolist() == [[1, 0, 0]] * 4
