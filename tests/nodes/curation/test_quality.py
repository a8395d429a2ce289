"""Blur, exposure, compression and size: what is measured, and who is dropped."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import uniform_filter1d

from isengard.nodes.curation import blur, compression, quality
from isengard.nodes.dataset import folder, images
from isengard.sota import sample_character
from isengard.tests import pictures

SHARP = [
    *(pytest.param(lambda n=name: pictures.photograph(n), id=name) for name in pictures.PHOTOGRAPHS),
    *(pytest.param(lambda n=number: pictures.person(n, n, 512), id=f"person {number}") for number in range(4)),
    *(pytest.param(lambda n=number: pictures.scene(n, (640, 512)), id=f"scene {number}") for number in range(3)),
]


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"))


def sharpness(picture: Image.Image) -> float:
    return blur.sharpness(grey(picture))


@pytest.mark.parametrize("picture", SHARP)
def test_what_is_sharp_is_kept_and_what_is_blurred_is_not(picture):
    least = quality.Limits().sharpness
    assert sharpness(picture()) > least
    assert sharpness(pictures.blurred(picture(), 2)) < least
    assert sharpness(pictures.blurred(picture(), 20)) < least
    assert sharpness(pictures.smeared(picture(), 16)) < least


@pytest.mark.parametrize("picture", SHARP)
def test_more_blur_is_less_sharp(picture):
    found = [sharpness(pictures.blurred(picture(), radius)) for radius in (0, 1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)


def test_a_blurred_background_does_not_count():
    person = pictures.person(2, 5, 512)
    picture = pictures.blurred(pictures.photograph("coffee").resize((768, 768)), 12)
    picture.paste(person.resize((256, 256)), (256, 256))
    assert sharpness(picture) > quality.Limits().sharpness


def test_a_plain_picture_is_not_blurred():
    assert sharpness(Image.new("RGB", (300, 200), "teal")) == 1.0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 700), (9, 9)])
def test_tiny_pictures_are_measured_too(size):
    values = np.random.default_rng(0).integers(0, 256, size[::-1]).astype(np.uint8)
    assert 0 <= blur.sharpness(values) <= 1
    assert compression.blockiness(values) >= 1


def test_blur_is_cretes():
    """The paper's equations 1 to 6 over the whole picture, by scipy's filter; steps by chance count a little there."""
    values = grey(pictures.photograph("camera")).astype(float)
    for axis in (0, 1):
        own, blurred = (
            np.abs(np.diff(each, axis=axis)) for each in (values, uniform_filter1d(values, 9, axis, mode="nearest"))
        )
        expected = 1 - np.maximum(0, own - blurred).sum() / own.sum()
        steps, kept = blur._steps(values.astype(np.uint8), axis)
        assert kept.mean() / steps.mean() == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("asked", [5, 20, 50, 75, 90, 100])
def test_jpeg_quality_is_what_was_asked_for(asked):
    buffer = io.BytesIO()
    pictures.photograph("chelsea").save(buffer, "jpeg", quality=asked)
    assert compression.quality_of_file(buffer.getvalue()) == asked


def test_only_jpeg_has_a_quality():
    assert compression.quality_of_file(images.png(pictures.photograph("chelsea"))) == 100


@pytest.mark.parametrize("picture", [each for each in SHARP if not each.id.startswith("person")])
def test_blocks_are_seen_after_the_file_was_saved_anew_and_cut(picture):
    most = quality.Limits().blockiness
    assert compression.blockiness(grey(picture())) < most
    rough = pictures.recompressed(picture(), 6)
    assert compression.blockiness(grey(rough)) > most
    assert compression.blockiness(grey(rough.crop((3, 5, *rough.size)))) > most


def one(picture: Image.Image, tmp_path, name: str = "a.png", **options):
    file = pictures.saved(picture, tmp_path / name, **options)
    return pictures.dataset(tmp_path / "none", {}).of([pictures.sample(file, "a caption")])


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda picture: pictures.blurred(picture, 5), "blurred (sharpness 0."),
        (lambda picture: pictures.brightened(picture, 0.08), "too dark (brightness 0.0"),
        (
            lambda picture: Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.97),
            "too bright (brightness 0.9",
        ),
        (lambda picture: Image.blend(picture, Image.new("RGB", picture.size, "grey"), 0.9), "too little contrast (0."),
        (lambda picture: picture.resize((200, 300)), "too small (200 x 300 pixels; the shorter side has to be 256)"),
    ],
)
def test_each_fault_has_its_reason(tmp_path, change, reason):
    kept, dropped = quality.sorted_out(one(change(pictures.photograph("astronaut")), tmp_path), quality.Limits())
    assert kept.samples == ()
    assert reason in dropped.samples[0].reason
    assert dropped.samples[0].captions == ("a caption",)


def line_art() -> Image.Image:
    levels = np.asarray(pictures.person(3, 7, 512).convert("L"))
    return Image.fromarray(np.where(levels < 40, 0, 255).astype(np.uint8)).convert("RGB")


def on_paper(colour: str) -> Image.Image:
    """A small figure."""
    paper = Image.new("RGB", (640, 640), colour)
    paper.paste(pictures.person(4, 520, 200), (220, 220))
    return paper


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(line_art, id="lines"),
        pytest.param(lambda: ImageOps.invert(line_art()), id="white lines"),
        *(pytest.param(lambda c=colour: on_paper(c), id=f"on {colour}") for colour in ("white", "black")),
        *(pytest.param(lambda n=n: pictures.person(n, 500 + n, 400), id=f"person {n}") for n in range(20)),
    ],
)
def test_a_drawing_is_neither_too_dark_nor_too_bright(tmp_path, picture):
    _, dropped = quality.sorted_out(one(picture(), tmp_path), quality.Limits())
    assert [sample.reason for sample in dropped.samples] == []


def test_the_sample_character_is_good_to_train_on():
    mira = folder.load(sample_character.FOLDER, "mira", folder.Options(""))
    _, dropped = quality.sorted_out(mira.dataset, quality.Limits())
    assert [sample.reason for sample in dropped.samples] == []


def test_a_rough_jpeg_is_told_with_its_quality(tmp_path):
    found = one(pictures.photograph("astronaut"), tmp_path, "a.jpg", quality=12)
    _, dropped = quality.sorted_out(found, quality.Limits())
    assert "compressed too much (JPEG quality 12, at least 35)" in dropped.samples[0].reason


def test_every_fault_is_told(tmp_path):
    bad = pictures.blurred(pictures.brightened(pictures.photograph("astronaut"), 0.05), 5).resize((128, 128))
    (dropped,) = quality.sorted_out(one(bad, tmp_path), quality.Limits())[1].samples
    for fault in ("too small (", "too dark (", "too little contrast ("):
        assert fault in dropped.reason


@pytest.mark.parametrize("name", pictures.PHOTOGRAPHS)
def test_good_pictures_stay_with_their_scores(tmp_path, name):
    kept, dropped = quality.sorted_out(one(pictures.photograph(name), tmp_path), quality.Limits())
    assert dropped.samples == ()
    assert set(kept.samples[0].scores) == set(quality.SCORES)


def test_what_is_measured_is_not_read_again(tmp_path):
    found = one(pictures.photograph("chelsea"), tmp_path)
    scored = quality.measured(found)
    found.samples[0].image.unlink()
    assert quality.measured(scored) == scored
    with pytest.raises(images.UnreadableImage):
        quality.measured(found)


def test_other_scores_stay(tmp_path):
    found = one(pictures.photograph("chelsea"), tmp_path)
    rated = found.of([dataclasses.replace(found.samples[0], scores={"mine": 0.25})])
    assert quality.measured(rated).samples[0].scores["mine"] == 0.25


def test_limits_that_ask_for_nothing_keep_everything(tmp_path):
    nothing = quality.Limits(0.0, 0.0, 1.0, 0.0, 0.0, 100.0, 1)
    worst = pictures.recompressed(pictures.blurred(Image.new("RGB", (8, 8), "black"), 3), 1)
    assert quality.sorted_out(one(worst, tmp_path), nothing)[1].samples == ()
