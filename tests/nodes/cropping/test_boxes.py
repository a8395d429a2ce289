"""Boxes in the forms that detector nodes have."""

from __future__ import annotations

import json
import math
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.cropping import boxes
from isengard.nodes.cropping.boxes import ALL, AUTO, CORNERS, LARGEST, SIZED, SUREST, BoxError, Detection
from isengard.nodes.dataset.records import Box

SEG = namedtuple(  # as Impact Pack has it
    "SEG",
    ["cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label", "control_net_wrapper"],
    defaults=[None],
)
FOUND = Detection(10.0, 20.0, 40.0, 80.0)


class Face(dict):
    """As insightface has it: what is missing is None."""

    __getattr__ = dict.get


def segs(*found, size=(100, 100)):
    segments = [SEG(None, None, np.array([score]), (0, 0, 99, 99), np.array(box), "face") for *box, score in found]
    return size, segments


@pytest.mark.parametrize(
    "value",
    [
        {"x": 10, "y": 20, "width": 30, "height": 60},
        [{"x": 10.0, "y": 20.0, "width": 30.0, "height": 60.0}],
        [[{"x": 10, "y": 20, "width": 30, "height": 60, "label": "face"}]],
        {"x": 10, "y": 20, "w": 30, "h": 60},
        {"x1": 10, "y1": 20, "x2": 40, "y2": 80},
        {"x0": 10, "y0": 20, "x1": 40, "y1": 80},
        {"left": 10, "top": 20, "right": 40, "bottom": 80},
        {"left": 10, "top": 20, "width": 30, "height": 60},
        {"xmin": torch.tensor(10), "ymin": np.float32(20), "xmax": np.int64(40), "ymax": 80},
        {"bbox_xyxy": np.array([10, 20, 40, 80])},
        {"xywh": [10, 20, 30, 60]},
        {"box": {"x": 10, "y": 20, "width": 30, "height": 60}},
        {"boxes": [{"x": 10, "y": 20, "width": 30, "height": 60}]},
        json.dumps({"x": 10, "y": 20, "width": 30, "height": 60}),
        json.dumps([[{"left": 10, "top": 20, "right": 40, "bottom": 80}]]),
        SimpleNamespace(bbox=[10, 20, 40, 80]),
        Face(bbox=np.array([10, 20, 40, 80], np.float32), kps=None),
    ],
)
def test_boxes_that_name_their_numbers(value):
    assert boxes.of_pictures([value], 1) == [[FOUND]]


@pytest.mark.parametrize("form, numbers", [(CORNERS, (10, 20, 40, 80)), (SIZED, (10, 20, 30, 60))])
@pytest.mark.parametrize(
    "made",
    [
        list,
        tuple,
        lambda numbers: [numbers],
        lambda numbers: [[list(numbers)]],
        torch.tensor,
        lambda numbers: torch.tensor(numbers)[None].float(),
        np.array,
        lambda numbers: [np.float32(number) for number in numbers],
        lambda numbers: [torch.tensor(number) for number in numbers],
        lambda numbers: json.dumps(list(numbers)),
        lambda numbers: {"bbox": list(numbers)},
        lambda numbers: {"bboxes": [list(numbers)], "labels": ["face"]},
    ],
)
def test_numbers_without_names_mean_what_is_said(form, numbers, made):
    assert boxes.of_pictures([made(numbers)], 1, form) == [[FOUND]]
    with pytest.raises(BoxError, match=r"numbers without names\. Say in box_format"):
        boxes.of_pictures([made(numbers)], 1, AUTO)


def test_segs_say_what_picture_they_are_of():
    ((found,),) = boxes.of_pictures([segs((10, 20, 40, 80, 0.5), size=(90, 100))], 1)
    assert found == Detection(10, 20, 40, 80, 0.5, (100, 90))
    assert boxes.chosen([found], (100, 90)) == (10, 20, 40, 80)
    with pytest.raises(BoxError, match=r"of a picture of 100 x 90 pixels, and it is 100 x 100 pixels"):
        boxes.chosen([found], (100, 100))
    assert boxes.of_pictures([segs()], 1) == [[]]


