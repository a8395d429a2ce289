from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.captions import phrases
from isengard.nodes.captions.findings import Caption, Expected, own_places, read
from isengard.nodes.captions.words import words_of
from isengard.tests.nodes.captions.making import MIRA, SENTENCES, dataset_of

WHO = Expected("mira", "woman")


def frequent(captions, share=0.8, expected=WHO):
    found = phrases.frequent(read(dataset_of(*captions), expected), share)
    return [each.text for each in found if not each.on_purpose], [each.text for each in found if each.on_purpose]


def described(captions, description, expected=WHO):
    words = tuple(words_of(description))
    text = Caption("", description, words, own_places(words, expected), 1.0)
    return [each.text for each in phrases.of_description(read(dataset_of(*captions), expected), text)]


def test_the_sample_character_has_none():
    assert frequent(MIRA) == ([], [])


@pytest.mark.parametrize(
    "leak", ["teal hair", "freckles", "long wavy teal hair in a low bun", "x_y", "(teal_hair:1.2)"]
)
def test_a_tag_in_every_caption(leak):
    found, _ = frequent([f"{caption}, {leak}" for caption in MIRA])
    assert [each.strip("(:1.2)") for each in found] == [leak.replace("_", " ").strip("(:1.2)")]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_tag_that_stands_anywhere_and_is_written_in_several_ways(place):
    ways = ["teal hair", "Teal_Hair", "(teal hair:1.3)", "((teal hair))"]
    captions = []
    for number, caption in enumerate(MIRA):
        tags = caption.split(", ")
        captions.append(", ".join([*tags[:place], ways[number % 4], *tags[place:]]))
    assert frequent(captions) == (["teal hair"], [])


@pytest.mark.parametrize(
    "with_leak, expected",
    [
        ("with teal hair", "teal hair"),
        ("with freckles", "freckles"),
        ("who has a scar on her chin", "scar on her chin"),
    ],
)
def test_words_of_sentences(with_leak, expected):
    found, _ = frequent([sentence.format(with_leak) for sentence in SENTENCES])
    assert found == [expected]


def test_sentences_without_one():
    assert frequent([sentence.format("") for sentence in SENTENCES])[0] == []


def test_phrases_end_at_and_and_do_not_swallow_a_pose():
    ways = ["{} and looks at the viewer", "{} and a hat", "{} who runs", "a coat and {}", "{}", "{} in the rain of May"]
    captions = [f"mira is a woman with {way.format('elf ears')}." for way in ways]
    assert frequent(captions) == (["elf ears"], [])
    captions = [f"mira, a woman with elf ears, {number} of them, is looking at the viewer." for number in range(9)]
    assert frequent(captions) == (["elf ears"], ["looking at the viewer"])
    captions = [f"Number {number}: mira, a woman who smokes. Her elf ears look odd." for number in range(9)]
    assert "elf ears" in frequent(captions)[0]
    captions = [sentence.format("with teal hair and pale blue eyes") for sentence in SENTENCES]
    assert frequent(captions)[0] == ["pale blue eyes", "teal hair"]


def test_the_share_counts():
    captions = [f"{caption}, teal hair" if number < 16 else caption for number, caption in enumerate(MIRA)]
    assert frequent(captions, 0.8)[0] == ["teal hair"]
    assert frequent(captions, 0.81)[0] == []
    assert frequent(captions[:15] + MIRA[15:], 0.8)[0] == []


def test_the_longest_counts_and_its_parts_only_outside_of_it():
    captions = [f"{caption}, long teal hair" for caption in MIRA]
    assert frequent(captions)[0] == ["long teal hair"]
    assert frequent([f"{caption}, hair" for caption in captions])[0] == ["hair", "long teal hair"]


def test_a_tag_with_something_before_it():
    ways = ["long teal hair", "wet teal hair", "teal hair", "messy teal hair"]
    assert frequent([f"{caption}, {ways[number % 4]}" for number, caption in enumerate(MIRA)])[0] == ["teal hair"]


def test_one_word_of_tags_that_vary_is_none():
    colours = ["red", "blue", "green", "pink", "white", "black", "grey", "brown", "gold", "teal"]
    assert frequent([f"mira woman, {colour} dress" for colour in colours]) == ([], [])


def test_one_word_of_phrases_that_vary_may_be_there_on_purpose():
    colours = ["red", "blue", "green", "pink", "white", "black", "grey", "brown", "gold", "teal"]
    captions = [f"Here is mira, a woman in a {colour} dress, who waits for a bus." for colour in colours]
    competing, on_purpose = frequent(captions)
    assert "dress" in on_purpose
    assert "dress" not in competing
    assert "waits for a bus" in competing


def test_words_that_stand_side_by_side_in_phrases_that_vary_are_none():
    colours = ["red", "blue", "green", "pink", "white", "black", "grey", "brown", "gold", "teal"]
    captions = [
        f"Here mira waits, a woman in a {colour} dress facing {side} of the street, in May."
        for colour, side in zip(colours, ["north", "south", "east", "west", "left"] * 2, strict=True)
    ]
    competing, on_purpose = frequent(captions)
    assert not any("dress" in phrase or "facing" in phrase for phrase in competing)
    assert {"dress", "facing"} <= set(on_purpose)


