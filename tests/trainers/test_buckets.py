import pytest
import torch

from isengard.trainers import buckets


@pytest.mark.parametrize("height, width", [(64, 64), (100, 37), (37, 100), (257, 255), (5, 300)])
def test_size_and_range(height, width):
    out = buckets.square(torch.rand(height, width, 3), 64)
    assert out.shape == (64, 64, 3)
    assert out.min() >= 0
    assert out.max() <= 1


def test_a_picture_of_the_right_size_is_left_alone():
    picture = torch.rand(64, 64, 3)
    assert torch.equal(buckets.square(picture, 64), picture)


def test_the_middle_is_kept():
    picture = torch.zeros(64, 192, 3)
    picture[:, 64:128] = 1.0  # the middle third is white
    assert buckets.square(picture, 64)[:, 2:-2].min() > 0.99
    assert buckets.square(picture.transpose(0, 1), 64)[2:-2].min() > 0.99
