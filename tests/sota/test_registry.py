from __future__ import annotations

import pytest
import yaml

from isengard.sota import registry
from isengard.trainers.setting import ConfigError


def test_every_family_has_settings_for_every_budget():
    for family in registry.families().values():
        steps = [family.presets[budget].steps for budget in registry.BUDGETS]
        assert steps == sorted(steps)
        assert len(set(steps)) == 3
        assert family.source


def test_a_budget_lies_over_the_familys_own_settings_group_by_group():
    draft = registry.families()["sdxl"].presets["draft"]
    assert draft.data.resolution == 768, "the budget's"
    assert draft.data.crop == "buckets", "the family's, in the same group"
    assert draft.adapter.rank == 32


def test_families_are_told_by_comfyuis_class_or_the_one_it_is_made_from():
    assert registry.family_of(["SD15", "BASE"], 860_000_000).key == "sd15"
    assert registry.family_of(["Flux2", "Flux", "BASE"], 10**9).key == "flux2"
    assert registry.family_of(["FluxSchnell", "Flux", "BASE"], 10**9).key == "flux"
    assert registry.family_of(["ZImage", "Lumina2", "BASE"], 10**9).key == "z_image"
    assert registry.family_of(["SD3", "BASE"], 2 * 10**9).key == "sd3"
    assert registry.family_of(["SD3", "BASE"], 9_400_000).key == registry.DEMO_BASE


def test_a_model_that_is_not_known_says_so():
    with pytest.raises(registry.UnknownFamily, match="class HiDream.*Choose a family"):
        registry.family_of(["HiDream", "BASE"], 10**9)


@pytest.mark.comfyui
def test_the_classes_are_comfyuis(comfy_model):
    import comfy.supported_models

    known = {model.__name__ for model in comfy.supported_models.models}
    for family in registry.families().values():
        assert set(family.comfyui) <= known, family.key


def test_every_family_says_how_to_caption_for_it():
    for family in registry.families().values():
        assert family.captions.style in registry.CAPTION_STYLES
        assert family.captions.source
    styles = {key: family.captions.style for key, family in registry.families().items()}
    assert styles["sd15"] == styles[registry.DEMO_BASE] == registry.TAGS
    assert styles["sdxl"] == registry.EITHER
    assert styles["flux"] == styles["qwen_image"] == registry.SENTENCES


GOOD = {"style": "tags", "tokens": 77, "name": "a", "leave_out": "b", "source": "c"}


@pytest.mark.parametrize(
    "entry, message",
    [
        (GOOD | {"style": "poems"}, "style is 'poems'; choose one of tags, sentences, either"),
        (GOOD | {"tokens": 0}, "tokens is 0"),
        (GOOD | {"tokens": "many"}, "tokens is 'many'"),
        (GOOD | {"name": " "}, "has no name"),
        (GOOD | {"source": ""}, "has no source"),
        (GOOD | {"leave_out": 3}, "leave_out is 3"),
        (GOOD | {"colour": "red"}, "colour"),
        (None, "captions of sd15 in registry.yml cannot be read"),
        ("tags", "captions of sd15 in registry.yml cannot be read"),
    ],
)
def test_a_caption_policy_that_cannot_be(entry, message):
    family = yaml.safe_load(registry.FILE.read_text(encoding="utf-8"))["sd15"] | {"captions": entry}
    with pytest.raises(ConfigError, match=message):
        registry._family("sd15", family)


def test_families_that_take_pictures_and_those_that_do_not():
    """By what ComfyUI's networks do with reference latents on both versions."""
    mechanisms = {key: family.references.mechanism for key, family in registry.families().items()}
    taking = {"flux": "reference_latents", "flux2": "reference_latents", "qwen_image": "qwen_edit"}
    assert mechanisms == dict.fromkeys(mechanisms, "none") | taking
    assert all(family.references.source for family in registry.families().values())


REFERENCES = {"mechanism": "qwen_edit", "scaling": "kontext", "multiple": 8, "most": 3, "models": "a", "source": "b"}


@pytest.mark.parametrize(
    "entry, message",
    [
        (REFERENCES | {"mechanism": "magic"}, "mechanism is 'magic'; choose one of none, reference_latents, qwen_edit"),
        (REFERENCES | {"scaling": "huge"}, "scaling is 'huge'; choose one of kontext, megapixel"),
        (REFERENCES | {"multiple": 0}, "multiple is 0"),
        (REFERENCES | {"most": 0}, "most is 0"),
        (REFERENCES | {"models": ""}, "have no models"),
        (REFERENCES | {"source": " "}, "have no source"),
        ({"mechanism": "none"}, "have no source"),
        (REFERENCES | {"colour": "red"}, "colour"),
        (None, "references of sd15 in registry.yml cannot be read"),
    ],
)
def test_references_that_cannot_be(entry, message):
    family = yaml.safe_load(registry.FILE.read_text(encoding="utf-8"))["sd15"] | {"references": entry}
    with pytest.raises(ConfigError, match=message):
        registry._family("sd15", family)
