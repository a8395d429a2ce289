"""The bridge to ComfyUI, on ComfyUI's own models."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft.tuners.lora import LoraLayer

from isengard.trainers import loop, targets
from isengard.trainers.batch import Example
from isengard.trainers.config import AdapterConfig
from isengard.trainers.errors import TrainingError

from .comfy_examples import CONFIG, examples, with_v_prediction

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def comfy_lora(comfy_model):
    from isengard.trainers import comfy_lora

    return comfy_lora


def test_every_target_has_a_name_that_comfyui_maps_to_it(comfy_lora, load):
    import comfy.lora

    for checkpoint in ("sd3", "sd15"):
        patcher = load(checkpoint)
        names, known = comfy_lora.sd_scripts_names(patcher), comfy.lora.model_lora_keys_unet(patcher.model, {})
        paths = targets.target_layers(patcher.model.diffusion_model, AdapterConfig(targets="all_layers"))
        assert {path: known[names[path]] for path in paths} == {p: f"diffusion_model.{p}.weight" for p in paths}
        assert len({names[path] for path in paths}) == len(paths)


def test_unet_names_are_diffusers_block_names(comfy_lora, load):
    names = comfy_lora.sd_scripts_names(load("sd15"))
    assert (
        names["input_blocks.1.1.transformer_blocks.0.attn1.to_q"]
        == "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    )


def test_the_fingerprint_tells_weights_apart(comfy_model, load):
    def fingerprint(patcher):
        with comfy_model.opened(patcher, "loaded") as base:
            return comfy_model.fingerprint(base)

    patcher = load("sd3")
    first = fingerprint(patcher)
    assert first == fingerprint(load("sd3"))
    assert first != fingerprint(load("sd15"))
    with torch.no_grad():
        patcher.model.diffusion_model.joint_blocks[2].x_block.mlp.fc1.weight += 1e-2
    assert fingerprint(patcher) != first


def test_the_fingerprint_tells_schedules_on_the_same_weights_apart(comfy_model, load):
    """As core's ModelSampling nodes make them: another prediction type, and another shift."""
    import comfy.model_sampling

    class Shifted(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    def with_shift(shift):
        patcher = load("sd3").clone()
        sampling = Shifted(patcher.model.model_config)
        sampling.set_parameters(shift=shift)
        patcher.add_object_patch("model_sampling", sampling)
        return patcher

    def fingerprint(patcher):
        with comfy_model.opened(patcher, "loaded") as base:
            return comfy_model.fingerprint(base)

    assert fingerprint(load("sd15")) != fingerprint(with_v_prediction(load("sd15")))
    assert fingerprint(with_shift(3.0)) == fingerprint(with_shift(3.0)) != fingerprint(with_shift(5.0))


def test_shifted_levels_are_those_of_the_models_own_sampler(comfy_model, load):
    positions = torch.tensor([0.0, 0.25, 0.5, 0.999])
    with comfy_model.opened(load("sd3"), "loaded") as base:
        assert torch.equal(base.sigmas(positions), positions)
        shifted = base.sigmas(positions, shifted=True)
        torch.testing.assert_close(shifted.float(), 3 * positions / (1 + 2 * positions))  # SD3's shift is 3
    with comfy_model.opened(load("sd15"), "loaded") as base:  # a schedule of its own, which has no shift
        assert torch.equal(base.sigmas(positions, shifted=True), base.sigmas(positions))


def test_captions_of_different_lengths_fit_into_one_step(comfy_model, load):
    """SD3 does not pad: 77 tokens and 154 cannot be one batch. Each predicts as it does alone."""
    short, other, long = examples("sd3").trained
    tokens, more = long.conditions[0][0]
    long = Example("long", long.latent, ([[torch.cat([tokens, tokens], 1), more]],))
    pictures = [short, long, other]
    with comfy_model.opened(load("sd3"), "loaded") as base, torch.no_grad():
        x, sigma = torch.stack([example.latent for example in pictures]), torch.tensor([0.2, 0.5, 0.9])
        together = base.predict(x, sigma, [example.conditions[0] for example in pictures])
        for place, example in enumerate(pictures):
            alone = base.predict(x[place : place + 1], sigma[place : place + 1], [example.conditions[0]])
            torch.testing.assert_close(together[place : place + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_network_that_prepares_its_text_itself_can_be_trained(comfy_model, load, monkeypatch):
    """As LTX-AV in newer ComfyUI: `extra_conds` runs layers of the network. That happens before they have adapters,
    and what they make holds no graph."""
    patcher = load("sd3")
    original, embedder = patcher.model.extra_conds, patcher.model.diffusion_model.y_embedder
    adapted = []

    def extra_conds(**arguments):
        adapted.append(isinstance(embedder.mlp[0], LoraLayer))
        conds = original(**arguments)
        conds["c_crossattn"].cond = conds["c_crossattn"].cond + embedder(arguments["pooled_output"]).mean()
        return conds

    monkeypatch.setattr(patcher.model, "extra_conds", extra_conds)
    config = dataclasses.replace(CONFIG, steps=3, adapter=AdapterConfig(rank=4, targets="all_linear"))
    with comfy_model.opened(patcher, "loaded") as base:
        trained = loop.train(base, examples("sd3"), config, loop.Watch(lambda progress: None))
    assert "y_embedder.mlp.0" in trained.weights
    assert adapted == [False] * 3  # once for each picture's caption


def test_a_model_that_predicts_no_noise_is_refused(comfy_model, load):
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
        pass

    patcher = load("sd15").clone()
    patcher.add_object_patch("model_sampling", Sampling(patcher.model.model_config))
    with pytest.raises(TrainingError, match="maps a picture to a picture"):
        comfy_model.prediction_type(patcher)
