"""Choosing, weighing, merging and splitting: who stays, and that nothing else changes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.curation import selection, splits
from isengard.nodes.curation.selection import SelectionError
from isengard.nodes.dataset.records import HELD_OUT, TRAIN, Box, Dataset, Origin, Sample


def picture(number: int, *tags: str, **more) -> Sample:
    return Sample(
        f"{number:03}.png", None, (8, 8), (f"hero, {number}",), Origin("x", f"{number:064x}"), tags=tags, **more
    )


def pictures(count: int, *tags: str) -> Dataset:
    return Dataset("hero", tuple(picture(number, *tags) for number in range(count)))


def names(dataset: Dataset) -> list[str]:
    return [sample.name for sample in dataset.samples]


VIEWS = Dataset("views", (
    picture(0, "front", "smile"), picture(1, "Front_View"), picture(2, "side"), picture(3),
    dataclasses.replace(picture(4), captions=("hero, from side, smile",)),
))  # fmt: skip


@pytest.mark.parametrize(
    "tags, which, kept",
    [
        ("smile", "any", [0, 4]),
        ("front view, side", "any", [1, 2]),
        ("FRONT, smile", "all", [0]),
        ("smile, side", "none", [1, 3]),
        ("hero", "any", [0, 1, 2, 3, 4]),
        ("her", "any", []),
    ],
)
def test_tags_are_whole_and_in_captions_too(tags, which, kept):
    found, dropped = selection.with_tags(VIEWS, tags, which)
    assert names(found) == [f"{number:03}.png" for number in kept]
    assert set(names(dropped)) == set(names(VIEWS)) - set(names(found))
    assert all(sample.reason for sample in dropped.samples)


def test_no_tags_are_refused():
    with pytest.raises(SelectionError, match="no tags to look for"):
        selection.with_tags(VIEWS, " , ", "any")


def scored(*scores: float) -> Dataset:
    return Dataset("x", tuple(picture(n, scores={"sharpness": score}) for n, score in enumerate(scores)))


def test_scores_are_within_both_limits():
    kept, dropped = selection.with_score(scored(0.1, 0.5, 0.9), "sharpness", 0.5, 0.8)
    assert names(kept) == ["001.png"]
    assert [sample.reason for sample in dropped.samples] == [
        "sharpness is 0.1 (from 0.5 to 0.8)", "sharpness is 0.9 (from 0.5 to 0.8)"
    ]  # fmt: skip


def test_a_score_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(SelectionError, match=r"3 pictures have no score 'beauty' \(000.png, …\); there is sharpness"):
        selection.with_score(scored(1, 2, 3), "beauty", 0, 1)


@pytest.mark.parametrize(
    "how, kept",
    [("first", [0, 1, 2]), ("evenly spread", [0, 4, 9]), ("highest score", [3, 7, 8])],
)
def test_so_many_are_chosen_in_their_order(how, kept):
    every = scored(0, 1, 2, 30, 4, 5, 6, 70, 80, 9)
    found, dropped = selection.chosen(every, 3, how, score="sharpness")
    assert names(found) == [f"{number:03}.png" for number in kept]
    assert len(dropped.samples) == 7


def test_one_is_chosen_evenly():
    assert len(selection.chosen(pictures(5), 1, selection.SPREAD)[0].samples) == 1


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_a_random_choice_changes_by_one_when_one_comes(count, wanted, seed):
    before = set(names(selection.chosen(pictures(count), wanted, selection.RANDOM, seed)[0]))
    after = set(names(selection.chosen(pictures(count + 1), wanted, selection.RANDOM, seed)[0]))
    assert len(before) == min(count, wanted)
    assert len(before - after) <= 1


def test_another_seed_chooses_others():
    assert len({tuple(names(selection.chosen(pictures(30), 5, selection.RANDOM, seed)[0])) for seed in range(5)}) == 5


def test_weights_multiply_what_is_there():
    once = selection.weighted(VIEWS, 2, 0.5)
    twice = selection.weighted(once, 3, 0.5, "side")
    assert [(sample.repeats, sample.weight) for sample in twice.samples] == [
        (2, 0.5), (2, 0.5), (6, 0.25), (2, 0.5), (2, 0.5)
    ]  # fmt: skip


def test_merging_keeps_everything_and_numbers_names():
    other = Dataset("more", (picture(0, "cat"), picture(7)))
    found = selection.merged([VIEWS, other, other])
    assert names(found)[5:] == ["000-2.png", "007.png", "000-3.png", "007-2.png"]
    assert found.name == "views + more"
    assert found.samples[5].tags == ("cat",)
    assert [sample.captions for sample in found.samples[:5]] == [sample.captions for sample in VIEWS.samples]


def test_folders_stay_in_names_that_are_numbered():
    nested = Dataset("x", (dataclasses.replace(picture(1), name="a.b/01.png"),))
    assert names(selection.merged([nested, nested])) == ["a.b/01.png", "a.b/01-2.png"]


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(
        SelectionError, match=r"none of 5 pictures would be left \(000.png: does not have any of: cat; "
    ):
        selection.not_all(*selection.with_tags(VIEWS, "cat", "any"))


def held(dataset: Dataset) -> set[str]:
    return {sample.name for sample in dataset.samples if sample.split == HELD_OUT}


@given(st.integers(2, 60), st.integers(0, 60), st.floats(0.05, 0.6), st.integers(0, 99))
def test_pictures_stay_on_their_side_when_others_come(count, more, share, seed):
    """All but one that stands in where chance holds none out, or trains on none."""
    before = held(splits.split(pictures(count), share, seed=seed))
    after = held(splits.split(pictures(count + more), share, seed=seed)) & set(names(pictures(count)))
    assert len(before ^ after) <= 1


def test_the_share_is_about_what_was_asked_for():
    assert 150 < len(held(splits.split(pictures(1000), 0.2))) < 250


def test_each_tag_has_its_share():
    views = Dataset("x", tuple(picture(n, ("front", "side", "back")[n % 3]) for n in range(900)))
    found = splits.split(views, 0.1, "front, side, back")
    for tag in ("front", "side", "back"):
        some = [sample for sample in found.samples if tag in sample.tags]
        assert 15 < sum(sample.split == HELD_OUT for sample in some) < 48


def test_a_tag_with_few_pictures_has_one_held_out():
    rare = Dataset("x", (*pictures(60).samples, *(picture(100 + n, "back") for n in range(10))))
    for seed in range(20):
        found = splits.split(rare, 0.1, "back", seed)
        assert any(sample.split == HELD_OUT and "back" in sample.tags for sample in found.samples), seed


@given(st.integers(2, 12), st.floats(0.01, 0.9), st.integers(0, 99))
def test_there_is_always_something_on_both_sides(count, share, seed):
    trained, held_out = splits.sides(splits.split(pictures(count), share, seed=seed))
    assert trained.samples
    assert held_out.samples


def test_a_share_of_nothing_holds_nothing_out():
    assert held(splits.split(pictures(20), 0.0)) == set()


def test_copies_of_a_picture_are_on_one_side():
    doubled = Dataset(
        "x", (*pictures(40).samples, *(dataclasses.replace(s, name=f"b{s.name}") for s in pictures(40).samples))
    )
    out = held(splits.split(doubled, 0.3))
    assert {name.removeprefix("b") for name in out if name[0] == "b"} == {name for name in out if name[0] != "b"}


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_held_out_stays_if_wanted(keep):
    before = pictures(30)
    given_out = before.of(
        (*(dataclasses.replace(s, split=HELD_OUT) for s in before.samples[:10]), *before.samples[10:])
    )
    out = held(splits.split(given_out, 0.1, keep=keep))
    assert (set(names(before)[:10]) <= out) == keep


@pytest.mark.parametrize(
    "some", [pictures(0), pictures(1), Dataset("x", (picture(1), dataclasses.replace(picture(1), name="b")))]
)
def test_one_picture_cannot_be_split(some):
    with pytest.raises(SelectionError, match="cannot be split"):
        splits.split(some, 0.2)


def test_the_report_counts_each_tag():
    parted = VIEWS.of(dataclasses.replace(s, split=HELD_OUT if s.name == "000.png" else TRAIN) for s in VIEWS.samples)
    assert splits.described(parted, "smile, side") == (
        "all: 1 of 5 held out (20 %)\nsmile: 1 of 2 held out (50 %)\nside: 0 of 1 held out (0 %)"
    )


def test_what_was_cut_from_one_picture_is_on_one_side():
    parts = [
        dataclasses.replace(picture(n), name=f"{n} {part}", box=Box(0, 0, part, 8))
        for n in range(40)
        for part in (4, 6, 8)
    ]
    found = splits.split(Dataset("x", tuple(parts)), 0.3)
    sides = {}
    for sample in found.samples:
        sides.setdefault(sample.origin.sha256, set()).add(sample.split)
    assert all(len(each) == 1 for each in sides.values())


def test_what_was_generated_from_one_picture_can_be_split():
    made = [
        dataclasses.replace(picture(n), origin=Origin("x", f"{n:064x}", parent="a" * 64, generator="sd15"))
        for n in range(40)
    ]
    assert 2 <= len(held(splits.split(Dataset("x", tuple(made)), 0.2))) <= 20
