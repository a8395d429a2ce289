"""Data sets from other nodes' lists, and back."""

from __future__ import annotations

import pytest
import torch

from isengard.nodes.dataset import lists


def pictures(*sizes):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(*size, 3, generator=generator) for size in sizes]


def test_lists_come_back_as_they_were():
    given = pictures((2, 4, 6), (1, 8, 5))
    masks = [torch.rand(2, 4, 6), torch.rand(8, 5)]
    dataset = lists.dataset_of("hero", given, ["a", " b  c ", ""], masks)
    assert [sample.size for sample in dataset.samples] == [(6, 4), (6, 4), (5, 8)]
    assert len({sample.name for sample in dataset.samples}) == len({s.origin.sha256 for s in dataset.samples}) == 3
    back, captions, covers = lists.lists_of(dataset)
    assert torch.equal(torch.cat(back[:2]), given[0])
    assert captions == ["a", "b c", ""]
    assert torch.equal(covers[2], masks[1][None])


def test_one_caption_and_one_mask_are_for_all():
    dataset = lists.dataset_of("hero", pictures((2, 4, 6)), ["a"], [torch.zeros(4, 6)])
    assert lists.lists_of(dataset)[1] == ["a", "a"]
    assert all(mask.max() == 0 for mask in lists.lists_of(dataset)[2])


def test_without_masks_all_is_learned_and_alpha_is_no_colour():
    dataset = lists.dataset_of("hero", [torch.rand(1, 4, 6, 4)])
    (picture,), (caption,), (mask,) = lists.lists_of(dataset)
    assert (picture.shape, caption, mask.min()) == ((1, 4, 6, 3), "", 1)


@pytest.mark.parametrize(
    "captions, masks, message",
    [
        (["a", "b"], [], "there are 3 pictures and 2 captions"),
        ([], [torch.zeros(2, 4, 6)], "there are 3 pictures and 2 masks"),
        ([], [torch.zeros(5, 6)], "picture 1 is 6 x 4 pixels and its mask 6 x 5"),
    ],
)
def test_lists_that_do_not_go_together_are_told(captions, masks, message):
    with pytest.raises(lists.ListError, match=message):
        lists.dataset_of("hero", pictures((3, 4, 6)), captions, masks)


def test_no_pictures_are_told():
    with pytest.raises(lists.ListError, match="there are no pictures"):
        lists.dataset_of("hero", [torch.zeros(0, 4, 4, 3)])
