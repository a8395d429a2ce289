"""The layouts and figures of the scene benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isengard.nodes.scene import regions
from isengard.sota.demo_base import drawing, people
from isengard.tests.benchmarks import pick_job, prompts, sampling_time, scene_figures, scene_layouts
from isengard.tests.benchmarks.scene_job import Member

MEMBERS = [Member(people.held_out()[place], f"who{place}", Path()) for place in (4, 5, 14)]


@pytest.fixture(scope="module")
def scales():
    """With other people's pictures in the place of the base's."""
    strangers = [people.training_portrait(3, index) for index in range(12)]
    base = np.stack([drawing.pixels(each.identity, each.look) for each in strangers])
    return scene_figures.scales(MEMBERS, base[:, None])


def composed(layout, who=None) -> np.ndarray:
    """The real people in their places; who: others in their places."""
    picture = np.full((layout.height, layout.width, 3), 200, np.uint8)
    for place, each in zip(layout.places, who or [place.who for place in layout.places], strict=True):
        part = drawing.pixels(MEMBERS[each].identity, place.look)
        picture[place.top : place.top + place.height, place.left : place.left + place.width] = part
    return picture


def test_layouts_are_the_same_every_time_and_their_regions_are_apart():
    layouts = scene_layouts.layouts(50, 8)
    assert layouts == scene_layouts.layouts(50, 8)
    for layout in layouts:
        boxes = regions.boxes(layout.boxes, 2)
        masks = [regions.filled(box, layout.width, layout.height) for box in boxes]
        found = regions.of_masks(["a", "b"], masks, layout.width, layout.height, regions.REFUSE)
        for region, place in zip(found, layout.places, strict=True):
            assert vars(region.window) == {
                "left": place.left, "top": place.top, "width": place.width, "height": place.height
            }  # fmt: skip
        assert len({place.who for place in layout.places}) == 2
    assert {(layout.width, layout.height) for layout in layouts} == set(scene_layouts.CANVASES)


def test_real_people_in_their_places_are_their_own_and_swapped_ones_are_not(scales):
    for layout in scene_layouts.layouts(6, 3):
        right = scene_figures.judged(composed(layout), layout, MEMBERS, scales)
        assert all(each.is_own and each.is_own_of_all and all(each.colours) for each in right)
        swapped = composed(layout, [place.who for place in layout.places[::-1]])
        wrong = scene_figures.judged(swapped, layout, MEMBERS, scales)
        assert not any(each.is_own or each.is_own_of_all for each in wrong)
        assert max(each.likeness for each in wrong) < min(each.likeness for each in right)


def test_outside_is_what_no_region_covers():
    layout = next(each for each in scene_layouts.layouts(50, 3) if (each.width, each.height) == (256, 256))
    scene, base = composed(layout), np.full((256, 256, 3), 200, np.uint8)
    assert scene_figures.outside_difference(scene, base, layout) == 0
    assert scene_figures.outside_difference(scene, base + 7, layout) == 7
    full = replace(layout, places=(replace(layout.places[0], left=0, top=0, width=256, height=256),))
    assert scene_figures.outside_difference(scene, base, full) is None


def test_the_timed_layouts_fill_the_picture_or_leave_some_free():
    for name, layout in sampling_time.layouts().items():
        covered = sum(place.width * place.height for place in layout.places)
        assert (covered == layout.width * layout.height) is ("free" not in name)
        assert len(layout.places) == int(name[0])


def test_the_grids_prompts_are_neither_trained_on_nor_judged_by():
    texts = pick_job.grid_prompts("zorvik")
    others = {people.caption("zorvik person", look) for looks in prompts.looks() for look in looks}
    assert len(set(texts)) == 3 and not others & set(texts)
