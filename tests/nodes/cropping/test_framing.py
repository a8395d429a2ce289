"""From a subject to its frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.cropping import framing
from isengard.nodes.cropping.framing import BUST, FACE, FIGURE, FRAMINGS, FULL, Framing
from isengard.nodes.cropping.subject import Subject
from isengard.nodes.cropping.windows import holds
from isengard.nodes.dataset.records import Box

SIZE = (1000, 2000)


def standing(arm: int = 0, scale: int = 1) -> Subject:
    """A figure of 1500 pixels and 7.5 heads, 400 from the left: the head 200 high; an arm to the right."""
    shape = np.zeros((2000, 1000), bool)
    shape[200:400, 330:470] = True  # the head
    shape[400:1700, 230:570] = True
    shape[500:540, 570 : 570 + arm] = True
    return Subject(Box(230, 200, 570 + arm, 1700), shape[::scale, ::scale])


def frames(subject: Subject, **more) -> dict[str, Box]:
    return framing.frames(subject, SIZE, Framing(**{"names": FRAMINGS, "margin": 0.0} | more))


def test_a_figure_has_a_face_a_bust_and_all_of_it():
    found = frames(standing())
    assert list(found) == ["face", "bust", "full"]
    assert found[FACE] == (300, 200, 500, 400), "the head"
    assert found[BUST].top == 200
    assert 1.9 * 200 < found[BUST].bottom - 200 < 2.3 * 200, "to the chest"
    assert found[BUST].left < 230 < 570 < found[BUST].right, "with the shoulders"
    assert found[FULL] == (230, 200, 570, 1700)


@pytest.mark.parametrize("scale", [1, 10, 21])
def test_the_head_is_found_beside_the_middle(scale):
    """An arm moves the middle of the box, not that of the head."""
    head = framing.head_of(standing(arm=200, scale=scale), SIZE, Framing())
    assert head.middle == pytest.approx(400, abs=scale)
    assert framing.head_of(Subject(Box(230, 200, 770, 1700)), SIZE, Framing()).middle == 500


def test_of_a_picture_that_ends_at_the_chest_the_head_is_larger():
    """Shoulders 388 wide are those of a head of 200, whatever the height of the box."""
    found = frames(Subject(Box(306, 1500, 694, 2000)))
    assert found[FACE].size == pytest.approx((200, 200), abs=3)
    assert found[BUST].size == pytest.approx((388, 419), abs=3)


def test_a_drawn_head_is_as_high_as_it_is_wide():
    """A bust with a head of 300 on shoulders of 400, of which proportions alone would make 207."""
    shape = np.zeros((2000, 1000), bool)
    shape[1500:1800, 350:650] = True
    shape[1800:2000, 300:700] = True
    box = Box(300, 1500, 700, 2000)
    assert frames(Subject(box, shape))[FACE] == (350, 1500, 650, 1800)
    assert frames(Subject(box))[FACE].size == pytest.approx((207, 207), abs=2)


def test_a_mask_that_is_painted_as_a_block_says_nothing_of_the_head():
    shape = np.zeros((2000, 1000), bool)
    shape[200:1700, 300:640] = True
    box = Box(300, 200, 640, 1700)
    assert framing.head_of(Subject(box, shape), SIZE, Framing()) == framing.head_of(Subject(box), SIZE, Framing())


def test_a_head_is_no_higher_than_all_of_the_figure():
    """One that lies."""
    shape = np.zeros((2000, 1000), bool)
    shape[500:600, 100:800] = True
    shape[560:700, 100:900] = True
    assert framing.head_of(Subject(Box(100, 500, 900, 700), shape), SIZE, Framing(heads=40)).height == 200


def test_a_framing_that_shows_what_a_closer_one_does_is_left_out():
    """The bust is all there is, but for a little."""
    assert list(frames(Subject(Box(300, 1570, 700, 2000)))) == [FACE, BUST]
    assert list(frames(Subject(Box(300, 1570, 700, 2000)), names=(FACE, FULL))) == [FACE, FULL]
    assert list(frames(Subject(Box(300, 1400, 700, 2000)))) == [FACE, BUST, FULL]


def test_a_face_is_part_of_a_head():
    """Detectors box it from the hairline to the chin."""
    found = frames(Subject(Box(340, 240, 460, 400)), kind=FACE)
    assert found[FACE] == (300, 200, 500, 400)
    assert found[BUST].top == 200
    assert found[FULL] == (25, 200, 775, 1700), "seven and a half heads"


def test_chibi_figures_have_large_heads():
    found = frames(Subject(Box(300, 500, 600, 1400)), heads=3)
    assert found[FACE] == (300, 500, 600, 800)
    assert 1.2 * 300 < found[BUST].bottom - 500 < 1.5 * 300


def test_the_margin_is_on_every_side_and_ends_at_the_border():
    assert frames(standing(), names=(FULL,), margin=0.1)[FULL] == (80, 50, 720, 1850)
    assert frames(standing(), names=(FULL,), margin=1)[FULL] == (0, 0, 1000, 2000)


def test_every_set_has_its_framings_closest_first():
    assert framing.SETS["face + bust + full"] == FRAMINGS
    assert all(names == tuple(name for name in FRAMINGS if name in names) for names in framing.SETS.values())
    assert len(set(framing.SETS.values())) == len(framing.SETS) == 7


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.data(), st.sampled_from([FIGURE, FACE]),
    st.floats(1, 12), st.floats(0, 2), st.booleans(),
)  # fmt: skip
def test_frames_are_inside_and_show_the_subject(width, height, data, kind, heads, margin, has_shape):
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    shape = np.zeros((height // 7 + 1, width // 3 + 1), bool)
    shape[box.top // 7 : box.bottom // 7 + 1, box.left // 3 : box.right // 3 + 1] = True
    subject = Subject(box, shape if has_shape else None)
    found = framing.frames(subject, (width, height), Framing(FRAMINGS, kind, heads, margin))
    assert found
    for frame in found.values():
        assert all(type(side) is int for side in frame), "JSON takes no others"
        assert 0 <= frame.left < frame.right <= width
        assert 0 <= frame.top < frame.bottom <= height
    widest = list(found.values())[-1]
    assert framing.overlap(widest, box) > 0
    if FULL in found and kind == FIGURE:
        assert holds(found[FULL], box)
