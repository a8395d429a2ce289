"""The probe reads drawings whose words are known, as they are and as a model might blur them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from isengard.sota.demo_base import drawing, people
from isengard.tests.benchmarks import probe

COUNT = 120


def identities(generator: np.random.Generator, count: int) -> list[people.Identity]:
    """A third each: held out, of the training set with coloured hair, and the others of the training set."""
    groups = people.held_out(), *people.training_identities()
    return [group[generator.integers(len(group))] for group in (groups[index % 3] for index in range(count))]


def blurred(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """With a blur of 1 pixel, a shift of each channel by up to 8 and noise of 8."""
    soft = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1)), float)
    noisy = soft + generator.uniform(-8, 8, 3) + generator.normal(0, 8, soft.shape)
    return np.clip(noisy, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def portraits() -> list[tuple[np.ndarray, people.Identity, people.Look]]:
    generator = np.random.default_rng(11)
    drawn = [(one, people.random_look(generator)) for one in identities(generator, COUNT)]
    return [(drawing.pixels(identity, look), identity, look) for identity, look in drawn]


def accuracies(answers: list[dict[str, bool]]) -> dict[str, float]:
    names = "hair", "skin", "background", "facing"
    return {name: np.mean([answer[name] for answer in answers if name in answer]) for name in names}


def test_drawings_are_read_right(portraits):
    got = accuracies([probe.right(*portrait) for portrait in portraits])
    assert min(got.values()) >= 0.98, got


def test_blurred_and_noisy_drawings_are_read_right(portraits):
    generator = np.random.default_rng(12)
    got = accuracies([probe.right(blurred(picture, generator), *asked) for picture, *asked in portraits])
    assert min(got.values()) >= 0.96, got


@pytest.fixture
def look() -> people.Look:
    return people.Look("smile", None, "blue", "peach", "right", 0, 1.0)


@pytest.mark.parametrize("hair", people.HAIR)
def test_every_hair_colour_has_its_word(hair, look):
    for head in ("bangs", "cornrows", "noHair3"):  # large, striped, small
        picture = drawing.pixels(people.Identity(head, hair, "tan"), look)
        assert probe.attributes(picture) == probe.Attributes(hair, "tan", "peach", "right"), head


@pytest.mark.parametrize("head", ["hatBeanie", "bun", "shaved1"])
def test_a_hat_or_headband_is_not_hair(head, look):
    """In purple and pink they have a hair colour."""
    for clothing in ("purple", "pink"):
        picture = drawing.pixels(people.Identity(head, "black", "pale"), replace(look, clothing=clothing))
        assert probe.attributes(picture).hair == "black"


def test_a_blurred_headband_is_not_hair():
    generator = np.random.default_rng(13)
    for clothing in ("pink", "green") * 8:
        look = replace(people.random_look(generator), clothing=clothing)
        picture = drawing.pixels(people.Identity("bun", "black", "tan"), look)
        assert probe.attributes(blurred(picture, generator)).hair == "black", look


def test_a_bald_head_has_no_hair(look):
    bald = people.Identity("noHair1", None, "dark")
    picture = drawing.pixels(bald, look)
    assert probe.attributes(picture).hair is None
    assert probe.right(picture, bald, look) == {"skin": True, "background": True, "facing": True}


def test_other_words_than_the_picture_shows_are_wrong(look):
    identity = people.Identity("bangs", "teal", "tan")
    picture = drawing.pixels(identity, look)
    asked = people.Identity("bangs", "red", "pale"), replace(look, background="blue", facing="left")
    assert probe.right(picture, *asked) == {"hair": False, "skin": False, "background": False, "facing": False}


@pytest.mark.parametrize("picture", [np.zeros((64, 64, 3), np.uint8), np.zeros((128, 128, 3), np.float32)])
def test_other_shapes_are_refused(picture):
    with pytest.raises(ValueError, match="128,128,3 uint8; got"):
        probe.attributes(picture)
