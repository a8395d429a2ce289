from __future__ import annotations

import pytest

from isengard.nodes.captions import policy
from isengard.nodes.captions.findings import STYLE, Expected, read
from isengard.nodes.captions.words import words_of
from isengard.sota import registry
from isengard.tests.nodes.captions.making import MIRA, SENTENCES, dataset_of


@pytest.mark.parametrize(
    "caption, style",
    [
        ("mira woman, smiling, red_shirt, (blue background:1.2)", registry.TAGS),
        ("1girl, solo, looking at viewer, hands on own hips", ""),
        ("A photo of a woman with teal hair who sits on a bench.", registry.SENTENCES),
        ("mira woman, A photo of a woman with teal hair who sits on a bench.", registry.SENTENCES),
        ("mira woman", ""),
        ("", ""),
        ("ミラ, 青い髪, 笑顔, 帽子", registry.TAGS),
        ("ミラは青い髪の若い女性で公園に座って本を読んでいる。", registry.SENTENCES),
    ],
)
def test_tags_are_told_from_sentences(caption, style):
    assert policy.style_of(words_of(caption)) == style


def test_both_kinds_of_captions_are_told():
    assert sum(policy.style_of(words_of(each)) == registry.SENTENCES for each in MIRA) == 0
    assert sum(policy.style_of(words_of(each)) == registry.TAGS for each in MIRA) > len(MIRA) / 2
    told = [policy.style_of(words_of(each.format("with teal hair"))) for each in SENTENCES]
    assert told.count(registry.SENTENCES) > len(SENTENCES) / 2
    assert registry.TAGS not in told


@pytest.mark.parametrize(
    "family, captions, wrong",
    [("flux", MIRA, "captions are tags, and this model wants sentences"), ("sd15", MIRA, ""), ("sdxl", MIRA, ""),
     ("sd15", SENTENCES, "captions are sentences, and this model wants tags"), ("flux", SENTENCES, ""),
     ("chroma", SENTENCES, ""), (None, MIRA, "")],
)  # fmt: skip
def test_a_family_that_wants_the_other_kind(family, captions, wrong):
    captions = [each.format("with teal hair") for each in captions]
    wanted = family and registry.families()[family].captions
    found = policy.findings(read(dataset_of(*captions), Expected()), wanted)
    assert [each.kind for each in found] == ([STYLE] if wrong else [])
    assert wrong in "".join(each.text for each in found)


def test_half_of_the_captions_may_be_otherwise():
    flux = registry.families()["flux"].captions
    sentences = [each.format("with teal hair") for each in SENTENCES]
    assert policy.findings(read(dataset_of(*sentences, *MIRA[:9]), Expected()), flux) == []


def test_advice_says_what_to_name():
    said = policy.advice(registry.families()["flux"].captions)
    assert said.startswith("Write sentences, at most 512 tokens. Name what varies")
    assert "Leave out what the character always has" in said
    assert policy.advice(registry.families()["sdxl"].captions).startswith("Write tags or sentences")
