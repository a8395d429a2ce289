"""Whose a region is."""

from __future__ import annotations

import pytest
import torch

from isengard.nodes.scene import places, regions
from isengard.nodes.scene.regions import RegionError

NAMES = ["Ann", "Ben", "Cid"]
LEFT = regions.filled(regions.Box(0, 0, 0.25, 1), 64, 64)
NOBODY = [None, None, None]


def spans(masks):
    """First and last column of each."""
    columns = [mask.any(0).nonzero().flatten() for mask in masks]
    return [(int(each[0]), int(each[-1])) for each in columns]


def test_boxes_go_to_characters_in_order():
    masks = places.shared_out(NAMES, NOBODY, None, "0 0 25 100\n50 0 25 100\n25 0 25 100", 64, 64)
    assert spans(masks) == [(0, 15), (32, 47), (16, 31)]


def test_a_mask_of_ones_own_counts_first():
    own = [None, LEFT, None]
    assert spans(places.shared_out(NAMES, own, None, "25 0 25 100\n50 0 25 100", 64, 64)) == [
        (16, 31), (0, 15), (32, 47),
    ]  # fmt: skip
    three = places.shared_out(NAMES, own, None, "25 0 25 100\n0 0 100 100\n50 0 25 100", 64, 64)
    assert spans(three) == [(16, 31), (0, 15), (32, 47)]


def test_a_drawn_layout_counts_before_the_boxes():
    drawn = torch.zeros(64, 64, 3)
    drawn[:, :20, 0], drawn[:, 40:, 1] = 1, 1
    assert spans(places.shared_out(NAMES[:2], NOBODY[:2], drawn, "0 0 50 50", 64, 64)) == [(0, 19), (40, 63)]


def test_too_few_or_too_many_are_told():
    with pytest.raises(RegionError, match=r"1 boxes, and 3 characters without a mask \(Ann, Ben, Cid\)"):
        places.shared_out(NAMES, NOBODY, None, "0 0 50 50", 64, 64)
    drawn = torch.zeros(64, 64, 3)
    drawn[:, :20, 0] = 1
    with pytest.raises(RegionError, match="1 regions in the drawn layout, and 2 characters"):
        places.shared_out(NAMES[:2], NOBODY[:2], drawn, "", 64, 64)


def test_the_picture_shows_every_region_in_its_colour():
    masks = places.shared_out(NAMES[:2], NOBODY[:2], None, "0 0 50 100\n50 0 50 100", 512, 256)
    picture = places.picture(regions.of_masks(NAMES[:2], masks, 512, 256, regions.REFUSE))
    assert picture.size == (512, 256)
    left, right = picture.getpixel((128, 200)), picture.getpixel((384, 200))
    assert left[2] > left[0] and right[0] > right[2]  # blue, orange
