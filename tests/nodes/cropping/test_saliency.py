"""What stands out: on drawn figures whose place is known, and on photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isengard.nodes.cropping import saliency
from isengard.nodes.cropping.framing import overlap
from isengard.nodes.dataset.records import Box
from isengard.tests.nodes.cropping.scenes import PLAIN, TEXTURED, held, scenes


@pytest.mark.parametrize("backgrounds, mean, most_held", [(PLAIN, 0.92, 0.9), (TEXTURED, 0.75, 0.8)])
def test_figures_are_found_wherever_they_are(backgrounds, mean, most_held):
    found = [(scene.box, saliency.find(scene.picture)[0]) for scene in scenes(backgrounds, 32)]
    assert np.mean([overlap(*pair) for pair in found]) > mean
    assert np.mean([held(*pair) > 0.9 for pair in found]) > most_held


def photograph(name: str) -> Image.Image:
    """Of scikit-image's, by the file alone: the package has requirements of its own."""
    found = importlib.util.find_spec("skimage")
    file = Path(found.submodule_search_locations[0], "data", name) if found else Path(name)
    if not file.is_file():
        pytest.skip("scikit-image's photographs are not installed")
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize(
    "name, subject, most_held, like",
    [
        ("astronaut.png", Box(20, 15, 365, 512), 0.95, 0.6),
        ("camera.png", Box(0, 64, 340, 512), 0.95, 0.9),
        ("chelsea.png", Box(0, 0, 430, 300), 0.45, 0.45),  # cut by three borders
        ("coffee.png", Box(77, 18, 478, 386), 0.95, 0.8),
        ("horse.png", Box(17, 8, 389, 313), 0.95, 0.95),
        ("rocket.jpg", Box(267, 128, 370, 425), 0.95, 0.2),  # with the masts beside it
    ],
)
def test_photographs(name, subject, most_held, like):
    found, _ = saliency.find(photograph(name))
    assert held(subject, found) > most_held
    assert overlap(subject, found) > like


@pytest.mark.parametrize("colour", ["white", "black", "teal"])
def test_a_picture_that_is_the_same_all_over_has_no_subject(colour):
    assert saliency.find(Image.new("RGB", (300, 200), colour)) is None


def test_grain_is_no_subject():
    generator = np.random.default_rng(0)
    grain = (200 + generator.normal(0, 6, (400, 600, 3))).clip(0, 255).astype(np.uint8)
    assert saliency.find(Image.fromarray(grain)) is None


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 5))
@settings(max_examples=50)
def test_a_box_is_inside_whatever_the_picture(width, height, seed):
    values = np.random.default_rng(seed).integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), np.uint8)
    found = saliency.find(Image.fromarray(values).resize((width, height)))
    if found is None:
        return
    box, shape = found
    assert all(type(side) is int for side in box), "JSON takes no others"
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
    assert shape.any()


def test_the_box_follows_the_subject():
    """Turned, so is the box; another size, so is the box."""
    (scene,) = scenes(("gradient",), 1, seed=3)
    box, _ = saliency.find(scene.picture)
    width, height = scene.picture.size
    turned, _ = saliency.find(scene.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert overlap(turned, Box(width - box.right, box.top, width - box.left, box.bottom)) > 0.9
    half, _ = saliency.find(scene.picture.resize((width // 2, height // 2), Image.Resampling.BOX))
    assert overlap(Box(*(2 * side for side in half)), box) > 0.9


def slowly(shape: np.ndarray) -> float:
    """The greatest sum over all boxes."""
    gain = np.where(shape, 1.0, -saliency._EMPTY)
    rows, columns = gain.shape
    return max(
        gain[top:bottom, left:right].sum()
        for top in range(rows)
        for bottom in range(top + 1, rows + 1)
        for left in range(columns)
        for right in range(left + 1, columns + 1)
    )


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 1000))
@settings(max_examples=50)
def test_the_densest_box_is_that_of_all_boxes(rows, columns, seed):
    shape = np.random.default_rng(seed).random((rows, columns)) < 0.3
    shape[0, 0] |= not shape.any()
    left, top, right, bottom = saliency.densest(shape)
    gain = np.where(shape, 1.0, -saliency._EMPTY)
    assert gain[top:bottom, left:right].sum() == pytest.approx(slowly(shape))


def test_far_specks_are_left_out_and_thin_limbs_are_not():
    shape = np.zeros((90, 90), bool)
    shape[30:60, 30:50] = True
    shape[32:34, 50:54] = True  # an arm
    shape[26:30, 33] = True  # hair
    shape[50, :30] = shape[60:, 40] = True  # lines to the border
    shape[2, 2] = True
    box = saliency.densest(shape)
    assert box == (30, 30, 50, 60)
    assert saliency.stretched(box, shape) == (25, 26, 54, 67)


def test_lab_has_the_values_of_the_standard():
    """White, black, and sRGB's primaries (values of colour.science)."""
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.2, 80.1, 67.2], [87.7, -86.2, 83.2], [32.3, 79.2, -107.9]]
    assert saliency.lab(colours) == pytest.approx(np.array(expected), abs=0.3)


def test_otsu_parts_two_heaps():
    values = np.concatenate([np.full(700, 0.2), np.full(300, 0.8)])
    assert 0.2 < saliency.otsu(values) < 0.8
