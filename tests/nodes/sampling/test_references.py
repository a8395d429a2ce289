from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.dataset.records import Dataset, Origin, Sample
from isengard.nodes.sampling import references

CAPTIONS = [
    "mira woman, smiling, red shirt, blue background",
    "mira woman, angry, blue shirt, red background",
    "mira woman, angry, sunglasses, red shirt, white background",
]


def test_the_caption_with_the_most_phrases_in_common_is_nearest():
    assert references.nearest("mira woman, angry, blue shirt, green background", CAPTIONS) == 1
    assert references.nearest("Mira woman, sunglasses, white background", CAPTIONS) == 2


def test_phrases_count_before_words():
    """All words of the second caption are asked for, but in the phrases of the first."""
    assert references.nearest("smiling, red shirt, blue background, angry", CAPTIONS[:2]) == 0


def test_words_decide_where_no_phrase_is_shared():
    assert references.nearest("a woman in a white room wearing sunglasses", CAPTIONS) == 2


def test_without_anything_in_common_the_first_is_taken():
    assert references.nearest("", CAPTIONS) == 0
    assert references.nearest("dog", ["", ""]) == 0


def test_all_are_ranked_and_alike_ones_stay_in_their_order():
    assert references.ranked("mira woman, angry, red background", CAPTIONS) == [1, 2, 0]
    assert references.ranked("dog", ["a", "dog", "b", "dog"]) == [1, 3, 0, 2]


def dataset(*captions: str) -> Dataset:
    samples = (
        Sample(f"{n}.png", torch.zeros(1, 8, 8, 3), (8, 8), (caption,) if caption else (), Origin("", str(n)))
        for n, caption in enumerate(captions)
    )
    return Dataset("Mira", tuple(samples))


def test_the_nearest_pictures_are_chosen():
    found = references.chosen("mira woman, angry, red background", dataset(*CAPTIONS), 2)
    assert [sample.name for sample in found] == ["1.png", "2.png"]
    assert len(references.chosen("", dataset(*CAPTIONS), 9)) == 3
    with pytest.raises(references.ReferencesError, match="no pictures of Mira. Add some with Save Character"):
        references.chosen("", dataset(), 3)


def test_a_family_decides_how_it_is_shown_pictures():
    def mechanism(*classes: str, method: str = references.AUTO) -> str:
        return references.policy_for(method, [*classes, "BASE"], 10**9).mechanism

    assert mechanism("Flux2", "Flux") == mechanism("FluxSchnell", "Flux") == "reference_latents"
    assert mechanism("QwenImage") == "qwen_edit"
    assert mechanism("QwenImage", method=references.LATENTS) == "reference_latents"
    assert mechanism("Flux", method=references.LATENTS) == "reference_latents"
    assert mechanism("Omnigen2", method=references.LATENTS) == "reference_latents"
    assert mechanism("Omnigen2", method=references.EDIT) == "qwen_edit"


@pytest.mark.parametrize(
    "classes, method, message",
    [
        (["SD15"], references.AUTO, "Stable Diffusion 1.5 has no reference conditioning: use a LoRA .*Flux.1 Kontext"),
        (["SDXL"], references.LATENTS, "Stable Diffusion XL has no reference conditioning"),
        (["Flux"], references.EDIT, "Flux.1 is not shown pictures through its text encoder"),
        (["Omnigen2"], references.AUTO, "class Omnigen2 takes pictures.*Choose a method"),
    ],
)
def test_models_that_cannot_be_shown_pictures(classes, method, message):
    with pytest.raises(references.ReferencesError, match=message):
        references.policy_for(method, [*classes, "BASE"], 10**9)


@given(st.integers(16, 8000), st.integers(16, 8000), st.sampled_from([8, 16]))
def test_a_megapixel_of_the_same_proportions(width, height, multiple):
    found = references.megapixel_size(width, height, multiple)
    assert all(side % multiple == 0 and side > 0 for side in found)
    if 1 / 4 < width / height < 4:
        assert found[0] * found[1] == pytest.approx(2**20, rel=0.05)
        assert found[0] / found[1] == pytest.approx(width / height, rel=0.05)


def test_the_report_names_the_pictures():
    policy = references.policy_for(references.AUTO, ["Flux"], 10**9)
    said = references.report(dataset("smiling", "").samples, policy)
    assert said.splitlines()[0].startswith("2 pictures as reference latents. Trained for them: Flux.1 Kontext;")
    assert said.splitlines()[1:] == ["0.png: smiling", "1.png"]
