from __future__ import annotations

import pytest

from isengard.nodes.captions import lint
from isengard.nodes.captions.findings import (
    COMPETING,
    CONSTANT,
    DESCRIBED,
    DOUBLED,
    EMPTY,
    KINDS,
    LONG,
    MISSING,
    MISSPELLED,
    NAME,
    OTHER,
    REPEATED,
    STYLE,
    CheckError,
    Expected,
)
from isengard.sota import registry
from isengard.tests.nodes.captions.making import MIRA, SENTENCES, dataset_of

WHO = Expected("mira", "woman", "Mira", "A woman with teal hair in a low bun.", others=("Bruno", "zorvik", "Bo Maar"))


def found(captions, expected=WHO, count=None):
    return [(each.kind, each.pictures, each.phrase) for each in lint.check(dataset_of(*captions), expected, count)]


def words(text):
    return len(text.split()), 9


def test_the_sample_character_is_clean():
    assert found(MIRA) == []
    assert found(MIRA, Expected("mira", "woman", policy=registry.families()["demo_base"].captions)) == []


def test_clean_sentences():
    assert [kind for kind, _, _ in found([each.format("") for each in SENTENCES]) if kind != CONSTANT] == []


@pytest.mark.parametrize(
    "leak, expected",
    [
        ("", (EMPTY, ("21.png",), "")),
        (" ,. ", (EMPTY, ("21.png",), "")),
        ((), (EMPTY, ("21.png",), "")),
        (("mira woman, in rain", ""), (EMPTY, ("21.png",), "")),
        ("woman, in rain", (MISSING, ("21.png",), "mira")),
        ("mirra woman, in rain", (MISSPELLED, ("21.png",), "mirra")),
        ("mira woman, Teal_Hair, in rain", (DESCRIBED, ("21.png",), "teal hair")),
        ("mira woman, her low bun is wet, in rain", (DESCRIBED, ("21.png",), "low bun")),
        ("mira woman, with bruno, in rain", (OTHER, ("21.png",), "Bruno")),
        ("mira woman, (zorvik:1.2), in rain", (OTHER, ("21.png",), "zorvik")),
        ("mira woman stands with Karen in rain", (NAME, ("21.png",), "Karen")),
        ("mira woman stands with Maar in rain", (OTHER, ("21.png",), "Bo Maar")),
        (MIRA[2], (DOUBLED, ("3.png", "21.png"), MIRA[2][:60] + "…")),
        ("mira woman, in rain, In_Rain", (REPEATED, ("21.png",), "in rain")),
        ("mira woman, in rain, (in rain:1.2)", (REPEATED, ("21.png",), "in rain")),
    ],
)
def test_one_thing_wrong(leak, expected):
    assert found([*MIRA, leak]) == [expected]


@pytest.mark.parametrize("leak", ["teal hair", "freckles", "in a low bun"])
def test_a_phrase_that_competes_is_told_once(leak):
    """Not again as a word of the description."""
    names = tuple(f"{number}.png" for number in range(1, 21))
    assert found([f"{caption}, {leak}" for caption in MIRA]) == [(COMPETING, names, leak.removeprefix("in a "))]


def test_a_longer_phrase_takes_the_descriptions_along():
    captions = [sentence.format("with messy teal hair") for sentence in SENTENCES]
    kinds = [(kind, phrase) for kind, _, phrase in found(captions) if kind in (COMPETING, DESCRIBED)]
    assert kinds == [(COMPETING, "messy teal hair")]


def test_the_order_of_tags_makes_no_other_caption():
    assert found(["mira, a, b", "Mira, B, a", "mira, c"]) == [(DOUBLED, ("1.png", "2.png"), "mira, a, b")]
    assert found([("mira, a", "mira, a"), "mira, c"]) == [(DOUBLED, ("1.png",), "mira, a")]


def test_what_is_longer_than_the_encoder_or_the_model_takes():
    captions = ["mira " + "x " * 8, "mira " + "y " * 9]
    assert found(captions, count=words) == [(LONG, ("2.png",), captions[1])]
    policy = registry.CaptionPolicy(registry.EITHER, 5, "a", "b", "c")
    expected = Expected("mira", policy=policy)
    said = [each.text for each in lint.check(dataset_of(*captions), expected, words) if each.kind == LONG]
    assert said == [
        "9 tokens, and 5 fit: the model was trained on no more. Shorten the caption.",
        "10 tokens, and 5 fit: the model was trained on no more. Shorten the caption.",
    ]


def test_a_caption_exactly_as_long_as_fits():
    assert found(["mira " + "x " * 8], count=words) == []


def test_style_and_what_is_on_purpose_are_of_no_picture():
    captions = [f"{caption}, white backdrop" for caption in MIRA]
    flux = Expected("mira", "woman", policy=registry.families()["flux"].captions)
    assert found(captions, flux) == [(STYLE, (), ""), (CONSTANT, (), "white backdrop")]


def test_without_a_trigger_none_is_missing():
    assert [kind for kind, _, _ in found(["a, b", "c, d"], Expected())] == []


def test_worst_comes_first():
    captions = [
        *[f"{each}, freckles, freckles" for each in MIRA],
        "",
        "hat",
        "mria, x",
        "mira, bruno and Karen sit down",
    ]
    kinds = [kind for kind, _, _ in found(captions)]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    assert {EMPTY, MISSING, MISSPELLED, COMPETING, OTHER, REPEATED} <= set(kinds)


def test_nothing_to_check():
    assert found([]) == []
    assert [kind for kind, _, _ in found([(), ""])] == [EMPTY]


def test_progress_ends_with_all_that_were_counted():
    told = []
    lint.check(dataset_of("mira a", "mira b"), WHO, words, lambda *each: told.append(each))
    assert told[-1] == (2, 2)
    lint.check(dataset_of(), WHO, None, lambda *each: told.append(each))
    assert all(of > 0 for _, of in told)


@pytest.mark.parametrize("share", [0, 1.1, float("nan"), -1])
def test_a_share_that_is_none(share):
    with pytest.raises(CheckError, match="above 0 and at most 1"):
        Expected(share=share)


def test_a_trigger_with_a_comma():
    with pytest.raises(CheckError, match="captions are parted at commas"):
        Expected("mira, woman")
