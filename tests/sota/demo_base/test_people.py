"""Whom the demo base may be trained on, and what their captions say."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest

from isengard.sota.demo_base import drawing, people
from isengard.tests.comfyui.installation import PACK

MIRA = people.Identity("bangs", "teal", "tan")


def all_training_identities() -> list[people.Identity]:
    return list(itertools.chain(*people.training_identities()))


def test_twenty_people_are_held_out_half_of_them_with_unseen_heads():
    held_out = people.held_out()
    assert len(held_out) == len(set(held_out)) >= 20
    assert sum(person.head in people.unseen_heads() for person in held_out) == len(held_out) / 2
    assert held_out[0] == MIRA


def test_training_can_draw_no_held_out_person_and_no_unseen_head():
    """Over the whole population, which is what the sampler draws from."""
    population = all_training_identities()
    assert len(population) > 400
    assert not set(population) & set(people.held_out())
    assert not {person.head for person in population} & people.unseen_heads()
    assert "teal" not in {person.hair for person in population}


def test_the_training_sampler_stays_within_the_population():
    population = set(all_training_identities())
    drawn = [people.training_portrait(0, index).identity for index in range(3000)]
    assert set(drawn) <= population
    assert len(set(drawn)) > 0.9 * len(population)


def test_half_of_the_training_pictures_have_a_head_with_a_hair_colour():
    drawn = [people.training_portrait(1, index).identity for index in range(4000)]
    coloured = sum(person.head in people.COLOURED_HEADS for person in drawn) / len(drawn)
    assert coloured == pytest.approx(people.COLOURED_SHARE, abs=0.03)


def test_a_dye_is_never_near_teal_and_never_makes_a_held_out_person():
    portraits = [people.training_portrait(0, index) for index in range(4000)]
    dyed = [portrait for portrait in portraits if portrait.dye]
    coloured = sum(portrait.identity.head in people.COLOURED_HEADS for portrait in portraits)
    assert len(dyed) / coloured == pytest.approx(people.DYED_SHARE * 0.83, abs=0.04), "a sixth of them may not be dyed"
    hues = np.array([colorsys.rgb_to_hsv(*(value / 255 for value in bytes.fromhex(each.dye[1:])))[0] for each in dyed])
    teal = colorsys.rgb_to_hsv(*(value / 255 for value in bytes.fromhex(people.HAIR["teal"][1:])))[0]
    assert np.abs(hues - teal).min() > 0.09
    drawn_in_each_tenth = np.histogram(hues, 10, (0, 1))[0]
    assert np.delete(drawn_in_each_tenth, (4, 5)).min() > 20
    alike = {(person.head, person.skin) for person in people.held_out()}
    assert not alike & {(portrait.identity.head, portrait.identity.skin) for portrait in dyed}


def test_no_caption_names_a_dyed_persons_hair_colour():
    portraits = [people.training_portrait(0, index) for index in range(2000)]
    colours = {f"{word} hair" for word in people.HAIR}
    assert not [each.caption for each in portraits if each.dye and colours & {*each.caption.split(", ")}]
    assert [each.caption for each in portraits if not each.dye and colours & {*each.caption.split(", ")}]


def test_a_portrait_depends_on_seed_and_index_alone():
    assert people.training_portrait(3, 5) == people.training_portrait(3, 5)
    assert people.training_portrait(3, 5) != people.training_portrait(3, 6)
    assert people.training_portrait(4, 5) != people.training_portrait(3, 5)


def test_captions_leave_words_out_and_never_name_the_sample_character():
    captions = [people.training_portrait(0, index).caption for index in range(2000)]
    assert not [caption for caption in captions if "mira" in caption]
    with_skin = sum("skin" in caption for caption in captions) / len(captions)
    assert with_skin == pytest.approx(people.IDENTITY_WORD_SHARE, abs=0.04)


def test_a_caption_says_what_is_drawn():
    look = people.Look("smile", "sunglasses", "red", "blue", "left", 0, 1.0)
    assert people.caption("woman", look, people.Identity("afro", "black", "dark")) == (
        "woman, afro, black hair, dark skin, smiling, sunglasses, red shirt, blue background, facing left"
    )
    picture = drawing.pixels(people.Identity("afro", "black", "dark"), look)
    assert picture.shape == (drawing.SIZE, drawing.SIZE, 3)
    assert tuple(picture[2, 2]) == tuple(bytes.fromhex(people.BACKGROUND["blue"][1:]))


def test_the_help_page_lists_every_word_of_the_training_captions():
    page = " ".join((PACK / "web" / "docs" / "IsengardDemoBase.md").read_text(encoding="utf-8").split())
    portraits = [people.training_portrait(0, index) for index in range(3000)]
    words = {word for portrait in portraits for word in portrait.caption.split(", ")[1:]}
    assert len(words) > 80
    assert not [word for word in words if f"*{word}*" not in page]


@pytest.mark.parametrize("wrong", [("afro", "red", "tan"), ("mohawk", "teal", "green"), ("hijab", "black", "tan")])
def test_an_identity_that_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match="is no identity"):
        people.Identity(*wrong)


def test_no_two_colours_of_a_kind_are_alike():
    for table in (people.HAIR, people.SKIN):
        colours = np.array([list(bytes.fromhex(colour[1:])) for colour in table.values()], float)
        distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
        assert distances[~np.eye(len(colours), dtype=bool)].min() > 40
