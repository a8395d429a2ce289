"""The embedding tells the held-out people apart, and is what its docstring says."""

from __future__ import annotations

import numpy as np
import pytest

from isengard.sota.demo_base import drawing, people
from isengard.tests.benchmarks import embedding

PEOPLE, LOOKS = 20, 3


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Three random looks of each held-out identity."""
    generator = np.random.default_rng(7)
    drawn = [drawing.pixels(one, people.random_look(generator)) for one in people.held_out() for _ in range(LOOKS)]
    return embedding.embed(drawn)


def test_vectors_have_unit_length(vectors):
    assert (vectors.shape, vectors.dtype) == ((PEOPLE * LOOKS, embedding.LENGTH), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_two_pictures_of_one_person_are_more_alike_than_of_two(vectors):
    person = np.repeat(np.arange(PEOPLE), LOOKS)
    pairs = np.triu_indices(len(person), k=1)
    cosines, same = (vectors @ vectors.T)[pairs], (person[:, None] == person)[pairs]
    assert np.mean(cosines[same][:, None] > cosines[~same]) >= 0.94  # area under the ROC curve


def test_inputs_are_scaled_as_the_network_was_trained():
    black, white = (embedding._input(np.full((128, 96, 3), value, np.uint8), 0) for value in (0, 255))
    assert black.shape == (3, 224, 224)
    assert (black.min(), black.max()) == (-127 / 128, -127 / 128)
    assert (white.min(), white.max()) == (1, 1)


def test_a_picture_has_the_same_vector_in_any_batch():
    pictures = np.random.default_rng(0).integers(0, 256, (embedding.BATCH + 1, 32, 32, 3), dtype=np.uint8)
    together = embedding.embed(pictures)
    np.testing.assert_allclose(embedding.embed(pictures[-1:])[0], together[-1], atol=1e-5)
    np.testing.assert_allclose(embedding.embed(pictures[:1])[0], together[0], atol=1e-5)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "no pictures"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)], r"Picture 1 is \(8, 8\) uint8"),
        ([np.zeros((8, 8, 3), np.float32)], "Picture 0 is .* float32"),
    ],
)
def test_wrong_pictures_are_refused(pictures, message):
    with pytest.raises(ValueError, match=message):
        embedding.embed(pictures)
