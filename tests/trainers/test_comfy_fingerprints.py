"""MODELs told apart by what they draw."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.comfyui


def lora(patcher, seed: int) -> dict:
    """A patch of one layer, as ComfyUI's loaders put it on."""
    name = next(name for name in patcher.model.state_dict() if name.endswith("attn.qkv.weight"))
    weight = patcher.model.state_dict()[name]
    change = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    return {name: ("diff", (change,))}


def test_a_lora_that_is_merged_into_the_shared_weights_is_another_models(load):
    from isengard.trainers import comfy_fingerprints

    plain = load("sd3")
    patched, other = plain.clone(), plain.clone()
    patched.add_patches(lora(plain, 1), 1.0)
    other.add_patches(lora(plain, 2), 1.0)
    weaker = plain.clone()
    weaker.add_patches(lora(plain, 1), 0.5)
    everyone = (plain, patched, other, weaker)
    before = [comfy_fingerprints.of_model(each) for each in everyone]
    assert len(set(before)) == 4
    assert comfy_fingerprints.of_model(plain.clone()) == before[0]
    with torch.inference_mode():
        patched.patch_model()
    try:
        comfy_fingerprints._WEIGHTS.clear()  # as if they were seen for the first time
        assert [comfy_fingerprints.of_model(each) for each in everyone] == before
    finally:
        patched.unpatch_model()


def test_what_other_nodes_changed_counts(load):
    from isengard.trainers import comfy_fingerprints

    def guided(by):
        changed = plain.clone()
        changed.set_model_sampler_cfg_function(lambda args: args["cond"] * by)
        return changed

    plain = load("sd3")
    found = [comfy_fingerprints.of_model(each) for each in (plain, guided(1.0), guided(2.0))]
    assert len(set(found)) == 3
    assert comfy_fingerprints.of_model(guided(2.0)) == found[2]
    assert comfy_fingerprints.of_model(load("sd3")) == found[0], "the same file, loaded again"
