"""Where characters stand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.scene import regions
from isengard.nodes.scene.regions import Box, RegionError, Window


def box_mask(width, height, left, top, right, bottom):
    mask = torch.zeros(height, width)
    mask[top:bottom, left:right] = 1
    return mask


def test_boxes_are_read_in_percent():
    text = "0 0 50 100\n50%, 25%, 50%, 75%"
    assert regions.boxes(text, 2) == (Box(0, 0, 0.5, 1), Box(0.5, 0.25, 0.5, 0.75))
    assert regions.boxes("0 0 50 100; 50 0 50 100", 2)[1] == Box(0.5, 0, 0.5, 1)


def test_without_boxes_they_stand_side_by_side():
    masks = [regions.filled(box, 96, 32) for box in regions.boxes(" \n", 3)]
    assert torch.equal(torch.stack(masks).sum(0), torch.ones(32, 96))
    assert [int(mask[0].nonzero()[0]) for mask in masks] == [0, 32, 64]


@pytest.mark.parametrize("text", ["0 0 50", "a b c d", "0 0 50 50 50", "nan"])
def test_a_line_that_is_no_box_is_refused(text):
    with pytest.raises(RegionError, match="is no box. Write left, top"):
        regions.boxes(text, 2)


@pytest.mark.parametrize("text", ["60 0 50 100", "0 90 10 20", "-5 0 50 50", "0 0 0 50", "0 0 50 -50", "nan 0 5 5"])
def test_a_box_that_reaches_out_is_refused(text):
    with pytest.raises(RegionError, match="reaches out of the picture or is empty"):
        regions.boxes(text, 2)


def test_a_drawn_layout_has_a_region_for_each_colour_from_left_to_right():
    layout = torch.zeros(40, 60, 3)
    layout[5:35, 40:58] = torch.tensor([0.9, 0.2, 0.1])
    layout[5:35, 2:30] = torch.tensor([0.1, 0.3, 0.9])
    layout[5:35, 30] = torch.tensor([0.05, 0.15, 0.45])  # a soft edge: too few pixels
    layout[0, 0] = 0.05
    left, right = regions.drawn(layout)
    assert torch.equal(left, box_mask(60, 40, 2, 5, 30, 35))
    assert torch.equal(right, box_mask(60, 40, 40, 5, 58, 35))


def test_a_drawn_layout_tolerates_what_jpeg_does_to_a_colour():
    layout = torch.zeros(40, 60, 3)
    layout[:, :30] = torch.tensor([0.8, 0.2, 0.2])
    layout += 0.03 * torch.rand(40, 60, 3, generator=torch.Generator().manual_seed(0))
    (mask,) = regions.drawn(layout)
    assert torch.equal(mask, box_mask(60, 40, 0, 0, 30, 40))


def test_an_empty_drawing_is_refused():
    with pytest.raises(RegionError, match="the drawn layout has no regions"):
        regions.drawn(torch.zeros(40, 60, 3))


def test_masks_that_overlap_are_refused_or_the_first_is_in_front():
    masks = [box_mask(128, 64, 0, 0, 80, 64), box_mask(128, 64, 64, 0, 128, 64)]
    with pytest.raises(RegionError, match="of Ann and Ben overlap by 25% of the smaller"):
        regions.of_masks(["Ann", "Ben"], masks, 128, 64, regions.REFUSE)
    ann, ben = regions.of_masks(["Ann", "Ben"], masks, 128, 64, regions.IN_FRONT)
    assert torch.equal(ann.mask, masks[0])
    assert torch.equal(ben.mask, box_mask(128, 64, 80, 0, 128, 64))
    behind = [masks[0], box_mask(128, 64, 0, 0, 70, 64)]
    with pytest.raises(RegionError, match="nothing is left of Ben's region"):
        regions.of_masks(["Ann", "Ben"], behind, 128, 64, regions.IN_FRONT)


def test_soft_edges_that_touch_are_no_overlap():
    masks = [box_mask(128, 64, 0, 0, 65, 64), box_mask(128, 64, 64, 0, 128, 64)]
    assert len(regions.of_masks(["Ann", "Ben"], masks, 128, 64, regions.REFUSE)) == 2


def test_an_empty_mask_and_one_of_another_shape_are_refused():
    good = box_mask(128, 64, 0, 0, 60, 64)
    with pytest.raises(RegionError, match="Ben's mask is empty"):
        regions.of_masks(["Ann", "Ben"], [good, torch.zeros(64, 128)], 128, 64, regions.REFUSE)
    with pytest.raises(RegionError, match="Ben's mask has 64 x 64 pixels and the scene 128 x 64"):
        regions.of_masks(["Ann", "Ben"], [good, torch.ones(64, 64)], 128, 64, regions.REFUSE)


def test_a_mask_of_another_size_is_fitted():
    (region,) = regions.of_masks(["Ann"], [box_mask(64, 32, 0, 0, 32, 32)[None]], 128, 64, regions.REFUSE)
    assert region.mask.shape == (64, 128)
    assert region.window == Window(0, 0, 80, 64)  # the soft edge is in it
    assert torch.equal(region.mask[:, :60], torch.ones(64, 60))


@given(
    st.integers(4, 20), st.integers(4, 20), st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1),
    st.floats(0.05, 1),
)  # fmt: skip
def test_a_window_holds_its_mask_at_multiples_of_a_token(columns, rows, left, top, wide, high):
    width, height = 16 * columns, 16 * rows
    box = Box(left, top, min(wide, 1 - left), min(high, 1 - top))
    mask = regions.filled(box, width, height)
    if not mask.any():
        return
    found = regions.window(mask)
    assert all(side % regions.WINDOW_STEP == 0 for side in vars(found).values())
    assert found.left >= 0 and found.left + found.width <= width
    assert found.top >= 0 and found.top + found.height <= height
    assert mask[found.top : found.top + found.height, found.left : found.left + found.width].sum() == mask.sum()
    assert found.width >= min(width, regions.SMALLEST) and found.height >= min(height, regions.SMALLEST)


def test_a_feathered_edge_rises_inwards_but_not_at_the_border():
    soft = regions.feathered(box_mask(64, 32, 0, 0, 32, 32), 4)
    assert torch.allclose(soft[16, 27:34], torch.tensor([1, 1, 0.75, 0.5, 0.25, 0, 0]))
    assert torch.equal(soft[:, :28], torch.ones(32, 28))
    hard = box_mask(64, 32, 0, 0, 32, 32)
    assert torch.equal(regions.feathered(hard, 0), hard)


def test_outside_is_where_nobody_is_with_soft_edges_within():
    masks = [box_mask(64, 32, 0, 0, 24, 32), box_mask(64, 32, 24, 0, 48, 32)]
    outside = regions.outside(masks, 4)
    assert torch.equal(outside[:, 48:], torch.ones(32, 16))
    assert torch.allclose(outside[16, 44:48], torch.tensor([0.0, 0.25, 0.5, 0.75]))
    assert not outside[:, 20:28].any()  # where two regions touch, there is no outside between them
    whole = [box_mask(64, 32, 0, 0, 24, 32), box_mask(64, 32, 24, 0, 64, 32)]
    assert not regions.outside(whole, 4).any()
