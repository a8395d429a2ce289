"""The people of the demo base as they are drawn."""

from __future__ import annotations

from isengard.sota.demo_base import drawing, people
from isengard.sota.sample_character import draw as sample_character


def test_the_sample_character_is_the_held_out_person():
    look = sample_character.looks()[0]
    ours, hers = drawing.options(people.held_out()[0], look), sample_character.options(look)
    assert {name: ours[name] for name in hers if name not in ("seed", "size")} == {
        name: hers[name] for name in hers if name not in ("seed", "size")
    }


def test_a_dye_is_drawn_in_the_place_of_the_hair_colour():
    index, portrait = next(
        (index, each)
        for index in range(1000)
        if (each := people.training_portrait(0, index)).dye and each.identity.head == "mohawk"
    )
    colours = drawing.training_pixels(0, index).reshape(-1, 3).tolist()
    assert colours.count(list(bytes.fromhex(portrait.dye[1:]))) > 100
    assert colours.count(list(bytes.fromhex(people.HAIR[portrait.identity.hair][1:]))) == 0
