"""Masks beside pictures."""

from __future__ import annotations

import pytest
from PIL import Image

from isengard.nodes.dataset import folder, images


def masked(place, size=(8, 6)):
    Image.new("RGB", (8, 6), "red").save(place / "a.png")
    (place / "a.txt").write_text("mira")
    half = Image.new("L", size)
    half.paste(255, (0, 0, size[0] // 2, size[1]))
    half.save(place / "a-masklabel.png")
    return place


def test_a_mask_belongs_to_its_picture_and_is_none_itself(tmp_path):
    (sample,) = folder.load(masked(tmp_path), "hero").samples
    assert sample.name == "a.png"
    mask = images.read(sample.mask.image, sample.mask.sha256)[0].mean(-1)
    assert mask.shape == (6, 8)
    assert mask[:, :4].min() == 1
    assert mask[:, 4:].max() == 0


def test_another_mask_makes_another_data_set(tmp_path):
    before = folder.load(masked(tmp_path), "hero").hash
    Image.new("L", (8, 6), 255).save(tmp_path / "a-masklabel.png")
    white = folder.load(tmp_path, "hero").hash
    (tmp_path / "a-masklabel.png").unlink()
    assert len({before, white, folder.load(tmp_path, "hero").hash}) == 3


def test_a_mask_of_another_size_is_told(tmp_path):
    with pytest.raises(folder.FolderError, match="its mask a-masklabel.png is 4 x 4 and the picture 8 x 6 pixels"):
        folder.load(masked(tmp_path, (4, 4)), "hero")
