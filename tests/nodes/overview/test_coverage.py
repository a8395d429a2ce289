import pytest

from isengard.nodes.overview import coverage
from isengard.nodes.overview.vocabulary import Feature

from .samples import captioned, dataset, sample


def found(aspect, *captions):
    """What is found in one aspect, or nothing."""
    findings = coverage.measured(captioned(*captions)).findings
    return next((each for each in findings if each.coverage.aspect.key == aspect), None)


def test_pictures_are_counted_by_value():
    """Any caption and any tag of a picture counts, once."""
    each = coverage.measured(
        dataset(
            sample("a", captions=["from side", "from the side, side view"]),
            sample("b", captions=[], tags=("from_behind",)),
            sample("c", captions=["from side, from behind"]),
            sample("d", captions=["mira"]),
        )
    )
    assert each.of(Feature("view", "side")) == ("a", "c")
    assert each.of(Feature("view", "back")) == ("b", "c")
    assert each.of(Feature("view", "front")) == ()
    view = each.aspects[0]
    assert (view.said, view.unsaid, view.total) == (3, ("d",), 4)
    with pytest.raises(KeyError):
        each.of(Feature("mood", "good"))
    with pytest.raises(KeyError):
        each.of(Feature("view", "top"))


def test_a_one_sided_data_set_is_told():
    finding = found("view", *["front view"] * 18, *["mira"] * 2)
    assert str(finding) == (
        "View, by the words of 18 pictures: front in all; three-quarter, side and back in none. The words of 2 more "
        "tell nothing of it."
    )
    assert finding.features == (Feature("view", "three_quarter"), Feature("view", "side"), Feature("view", "back"))


def test_what_nobody_tells_of_is_not_called_missing():
    each = coverage.measured(captioned(*["front view"] * 4, *["mira"] * 6))
    assert not each.findings
    assert "view" in [one.aspect.key for one in each.mostly_unsaid]


def test_what_few_pictures_have_is_rare():
    finding = found("view", *["front view"] * 12, *["three-quarter view"] * 12, *["side view"] * 5, "from behind")
    assert (finding.dominant, finding.lacking) == (None, ())
    assert [value.key for value in finding.rare] == ["back"]
    assert str(finding) == "View, by the words of 30 pictures: back in only 1."


def test_a_balanced_data_set_is_not_blamed():
    assert found("view", *["front view", "three-quarter view", "side view", "from behind"] * 3) is None


def test_a_dominant_value_needs_four_fifths():
    captions = ["in a kimono"] * 8 + ["in a suit"] * 2
    assert found("outfit", *captions).dominant.key == "costume"
    assert str(found("outfit", *captions)) == "Outfit, by the words of 10 pictures: armour or costume in 8."
    assert found("outfit", *captions[1:], "in a suit") is None


def test_a_value_that_others_imply_is_not_called_dominant():
    """Street, forest and beach are all outdoors: that is variety."""
    finding = found("background", *["street", "forest"] * 5)
    assert finding.dominant is None
    assert [value.key for value in finding.lacking] == ["plain", "indoors"]


def test_small_and_empty_data_sets():
    assert coverage.measured(dataset()).findings == ()
    assert coverage.measured(dataset()).mostly_unsaid == ()
    assert str(found("view", "front view")).startswith("View, by the words of 1 picture: three-quarter, side and")
    assert coverage.measured(captioned("mira")).findings == ()
