from __future__ import annotations

import pytest
import torch

from isengard.trainers import buckets


@pytest.mark.parametrize("height, width", [(64, 64), (100, 37), (37, 100), (257, 255), (5, 300)])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_size_and_range(height, width, size):
    out = buckets.cut(torch.rand(height, width, 3), *size)
    assert out.shape == (*size, 3)
    assert out.min() >= 0
    assert out.max() <= 1


def test_a_picture_of_the_right_size_is_left_alone():
    picture = torch.rand(48, 64, 3)
    assert torch.equal(buckets.cut(picture, 48, 64), picture)


def test_the_middle_is_kept():
    picture = torch.zeros(64, 192, 3)
    picture[:, 64:128] = 1.0  # the middle third is white
    assert buckets.cut(picture, 64, 64)[:, 2:-2].min() > 0.99
    assert buckets.cut(picture.transpose(0, 1), 64, 64)[2:-2].min() > 0.99


@pytest.mark.parametrize(("resolution", "step"), [(512, 64), (1024, 64), (128, 8), (768, 32)])
def test_buckets_fill_the_area_and_no_more(resolution, step):
    sizes = buckets.bucket_sizes(resolution, step)
    assert (resolution, resolution) in sizes
    assert {(width, height) for height, width in sizes} == set(sizes)
    for height, width in sizes:
        assert height % step == width % step == 0
        assert resolution**2 * 0.75 < height * width <= resolution**2


def test_the_sizes_of_sd15_are_those_people_know():
    assert buckets.bucket_sizes(512, 64) == [
        (768, 320), (704, 320), (640, 384), (576, 448), (512, 512), (448, 576), (384, 640), (320, 704), (320, 768),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(1000, 1000, (512, 512)), (1500, 1000, (640, 384)), (1080, 1920, (384, 640)), (1200, 1000, (576, 448)),
     (3000, 1000, (768, 320)), (100, 99, (512, 512))],
)  # fmt: skip
def test_a_picture_goes_to_the_bucket_of_its_aspect_ratio(height, width, size):
    assert buckets.size_of(height, width, 512, 64) == size


def test_little_is_cut_off():
    """No picture of up to 2.4 to 1 loses more than a sixth."""
    for width in range(420, 2400, 20):
        height, wide = buckets.size_of(1000, width, 1024, 64)
        scale = max(height / 1000, wide / width)
        assert height * wide / (1000 * scale * width * scale) > 5 / 6
