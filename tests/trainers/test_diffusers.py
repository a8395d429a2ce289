"""Our LoRA files in diffusers: no key left over, and the same pictures."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from isengard.trainers import draws, loop, lora_file
from isengard.trainers.config import AdapterConfig

from .comfy_examples import CONFIG, examples

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


def unet_pipeline(unet):
    """Of which only the network is used; diffusers reads LoRA files into pipelines."""
    return diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def transformer_of(patcher):
    """diffusers' network of the same shape and weights as the SD3-shaped one of the tests."""
    import comfy.utils

    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, num_layers=4, attention_head_dim=64, num_attention_heads=4,
        joint_attention_dim=4096, caption_projection_dim=256, pooled_projection_dim=2048, out_channels=16,
        pos_embed_max_size=32,
    )  # fmt: skip
    ours, wanted = patcher.model.diffusion_model.state_dict(), transformer.state_dict()
    weights = {}
    for theirs, target in comfy.utils.mmdit_to_diffusers(patcher.model.model_config.unet_config).items():
        name, rows, change = (target, None, None) if isinstance(target, str) else (*target, None)[:3]
        if theirs in wanted and name in ours:
            weight = ours[name].float() if rows is None else ours[name].float().narrow(*rows)
            weights[theirs] = change(weight) if change else weight
    left_over = transformer.load_state_dict(weights, strict=False)
    assert left_over.missing_keys == left_over.unexpected_keys == []
    return transformer.eval().requires_grad_(False)


def transformer_pipeline(transformer):
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=None, text_encoder=None,
        tokenizer=None, text_encoder_2=None, tokenizer_2=None, text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def unet_answers(unet, base, noisy):
    context = torch.cat([condition[0][0] for condition in noisy.conditions])
    return unet(base.scaled, base.timesteps, context).sample


def transformer_answers(transformer, base, noisy):
    context = torch.cat([condition[0][0] for condition in noisy.conditions])
    pooled = torch.cat([condition[0][1]["pooled_output"] for condition in noisy.conditions])
    return transformer(base.scaled, context, pooled, base.timesteps).sample


class Asked(NamedTuple):
    """What the network itself is given for a batch."""

    scaled: torch.Tensor
    timesteps: torch.Tensor


@pytest.mark.parametrize("targets", ["attention_mlp", "all_layers"])
@pytest.mark.parametrize(
    ("kind", "network_of", "pipeline_of", "answers_of", "part"),
    [
        ("sd15", unet_of, unet_pipeline, unet_answers, "unet"),
        ("sd3", transformer_of, transformer_pipeline, transformer_answers, "transformer"),
    ],
)
@torch.no_grad()
def test_a_lora_draws_the_same_in_diffusers(
    comfy_model, load, tmp_path, caplog, kind, targets, network_of, pipeline_of, answers_of, part
):
    from isengard.trainers import comfy_lora

    patcher, pictures = load(kind), examples(kind)
    config = dataclasses.replace(CONFIG, steps=4, adapter=AdapterConfig(rank=4, alpha=2.0, targets=targets))
    answers = []

    def measure(progress):
        if progress.step == config.steps:
            with torch.no_grad():
                answers.append(base.predict(noisy.x, noisy.sigma, noisy.conditions))

    with comfy_model.opened(patcher, "loaded") as base:
        noisy = pictures.batch([draws.Draw(0, 0, 500), draws.Draw(1, 0, 501)], base, CONFIG)
        asked = Asked(base.sampling.calculate_input(noisy.sigma, noisy.x), base.sampling.timestep(noisy.sigma).float())
        trained = loop.train(base, pictures, config, loop.Watch(measure))
    file = tmp_path / "mira.safetensors"
    names = comfy_lora.file_names(patcher, config.adapter.kind)
    lora_file.save(lora_file.state_dict(trained.weights, names), file, "fp32", {})

    pipeline = pipeline_of(network_of(patcher))
    network = getattr(pipeline, part)
    plain = answers_of(network, asked, noisy)
    pipeline.load_lora_weights(file)
    drawn = answers_of(network, asked, noisy)
    in_file = {name.rpartition(".lora_")[0] for name in load_file(file) if ".lora_" in name}
    adapted = {name.split(".lora_A")[0] for name, _ in network.named_parameters() if ".lora_A." in name}
    assert len(adapted) == len(in_file), "diffusers left layers out"
    assert not [record.message for record in caplog.records if "unexpected keys" in record.message.lower()]
    assert (drawn - plain).abs().max() > 1e-2, "the LoRA does nothing, so this shows nothing"
    torch.testing.assert_close(drawn, answers[-1], rtol=1e-4, atol=1e-4)