def test_what_is_around_may_be_there_on_purpose():
    captions = [f"{caption}, white backdrop, masterpiece" for caption in MIRA]
    assert frequent(captions) == ([], ["masterpiece", "white backdrop"])


def test_the_trigger_the_class_noun_and_booru_counts_are_none():
    captions = [f"1girl, solo, {caption}" for caption in MIRA]
    assert frequent(captions) == ([], [])
    assert frequent(MIRA, expected=Expected("mira"))[0] == [], "a common class noun, where none is given"
    assert frequent([each.replace("woman", "selkie") for each in MIRA], expected=Expected("mira"))[0] == ["selkie"]
    assert frequent(MIRA, expected=Expected("mira", "young woman"))[0] == []
    assert frequent(MIRA, expected=Expected("", "woman"))[0] == ["mira"]


def test_an_adjective_beside_the_trigger():
    captions = [caption.replace("mira woman", "freckled mira woman") for caption in MIRA]
    assert frequent(captions)[0] == ["freckled"]
    captions = [caption.replace("mira woman", "mira young woman") for caption in MIRA]
    assert frequent(captions)[0] == ["young"]


def test_inflected_words_are_one():
    ways = ["smile", "smiling", "smiles", "smiled"]
    found = frequent([f"mira, hat {number}, {ways[number % 4]}" for number in range(12)])[0]
    assert found[0] in ways


def test_few_pictures():
    leaky = ["mira, teal hair, hat", "mira, teal hair, coat", "mira, teal hair, rain", "mira, snow"]
    assert frequent(leaky[:2])[0] == [], "nothing can be said of two"
    assert frequent(leaky[:3])[0] == ["teal hair"]
    assert frequent(leaky, 0.5)[0] == [], "of four, all have to have it"
    assert frequent([*leaky, "mira, teal hair, sun"])[0] == ["teal hair"]


def test_several_captions_of_a_picture_share_its_weight():
    one = [("mira, teal hair", *[f"mira, x{each}" for each in range(9)])]
    four = ["mira, teal hair, a", "mira, teal hair, b", "mira, teal hair, c", "mira, teal hair, d"]
    assert frequent([*one, *four], 0.83)[0] == [], "four and a tenth of five"
    assert frequent([*one, *four], 0.81)[0] == ["teal hair"]


def test_japanese_tags_and_sentences():
    who = Expected("ミラ", "女性")
    tags = [f"ミラ, 青い髪, {each}" for each in ("笑顔", "帽子", "雨", "雪", "夜", "海")]
    assert frequent(tags, expected=who)[0] == ["青い髪"]
    assert frequent([each.replace(", ", "、") for each in tags], expected=who)[0] == ["青い髪"]
    verbs = (
        "公園で笑っている",
        "椅子に座っている",
        "本を読んでいる",
        "海を見ている",
        "街を歩いている",
        "夜空を見上げる",
    )
    for said, phrase in (("青い髪の女性", "青い髪"), ("長く青い髪をしており", "長く青い髪")):
        sentences = [f"ミラは{said}で、静かに{verb}。" for verb in verbs]
        assert frequent(sentences, expected=who)[0] == [phrase]


def test_breaks_weights_and_loras_are_no_phrases():
    assert frequent([f"<lora:x:0.8> {each} BREAK (x{number}:1.2)" for number, each in enumerate(MIRA)]) == ([], [])


@given(
    st.lists(
        st.lists(st.sampled_from(["hat", "coat", "rain", "snow", "sea", "teal", "hair"]), min_size=1, max_size=5),
        min_size=5,
        max_size=9,
    )
)
def test_whatever_is_found_is_there_as_often_as_said(tags):  # fmt: skip
    captions = [f"mira, {', '.join(each)}" for each in tags]
    for phrase in phrases.frequent(read(dataset_of(*captions), WHO), 0.6):
        having = [caption for caption in captions if f", {phrase.text}," in f"{caption},"]
        assert len(having) / len(captions) >= 0.6 - 1e-9
        assert {place.caption for place in phrase.places} <= set(range(len(captions)))
        assert all(captions[each.caption][each.start : each.end] == phrase.text for each in phrase.places)


def test_words_of_a_description():
    description = "A young woman with long teal hair in a low bun, freckles, and a scar over the left eye. Portrait."
    captions = [
        "mira, teal hair, x",
        "mira with freckles on her nose and a left eye that is red",
        "mira, low_bun",
        "eye",
    ]
    assert described(captions, description) == ["freckles", "left eye", "low bun", "teal hair"]
    captions = ["mira, scar over the left eye, x", "mira, scar"]
    assert described(captions, description) == ["scar", "scar over the left eye"]


def test_words_of_a_description_that_say_too_little_are_not_looked_for():
    assert described(["mira woman, red shirt, portrait", "mira, hair in the wind"], "fat, red, portrait. Woman.") == []


def test_a_description_by_labels():
    captions = ["mira, teal hair", "mira, green eyes", "mira stands there, hair in the wind, a teal shirt", "long"]
    assert described(captions, phrases.without_labels("Hair: teal, long. Eyes: green")) == [
        "green eyes",
        "long",
        "teal hair",
    ]


def test_a_japanese_description():
    assert described(["ミラ, 青い髪, 笑顔"], "青い髪の女性", Expected("ミラ", "女性")) == ["青い髪"]
