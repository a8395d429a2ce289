"""Identities by vectors: what 0 and 1 are, and when nothing is said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from isengard.nodes.evaluation import identity
from isengard.nodes.evaluation.identity import Encoder, IdentityError

SAME = Encoder("test", lambda picture: picture.mean((1, 2)))


def people(count: int, near: float, seed: int = 0, common: float = 0.0):
    """Vectors of one person (`count`, `near` to each other) and of 20 others; common: to all."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(64, generator=generator) * near + common
    own = functional.normalize(torch.randn(count, 64, generator=generator) + middle, dim=1)
    others = functional.normalize(torch.randn(20, 64, generator=generator) + common, dim=1)
    return own, others


def test_zero_is_other_people_and_one_the_characters_own():
    own, others = people(30, near=2.0, common=3.0)
    known = identity.calibrated("Mira", SAME, own[:10], others[:10])
    assert known.reason == "" and known.calibration.auc > 0.99
    assert (known.calibration.genuine, known.calibration.impostors) == (10, 10)
    mine = torch.tensor([score.value for score in known.scores(own[10:])])
    foreign = torch.tensor([score.value for score in known.scores(others[10:])])
    assert mine.mean() == pytest.approx(1, abs=0.15)
    assert foreign.mean() == pytest.approx(0, abs=0.15)
    assert 0 < known.calibration.threshold < 1
    assert all(score.is_same for score in known.scores(own[10:]))
    assert not any(score.is_same for score in known.scores(others[10:]))


def test_what_all_people_have_in_common_does_not_count():
    """Else all cosines are near 1, and the two sides are not apart."""
    own, others = people(12, near=1.0, common=20.0)
    assert (own @ others.T).mean() > 0.9
    assert identity.calibrated("Mira", SAME, own, others).calibration.auc > 0.95


def test_a_reference_is_not_compared_with_itself():
    own, others = people(10, near=0.6)
    found = identity.calibrated("Mira", SAME, own, others).calibration
    assert found is None or found.high < 0.9
    own, others = people(10, near=2.0)
    assert identity.calibrated("Mira", SAME, own, others).calibration.high < 0.9


@pytest.mark.parametrize(
    ("references", "others", "said"),
    [(2, 20, "Mira has 2 reference pictures, and 3 are the least"), (5, 3, "there are 3 pictures of other people"),
     (5, 0, "there are 0 pictures of other people"), (0, 20, "Mira has 0 reference pictures")],
)  # fmt: skip
def test_too_few_pictures_are_unscored(references, others, said):
    own, foreign = people(5, near=2.0)
    known = identity.calibrated("Mira", SAME, own[:references], foreign[:others])
    assert known.calibration is None and said in known.reason
    (score,) = known.scores(own[:1])
    assert (score.value, score.is_same) == (None, None) and score.reason == known.reason


def test_a_character_that_is_like_everybody_is_unscored():
    own, others = people(20, near=0.0)
    known = identity.calibrated("Mira", SAME, own, others)
    assert known.calibration is None
    assert "does not tell Mira from other people" in known.reason


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.lists(st.integers(-50, 50), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs(genuine, impostors):
    pairs = [(one > other) + 0.5 * (one == other) for one in genuine for other in impostors]
    found = identity.area_under_curve(torch.tensor(genuine).float(), torch.tensor(impostors).float())
    assert found == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.lists(st.floats(-1, 1), min_size=3, max_size=30))
def test_the_threshold_makes_as_many_errors_on_both_sides(genuine, impostors):
    genuine, impostors = torch.tensor(genuine), torch.tensor(impostors)
    level = identity._equal_error(genuine, impostors)

    def difference(at):
        return abs(float((genuine < at).float().mean() - (impostors >= at).float().mean()))

    levels = torch.cat([genuine, impostors]).tolist()
    assert difference(level) <= min(map(difference, levels)) + 1 / len(genuine) + 1 / len(impostors)


def test_a_region_is_cut_out_and_the_rest_is_grey():
    picture = torch.ones(1, 100, 200, 3)
    mask = torch.zeros(100, 200)
    mask[20:60, 50:90] = 1
    mask[20, 50] = 0
    part = identity.cut_out(picture, mask)
    assert part.shape == (1, 44, 44, 3)  # 5 % around it
    assert part[0, 2 + 5, 2 + 5].tolist() == [1, 1, 1]
    assert part[0, 2, 2].tolist() == part[0, 0, 0].tolist() == [0.5, 0.5, 0.5]
    smaller = functional.interpolate(mask[None, None], scale_factor=0.5)[0, 0]
    assert identity.cut_out(picture, smaller).shape[1] == pytest.approx(44, abs=2)
    with pytest.raises(IdentityError, match="the mask of a picture is empty"):
        identity.cut_out(picture, torch.zeros(100, 200))


def test_vectors_have_length_one_and_pictures_any_size():
    told = []
    pictures = [torch.rand(1, 8, 8, 3), torch.rand(1, 16, 4, 3)]
    vectors = SAME.vectors(iter(pictures), 2, lambda done, of: told.append((done, of)))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
    assert told == [(1, 2), (2, 2)]