@pytest.mark.parametrize(
    "value",
    [
        {"x": 10, "y": 20, "width": 30, "height": 60, "score": 0.25},
        {"x": 10, "y": 20, "width": 30, "height": 60, "confidence": torch.tensor([0.25])},
        {"xyxy": [10, 20, 40, 80], "conf": 0.25},
        Face(bbox=np.array([10, 20, 40, 80]), det_score=np.float32(0.25)),
        SEG(None, None, 0.25, (), [10, 20, 40, 80], ""),
    ],
)
def test_scores_are_found(value):
    assert boxes.of_pictures([value], 1)[0][0].score == 0.25


def test_rows_of_yolo_have_a_score_and_a_class():
    rows = torch.tensor([[10, 20, 40, 80, 0.25, 0], [1, 2, 3, 4, 0.5, 0]])
    assert [each.score for each in boxes.of_pictures([rows], 1, CORNERS)[0]] == [0.25, 0.5]


ONE, OTHER = {"x": 0, "y": 0, "width": 5, "height": 5}, {"x": 1, "y": 1, "width": 5, "height": 5}


@pytest.mark.parametrize(
    "given, count, counts",
    [
        ([ONE, OTHER, ONE], 3, [1, 1, 1]),  # a detector that ran once for each picture
        ([[ONE], [], [ONE, OTHER]], 3, [1, 0, 2]),
        ([[[ONE]], None, [[ONE, OTHER]]], 3, [1, 0, 2]),
        ([[[ONE], [], [ONE, OTHER]]], 3, [1, 0, 2]),  # one that ran once for all
        ([json.dumps([[ONE], [], [ONE, OTHER]])], 3, [1, 0, 2]),
        ([torch.ones(3, 2, 4)], 3, [2, 2, 2]),
        ([segs((1, 2, 3, 4, 0.5)), segs()], 2, [1, 0]),
        ([[segs((1, 2, 3, 4, 0.5)), segs()]], 2, [1, 0]),
        ([ONE], 3, [1, 1, 1]),  # one for all
        ([ONE, OTHER], 1, [2]),  # all of one picture
        ([[ONE, OTHER]], 1, [2]),
        ([], 0, []),
    ],
)
def test_each_picture_has_its_boxes(given, count, counts):
    assert [len(found) for found in boxes.of_pictures(given, count, CORNERS)] == counts


@pytest.mark.parametrize(
    "given, boxes_for",
    [([[ONE], [ONE]], 2), ([[[ONE], [ONE]]], 2), ([segs((1, 2, 3, 4, 0.5))], 1), ([{"bboxes": [[1, 2, 3, 4]]}], 1)],
)
def test_another_number_of_pictures_is_told(given, boxes_for):
    with pytest.raises(BoxError, match=f"there are 3 pictures and boxes for {boxes_for}"):
        boxes.of_pictures(given, 3)


def test_no_boxes_at_all_are_told():
    with pytest.raises(BoxError, match="no boxes are connected"):
        boxes.of_pictures(None, 3)


@pytest.mark.parametrize(
    "value",
    ["face", 5, True, [1, 2, 3], [True, False, True, False], {}, {"x": 1, "y": 2}, {"bbox": "left"}, object(),
     {"x": "1", "y": 2, "width": 3, "height": 4}, {"x1": None, "y1": 2, "x2": 3, "y2": 4}, '{"x": 1', b"123",
     SimpleNamespace(bbox=[1, 2, 3]), torch.ones(4, 3)],
)  # fmt: skip
def test_what_is_no_box_is_told(value):
    with pytest.raises(BoxError, match=r"is no box\. Boxes are four numbers"):
        boxes.of_pictures([value], 1, CORNERS)


