"""Tables, numbers on pictures, and what is kept."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from isengard.nodes.evaluation import identity, scoring
from isengard.nodes.evaluation.adherence import Adherence
from isengard.nodes.evaluation.identity import IdentityError, Score

from .test_identity import SAME, people

SCORES = [Score(0.9, True), Score(0.1, False), Score(0.6, True)]
FOUND = scoring.Scored(tuple(SCORES), 0.5)
FOLLOWED = scoring.Scored(tuple(SCORES), 0.5, (Adherence(0.5, False), Adherence(0.8, True), Adherence(0.7, True)))


def known(near: float = 2.0):
    return identity.calibrated("Mira", SAME, *people(8, near))


def test_which_pictures_are_kept():
    assert scoring.kept(FOUND, scoring.ALL, 0.95) == [0, 1, 2]
    assert scoring.kept(FOUND, scoring.SAME, 0.95) == [0, 2]
    assert scoring.kept(FOUND, scoring.AT_LEAST, 0.7) == [0]
    with pytest.raises(IdentityError, match="none of 3 pictures is kept .* the best has 0.90"):
        scoring.kept(FOUND, scoring.AT_LEAST, 0.95)
    unscored = scoring.Scored((Score(None, reason="too few"),), None)
    assert scoring.kept(unscored, scoring.ALL, 0) == [0]
    with pytest.raises(IdentityError, match="nothing is scored, so nothing can be chosen: too few"):
        scoring.kept(unscored, scoring.SAME, 0)


def test_what_is_kept_shows_its_prompt_too_where_that_is_asked_for():
    assert scoring.kept(FOLLOWED, scoring.ALL, 0, least_adherence=0.7) == [1, 2]
    assert scoring.kept(FOLLOWED, scoring.SAME, 0, least_adherence=0.7) == [2]
    with pytest.raises(IdentityError, match="the best has 0.90, an adherence of 0.80"):
        scoring.kept(FOLLOWED, scoring.ALL, 0, least_adherence=0.9)
    with pytest.raises(IdentityError, match="least_adherence is 0.7, and there are no prompts"):
        scoring.kept(FOUND, scoring.ALL, 0, least_adherence=0.7)


def test_the_table_says_how_prompts_are_followed():
    lines = scoring.table(known(), FOLLOWED, [0]).splitlines()
    assert lines[0].endswith("mean adherence 0.67, 2 of 3 show their own prompt best")
    assert lines[1].endswith("prompt 0.50  another") and lines[3].endswith("prompt 0.80")
    alike = scoring.Scored(tuple(SCORES[:1]), None, (Adherence(0.5, None),))
    assert scoring.table(known(), alike, [0]).splitlines()[0].endswith("mean adherence 0.50")


def test_the_table_has_the_likest_first_and_marks_what_is_kept():
    lines = scoring.table(known(), FOUND, [0]).splitlines()
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


def test_how_it_shows_its_prompt_stands_below_the_score():
    picture = Image.new("RGB", (200, 100), "#777777")
    alone = scoring.annotated(picture, SCORES[0])
    rows = {followed: scoring.annotated(picture, SCORES[0], followed) for followed in FOLLOWED.adherences[:2]}
    height = next(y for y in range(100) if alone.getpixel((1, y)) == (0x77,) * 3)
    colours = {followed.is_own: drawn.getpixel((1, height + 4)) for followed, drawn in rows.items()}
    assert colours[False] == alone_colour(SCORES[1]) and colours[True] != colours[False]
    assert all(drawn.getpixel((1, 1)) == alone.getpixel((1, 1)) for drawn in rows.values())


def alone_colour(score: Score) -> tuple[int, ...]:
    return scoring.annotated(Image.new("RGB", (200, 100)), score).getpixel((1, 1))
