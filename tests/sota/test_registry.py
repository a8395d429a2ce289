from __future__ import annotations

import pytest

from isengard.sota import registry


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
