"""Tables, numbers on pictures, and what is kept."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from isengard.nodes.evaluation import identity, scoring
from isengard.nodes.evaluation.identity import IdentityError, Score

from .test_identity import SAME, people

SCORES = [Score(0.9, True), Score(0.1, False), Score(0.6, True)]


def known(near: float = 2.0):
    return identity.calibrated("Mira", SAME, *people(8, near))


def test_which_pictures_are_kept():
    assert scoring.kept(SCORES, scoring.ALL, 0.95) == [0, 1, 2]
    assert scoring.kept(SCORES, scoring.SAME, 0.95) == [0, 2]
    assert scoring.kept(SCORES, scoring.AT_LEAST, 0.7) == [0]
    with pytest.raises(IdentityError, match="none of 3 pictures is kept .* the best has 0.90"):
        scoring.kept(SCORES, scoring.AT_LEAST, 0.95)
    unscored = [Score(None, reason="too few")]
    assert scoring.kept(unscored, scoring.ALL, 0) == [0]
    with pytest.raises(IdentityError, match="nothing is scored, so nothing can be chosen: too few"):
        scoring.kept(unscored, scoring.SAME, 0)


def test_the_table_has_the_likest_first_and_marks_what_is_kept():
    lines = scoring.table(known(), scoring.Scored(tuple(SCORES), 0.5), [0]).splitlines()
    assert lines[0] == "Mira: mean identity 0.53, 2 of 3 are the character, diversity 0.50 of the references'"
    assert [line.split()[:3] for line in lines[1:4]] == [["*", "picture", "1"], ["picture", "3", "0.60"],
                                                         ["picture", "2", "0.10"]]  # fmt: skip
    nobody = known(near=0.0)
    text = scoring.table(nobody, scoring.scored(nobody, nobody.references[:1]), [0])
    assert "unscored" in text and nobody.reason in text


def test_diversity_is_that_of_the_references_for_the_references():
    who = known()
    assert scoring.scored(who, who.references).diversity == pytest.approx(1)
    assert scoring.scored(who, who.references[[0, 0]]).diversity == pytest.approx(0, abs=1e-5)
    assert scoring.scored(who, who.references[:1]).diversity is None


def test_masks_are_one_for_all_or_one_for_each():
    pictures, masks = torch.ones(3, 20, 20, 3), torch.zeros(3, 20, 20)
    for place in range(3):
        masks[place, :10, : 4 * (place + 1)] = 1
    assert [part.shape[2] for part in scoring.regions(pictures, masks)] == [4, 8, 13]
    assert {part.shape[2] for part in scoring.regions(pictures, masks[:1])} == {4}
    assert {part.shape for part in scoring.regions(pictures, None)} == {(1, 20, 20, 3)}
    with pytest.raises(IdentityError, match="there are 2 masks for 3 pictures"):
        scoring.regions(pictures, masks[:2])


def test_the_number_stands_in_the_corner_in_its_colour():
    picture = Image.new("RGB", (200, 100), "#777777")
    for score, strongest in ((SCORES[0], 1), (SCORES[1], 0)):
        drawn = scoring.annotated(picture, score)
        corner = drawn.getpixel((1, 1))
        assert corner.index(max(corner)) == strongest
        assert drawn.getpixel((199, 99)) == (0x77,) * 3
    assert picture.getpixel((1, 1)) == (0x77,) * 3
