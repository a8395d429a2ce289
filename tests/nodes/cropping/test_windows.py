"""What of a picture fills a bucket."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from isengard.nodes.cropping import windows
from isengard.nodes.cropping.windows import BUCKETS, SQUARE, WindowError
from isengard.nodes.dataset.records import Box
from isengard.trainers import buckets

SIZES = st.tuples(st.integers(16, 3000), st.integers(16, 3000))
SETTINGS = st.sampled_from([(512, 64), (1024, 64), (768, 32), (128, 8), (1024, 8)])
LIMITS = st.floats(1, 5)


@st.composite
def boxes_in(draw, size):
    left, top = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return Box(left, top, draw(st.integers(left + 1, size[0])), draw(st.integers(top + 1, size[1])))


PICTURES = SIZES.flatmap(lambda size: st.tuples(st.just(size), boxes_in(size)))


def inside(box: Box, size: tuple[int, int]) -> bool:
    return 0 <= box.left < box.right <= size[0] and 0 <= box.top < box.bottom <= size[1]


def lost(size: tuple[int, int], bucket: tuple[int, int]) -> float:
    """The most rows or columns of a picture that `buckets.cut` cuts off."""
    scale = max(bucket[0] / size[1], bucket[1] / size[0])
    return max(size[1] - bucket[0] / scale, size[0] - bucket[1] / scale)


@given(PICTURES, SETTINGS, LIMITS)
def test_a_window_is_inside_and_of_its_buckets_shape(picture, setting, limit):
    size, subject = picture
    window = windows.best(size, subject, buckets.bucket_sizes(*setting), limit)
    assert inside(window.box, size)
    assert all(type(side) is int for side in window.box), "JSON takes no others"
    assert lost(window.box.size, window.bucket) <= 1
    assert size[0] in window.box.size[:1] or size[1] in window.box.size[1:], "as large as can be"


@given(SIZES, st.sampled_from(buckets.bucket_sizes(1024, 64)))
def test_every_bucket_has_a_window_of_its_shape(size, bucket):
    assert lost(windows.best(size, windows.centre(size), [bucket], 1.5).box.size, bucket) <= 1


@given(PICTURES, SETTINGS, LIMITS)
def test_the_training_cuts_no_more_off(picture, setting, limit):
    size, subject = picture
    window = windows.best(size, subject, buckets.bucket_sizes(*setting), limit)
    width, height = window.box.size
    trained = buckets.size_of(height, width, *setting)
    if min(size) >= 300:  # the buckets differ by more than a pixel
        assert trained == window.bucket
    assert lost((width, height), trained) <= 2.5, "the longest side for a pixel of the shortest"


@given(PICTURES, SETTINGS, LIMITS)
def test_a_subject_is_in_frame_where_any_bucket_can_hold_it(picture, setting, limit):
    size, subject = picture
    sizes = buckets.bucket_sizes(*setting)
    scales = [(min(size[0] / columns, size[1] / rows), rows, columns) for rows, columns in sizes]
    wide, high = subject.size
    can = any(wide < scale * columns - 0.5 and high < scale * rows - 0.5 for scale, rows, columns in scales)
    assume(can)
    assert windows.holds(windows.best(size, subject, sizes, limit).box, subject)


@given(PICTURES, SETTINGS)
def test_a_subject_is_in_the_middle_unless_the_border_is_in_the_way(picture, setting):
    size, subject = picture
    box = windows.best(size, subject, buckets.bucket_sizes(*setting), 1.5).box
    assume(windows.holds(box, subject))
    for first in (0, 1):
        off = (box[first] + box[first + 2]) - (subject[first] + subject[first + 2])
        at_border = {-1: box[first + 2] == size[first], 1: box[first] == 0}
        assert abs(off) <= 1 or at_border[int(math.copysign(1, off))]


@given(PICTURES, SETTINGS)
def test_nothing_is_lost_for_a_subject_that_every_window_holds(picture, setting):
    size, _ = picture
    sizes = buckets.bucket_sizes(*setting)
    window = windows.best(size, windows.centre(size), sizes, 1000)
    areas = [min(size[0] / columns, size[1] / rows) ** 2 * rows * columns for rows, columns in sizes]
    assert math.prod(window.box.size) >= max(areas) - max(size)


@given(PICTURES, SETTINGS, LIMITS, LIMITS)
def test_a_higher_limit_never_loses_a_picture(picture, setting, one, other):
    size, subject = picture
    sizes = buckets.bucket_sizes(*setting)
    strict, lax = (
        windows.is_enough(windows.best(size, subject, sizes, limit), limit) for limit in sorted([one, other])
    )
    assert lax or not strict


@given(PICTURES, SETTINGS, LIMITS)
def test_the_limit_is_kept(picture, setting, limit):
    size, subject = picture
    window = windows.best(size, subject, buckets.bucket_sizes(*setting), limit)
    if windows.is_enough(window, limit):
        assert window.enlargement <= limit + 1e-6
    else:
        assert window.enlargement > limit - 1e-6


@st.composite
def cropped(draw):
    """A picture, what is shown of it, and a subject in that."""
    size, shown = draw(PICTURES)
    inner = draw(boxes_in(shown.size))
    return size, shown, windows.moved(inner, shown.left, shown.top)


@given(cropped(), SETTINGS, LIMITS)
def test_what_grows_stays_inside_and_shows_what_was_shown(picture, setting, limit):
    size, shown, subject = picture
    sizes = buckets.bucket_sizes(*setting)
    within = windows.moved(subject, -shown.left, -shown.top)
    before = windows.best(shown.size, within, sizes, limit)
    window = windows.grown(size, shown, subject, sizes, limit)
    if window is None:
        assert not windows.is_enough(windows.best(size, windows.centre(size), sizes, limit), limit)
        return
    assert inside(window.box, size)
    assert windows.is_enough(window, limit)
    assert lost(window.box.size, window.bucket) <= 1
    if windows.holds(before.box, within) and window.bucket == before.bucket:
        assert windows.holds(window.box, subject)
    assert max(window.box.size) <= max(*shown.size, *(math.ceil(side / limit) for side in window.bucket))


@given(cropped(), SETTINGS, LIMITS, LIMITS)
def test_a_higher_limit_never_loses_a_picture_that_grows(picture, setting, one, other):
    size, shown, subject = picture
    sizes = buckets.bucket_sizes(*setting)
    strict, lax = (windows.grown(size, shown, subject, sizes, limit) for limit in sorted([one, other]))
    assert lax or not strict


def test_the_bucket_that_holds_the_subject_is_taken_though_it_loses_more():
    """A tall figure in a nearly square picture."""
    sizes = buckets.bucket_sizes(512, 64)
    assert windows.best((1000, 1020), Box(450, 400, 550, 500), sizes, 1.5).bucket == (512, 512)
    tall = windows.best((1000, 1020), Box(450, 0, 550, 1020), sizes, 1.5)
    assert tall.bucket == (576, 448)
    assert tall.box == (103, 0, 897, 1020)


def test_the_subject_is_followed_to_the_border():
    square = [(512, 512)]
    assert windows.best((1000, 500), Box(700, 100, 800, 200), square, 1.5).box == (500, 0, 1000, 500)
    assert windows.best((1000, 500), Box(300, 100, 400, 200), square, 1.5).box == (100, 0, 600, 500)
    assert windows.best((1000, 500), windows.centre((1000, 500)), square, 1.5).box == (250, 0, 750, 500)


def test_of_a_subject_that_is_too_tall_the_head_is_kept():
    assert windows.best((500, 2000), Box(0, 300, 500, 1900), [(512, 512)], 1.5).box == (0, 300, 500, 800)
    wide = windows.best((2000, 500), Box(300, 0, 1900, 500), [(512, 512)], 1.5)
    assert wide.box == (850, 0, 1350, 500)


def test_a_small_crop_grows_about_its_middle():
    window = windows.grown((2000, 1000), Box(100, 400, 300, 600), Box(150, 450, 250, 550), [(512, 512)], 2)
    assert window.box == (72, 372, 328, 628)
    at_border = windows.grown((2000, 1000), Box(0, 0, 200, 200), Box(0, 0, 100, 100), [(512, 512)], 2)
    assert at_border.box == (0, 0, 256, 256)
    assert windows.grown((200, 1000), Box(0, 0, 200, 200), Box(0, 0, 100, 100), [(512, 512)], 2) is None


def test_where_a_limit_divides_evenly_the_window_is_enough():
    """1344 / 1.4 is a little above 960 in floating point."""
    assert windows.is_enough(windows.Window(Box(0, 0, 960, 960), (1344, 1344)), 1.4)
    assert not windows.is_enough(windows.Window(Box(0, 0, 959, 960), (1344, 1344)), 1.4)


def test_sizes_are_those_of_the_training():
    assert windows.bucket_sizes(BUCKETS, 512, 64) == buckets.bucket_sizes(512, 64)
    assert windows.bucket_sizes(SQUARE, 512, 64) == [(512, 512)]
    for resolution, step, named in [(500, 64, "resolution is 500"), (512, 20, "bucket_step is 20"), (0, 8, "is 0")]:
        with pytest.raises(WindowError, match=f"{named}; it must be a multiple of 8"):
            windows.bucket_sizes(BUCKETS, resolution, step)


@pytest.mark.parametrize("size", [(1000, 900), (901, 1603), (333, 777)])
def test_the_trainers_own_cut_shows_the_window(size):
    """Pixels hold their own place, and come out where they were, scaled."""
    window = windows.best(size, Box(10, 10, 60, 200), buckets.bucket_sizes(512, 64), 100)
    left, top, right, bottom = window.box
    down, across = torch.meshgrid(torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5, indexing="ij")
    picture = torch.stack([down / 4000, across / 4000], -1)
    height, width = buckets.size_of(bottom - top, right - left, 512, 64)
    assert (height, width) == window.bucket
    cut = buckets.cut(picture, height, width) * 4000
    step = (bottom - top) / height
    assert cut[0, 0].tolist() == pytest.approx([top + step / 2, left + step / 2], abs=1.5)
    assert cut[-1, -1].tolist() == pytest.approx([bottom - step / 2, right - step / 2], abs=1.5)