def test_what_is_no_box_is_not_told_at_length():
    with pytest.raises(BoxError) as raised:
        boxes.of_pictures(["word " * 10_000], 1)
    assert len(str(raised.value)) < 300


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "corners, message",
    [
        ((NAN, 0, 5, 5), "is not finite"),
        ((0, 0, INF, 5), "is not finite"),
        ((5, 5, 5, 9), "is empty or smaller than a pixel"),
        ((5, 5, 3, 9), "is empty or smaller than a pixel.*x, y, width, height"),
        ((0.1, 0.1, 0.6, 0.9), "smaller than a pixel. Boxes are in pixels"),
        ((30, 10, 60, 20), "is of a picture of another size, and it is 50 x 40 pixels"),
        ((-20, 10, 20, 20), "is of a picture of another size"),
        ((0, 30, 20, 50), "is of a picture of another size"),
        ((0, -30, 20, -10), "is of a picture of another size"),
        ((-1e300, 0, 1e300, 5), "is of a picture of another size"),
    ],
)
@pytest.mark.parametrize("others", [[], [Detection(0, 0, 50, 40)]])
def test_boxes_are_never_trusted(corners, message, others):
    """Not even those that would not be taken."""
    with pytest.raises(BoxError, match=message):
        boxes.chosen([*others, Detection(*corners)], (50, 40))


def test_what_a_detector_adds_beyond_the_border_is_cut_off():
    assert boxes.chosen([Detection(-1.5, -0.2, 20, 41)], (50, 40)) == (0, 0, 20, 40)


def test_of_several_boxes_one_or_all_count():
    found = [Detection(0, 0, 10, 10, 0.5), Detection(20, 0, 40, 20, 0.7), Detection(5, 30, 10, 35, 0.9)]
    assert boxes.chosen(found, (50, 40), LARGEST) == (20, 0, 40, 20)
    assert boxes.chosen(found, (50, 40), SUREST) == (5, 30, 10, 35)
    assert boxes.chosen(found, (50, 40), ALL) == (0, 0, 40, 35)
    assert [boxes.chosen([], (50, 40), choice) for choice in boxes.CHOICES] == [None, None, None]


def test_without_scores_none_is_the_highest():
    found = [Detection(0, 0, 10, 10, 0.5), Detection(20, 0, 40, 20)]
    with pytest.raises(BoxError, match="have no score"):
        boxes.chosen(found, (50, 40), SUREST)
    assert boxes.chosen(found[1:], (50, 40), SUREST) == (20, 0, 40, 20)


@st.composite
def pictures_with_a_box(draw):
    """A picture's size, and a box inside by its corners."""
    width, height = draw(st.integers(2, 5000)), draw(st.integers(2, 5000))
    left, top = draw(st.floats(0, width - 1.1)), draw(st.floats(0, height - 1.1))
    right, bottom = (
        draw(st.floats(left + 1.01, max(left + 1.01, width))),
        draw(st.floats(top + 1.01, max(top + 1.01, height))),
    )
    return (width, height), (left, top, right, bottom)


@given(pictures_with_a_box())
def test_a_box_inside_is_kept_whole_and_inside(given):
    size, corners = given
    box = boxes.chosen([Detection(*corners)], size)
    assert all(type(side) is int for side in box), "JSON takes no others"
    assert box.left <= corners[0] < box.left + 1
    assert box.top <= corners[1] < box.top + 1
    assert box.right >= min(corners[2], size[0]) > box.right - 1
    assert box.bottom >= min(corners[3], size[1]) > box.bottom - 1
    assert Box(0, 0, *size).right >= box.right
    assert box.bottom <= size[1]


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["x", "y", "width", "height", "bbox", "boxes", "score", "x1"]), inner)
    ),
    max_leaves=12,
)


@given(st.lists(_JUNK, min_size=1, max_size=3), st.integers(0, 3), st.sampled_from(boxes.FORMS))
def test_anything_is_a_box_or_told(given, count, form):
    try:
        found = boxes.of_pictures(given, count, form)
        for each in found:
            boxes.chosen(each, (100, 100), SUREST)
    except BoxError:
        return
    assert len(found) == count
