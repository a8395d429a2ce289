"""Our LoRA files in diffusers: no key left over, and the same pictures."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers import draws, loop, lora_file
from isengard.trainers.config import AdapterConfig

from .test_comfy_model import CONFIG, examples

pytestmark = pytest.mark.comfyui

diffusers = pytest.importorskip("diffusers")


def unet_of(patcher):
    """diffusers' network of the same shape and weights as the SD1.5-shaped one of the tests."""
    import comfy.utils

    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(320, 640),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=768, attention_head_dim=8,
    )  # fmt: skip
    ours = patcher.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(patcher.model.model_config.unet_config)
    weights = {theirs: ours[name].float() for theirs, name in names.items() if theirs in unet.state_dict()}
    left_over = unet.load_state_dict(weights, strict=False)
    assert left_over.missing_keys == left_over.unexpected_keys == []
    return unet.eval().requires_grad_(False)


def pipeline_of(unet):
    """Of which only the network is used; diffusers reads LoRA files into pipelines."""
    return diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


@torch.no_grad()
def test_an_sd15_lora_draws_the_same_in_diffusers(comfy_model, load, tmp_path, caplog):
    patcher, pictures = load("sd15"), examples("sd15")
    config = dataclasses.replace(CONFIG, steps=4, adapter=AdapterConfig(rank=4, alpha=2.0, targets="all_layers"))
    answers = []

    def measure(progress):
        if progress.step in (1, config.steps):
            with torch.no_grad():
                answers.append(base.predict(noisy.x, noisy.sigma, noisy.conditions))

    with comfy_model.opened(patcher) as base:
        noisy = pictures.batch([draws.Draw(0, 0, 500), draws.Draw(1, 0, 501)], base, CONFIG)
        timesteps = base.sampling.timestep(noisy.sigma).float()
        scaled = base.sampling.calculate_input(noisy.sigma, noisy.x)
        trained = loop.train(base, pictures, config, measure)
    state = lora_file.kohya_state_dict(trained.weights, comfy_model.lora_names(patcher))
    lora_file.save(state, tmp_path / "mira.safetensors", "fp32", {})

    pipeline = pipeline_of(unet_of(patcher))
    context = torch.cat([condition[0][0] for condition in noisy.conditions])
    plain = pipeline.unet(scaled, timesteps, context).sample
    pipeline.load_lora_weights(tmp_path / "mira.safetensors")
    drawn = pipeline.unet(scaled, timesteps, context).sample
    adapted = {name.split(".lora_A")[0] for name, _ in pipeline.unet.named_parameters() if ".lora_A." in name}
    assert len(adapted) == len(trained.weights), "diffusers left layers out"
    assert not [record.message for record in caplog.records if "unexpected keys" in record.message.lower()]
    assert (drawn - plain).abs().max() > 1e-2, "the LoRA does nothing, so this shows nothing"
    torch.testing.assert_close(drawn, answers[-1], rtol=1e-4, atol=1e-4)
