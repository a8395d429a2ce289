"""Where the subject is: by mask, by transparency, by boxes."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from isengard.nodes.cropping import boxes, subject
from isengard.nodes.cropping.subject import CENTRE, NoSubject, Search
from isengard.nodes.dataset import folder, lists
from isengard.nodes.dataset.images import UnreadableImage
from isengard.nodes.dataset.records import Box, Dataset, Mask, Origin, Sample


def of_file(path, image: Image.Image, **options) -> Sample:
    image.save(path, **options)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Sample(path.name, path, image.size, ("mira",), Origin(path.name, sha256))


def with_mask(values) -> Sample:
    mask = torch.tensor(values)
    height, width = mask.shape
    return Sample(
        "a", torch.zeros(1, height, width, 3), (width, height), (), Origin("a", "0" * 64), Mask(mask, "1" * 64)
    )


def test_the_subject_is_what_is_white_in_the_mask():
    sample = with_mask([[0.0, 0.2, 0, 0], [0, 0.6, 1, 0], [0, 0, 0.6, 0], [0, 0, 0, 0]])
    found = subject.by_mask(sample)
    assert found.box == (1, 1, 3, 3)
    assert all(type(side) is int for side in found.box), "JSON takes no others"
    assert found.shape.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert subject.by_mask(sample, 0.2).box == (1, 0, 3, 3)
    assert subject.by_mask(sample, 1.0).box == (2, 1, 3, 2)


def test_a_mask_is_looked_at_where_the_picture_is_shown():
    """A second white spot lies outside of the box."""
    sample = with_mask([[1.0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]])
    shown = dataclasses.replace(sample, box=Box(2, 0, 5, 3), size=(3, 3))
    assert subject.by_mask(shown).box == (1, 1, 2, 3)


def test_without_a_white_mask_there_is_no_subject():
    with pytest.raises(NoSubject, match="its mask is nowhere white"):
        subject.by_mask(with_mask([[0.0, 0.4]]))
    with pytest.raises(NoSubject, match="it has no mask"):
        subject.by_mask(dataclasses.replace(with_mask([[0.0]]), mask=None))


def see_through(box: tuple[int, int, int, int], size=(8, 6), opacity=255) -> Image.Image:
    image = Image.new("RGBA", size, (255, 0, 0, 0))
    image.paste((255, 0, 0, opacity), box)
    return image


@pytest.mark.parametrize("transparency", ["white", "black", "mask"])
def test_the_subject_is_what_is_opaque_in_the_file(tmp_path, transparency):
    """Whatever the data set shows below."""
    see_through((2, 1, 5, 6)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("mira")
    (sample,) = folder.load(tmp_path, "x", folder.Options(transparency=transparency)).dataset.samples
    assert subject.by_alpha(sample).box == (2, 1, 5, 6)
    shown = dataclasses.replace(sample, box=Box(3, 0, 8, 4), size=(5, 4))
    assert subject.by_alpha(shown).box == (0, 1, 2, 4)


def test_transparency_counts_from_the_threshold_on(tmp_path):
    image = see_through((2, 1, 5, 6))
    image.paste((255, 0, 0, 51), (7, 0, 8, 1))  # a fifth
    sample = of_file(tmp_path / "a.png", image)
    assert subject.by_alpha(sample).box == (2, 1, 5, 6)
    assert subject.by_alpha(sample, 0.2).box == (2, 0, 8, 6)


def test_transparency_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    sample = of_file(tmp_path / "a.png", see_through((0, 0, 3, 1)), exif=exif)
    assert subject.by_alpha(dataclasses.replace(sample, size=(6, 8))).box == (5, 0, 6, 3)


@pytest.mark.parametrize(
    "image, message",
    [
        (Image.new("RGB", (8, 6)), "nothing of it is transparent"),
        (Image.new("RGBA", (8, 6), (0, 0, 0, 255)), "nothing of it is transparent"),
        (Image.new("RGBA", (8, 6), (0, 0, 0, 9)), "all of it is transparent"),
    ],
)
def test_a_file_without_transparency_shows_no_subject(tmp_path, image, message):
    with pytest.raises(NoSubject, match=message):
        subject.by_alpha(of_file(tmp_path / "a.png", image))


def test_what_is_no_file_has_no_transparency():
    with pytest.raises(NoSubject, match="comes from a node"):
        subject.by_alpha(with_mask([[1.0]]))


def test_a_file_that_was_changed_is_told(tmp_path):
    sample = of_file(tmp_path / "a.png", see_through((2, 1, 5, 6)))
    see_through((0, 0, 1, 1)).save(tmp_path / "a.png")
    for find in (subject.by_alpha, subject.by_saliency):
        with pytest.raises(UnreadableImage, match="was changed after the data set was loaded"):
            find(sample)


def test_a_picture_that_is_the_same_all_over_has_no_subject(tmp_path):
    with pytest.raises(NoSubject, match="nothing in it stands out"):
        subject.by_saliency(of_file(tmp_path / "a.png", Image.new("RGB", (80, 60), "teal")))


def pictures(*sizes) -> Dataset:
    return lists.dataset_of("hero", [torch.rand(1, height, width, 3) for width, height in sizes])


def test_boxes_are_those_of_each_picture():
    dataset = pictures((40, 30), (20, 50), (60, 60))
    given = [[[1, 2, 30, 20], [0, 0, 3, 3]], [], [[5, 5, 10, 59.5]]]
    find = subject.finder(dataset, Search("boxes", form=boxes.CORNERS), given)
    assert find(dataset.samples[2]).box == (5, 5, 10, 60)
    assert find(dataset.samples[0]).box == (1, 2, 30, 20)
    assert find(dataset.samples[0]).shape is None
    with pytest.raises(NoSubject, match="nothing was detected"):
        find(dataset.samples[1])


def test_a_box_that_cannot_be_is_told_with_its_picture():
    dataset = pictures((40, 30), (20, 50))
    find = subject.finder(dataset, Search("boxes", form=boxes.CORNERS), [[1, 1, 9, 9], [1, 2, 30, 20]])
    find(dataset.samples[0])
    with pytest.raises(boxes.BoxError, match=r"hero 0002: its box \(1, 2, 30, 20\) is of a picture of another size"):
        find(dataset.samples[1])


def test_boxes_that_are_not_connected_are_told():
    with pytest.raises(boxes.BoxError, match="no boxes are connected"):
        subject.finder(pictures((4, 3)), Search("boxes"))


def test_the_choice_is_that_of_the_search():
    dataset = pictures((40, 30))
    given = [[[1, 2, 30, 20, 0.1], [0, 0, 3, 3, 0.9]]]
    search = Search("boxes", form=boxes.CORNERS, choice=boxes.SUREST)
    assert subject.finder(dataset, search, given)(dataset.samples[0]).box == (0, 0, 3, 3)


def test_every_method_finds():
    shape = np.zeros((60, 80), np.float32)
    shape[20:50, 10:40] = 1
    sample = with_mask(shape.tolist())
    sample = dataclasses.replace(sample, image=sample.mask.image[None, ..., None].expand(1, 60, 80, 3))
    dataset = Dataset("x", (sample,))
    given = [{"x": 10, "y": 20, "width": 30, "height": 30}]
    for method in ("mask", "boxes", "saliency"):
        assert subject.finder(dataset, Search(method), given)(sample).box == (10, 20, 40, 50)
    assert subject.finder(dataset, Search(CENTRE))(sample).box == (40, 30, 40, 30)
    with pytest.raises(NoSubject):
        subject.finder(dataset, Search("alpha"))(sample)
