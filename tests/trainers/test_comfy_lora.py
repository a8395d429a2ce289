"""LoRA files of several programs as what a training starts from, by ComfyUI's own names."""

from __future__ import annotations

import pytest
import torch

from isengard.trainers.errors import TrainingError

pytestmark = pytest.mark.comfyui

PATH = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
DIFFUSERS = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
PROCESSOR = DIFFUSERS.replace(".to_q", ".processor.to_q")
DOWN, UP = torch.randn(2, 320), torch.randn(320, 2)
NAMES = {
    "sd-scripts": {f"lora_unet_{DIFFUSERS.replace('.', '_')}.{end}": tensor for end, tensor in (
        ("lora_down.weight", DOWN), ("lora_up.weight", UP), ("alpha", torch.tensor(1.0)))},
    "peft": {f"diffusion_model.{PATH}.lora_A.weight": DOWN, f"diffusion_model.{PATH}.lora_B.weight": UP},
    "diffusers": {f"unet.{PROCESSOR}_lora.down.weight": DOWN, f"unet.{PROCESSOR}_lora.up.weight": UP},
}  # fmt: skip


@pytest.fixture(scope="module")
def comfy_lora(comfy_model):
    from isengard.trainers import comfy_lora

    return comfy_lora


@pytest.mark.parametrize("program", NAMES)
def test_every_programs_names_are_read(comfy_lora, load, program):
    text_encoder = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(3072, 1)}
    found = comfy_lora.low_rank(load("sd15"), NAMES[program] | text_encoder)
    scale = 0.5 if program == "sd-scripts" else 1.0
    assert list(found) == [PATH]
    torch.testing.assert_close(found[PATH].up @ found[PATH].down, scale * UP @ DOWN)


def test_a_lora_of_another_model_is_refused(comfy_lora, load):
    with pytest.raises(TrainingError, match="none of the 3 weights .* the same kind of base"):
        comfy_lora.low_rank(load("sd3"), NAMES["sd-scripts"])


def test_other_adapters_are_refused_by_name(comfy_lora, load):
    name = f"lora_unet_{DIFFUSERS.replace('.', '_')}"
    loha = {f"{name}.hada_{side}": torch.ones(shape) for side, shape in (
        ("w1_a", (320, 2)), ("w1_b", (2, 320)), ("w2_a", (320, 2)), ("w2_b", (2, 320)))}  # fmt: skip
    with pytest.raises(TrainingError, match="has a loha at"):
        comfy_lora.low_rank(load("sd15"), loha)
    dora = NAMES["sd-scripts"] | {f"{name}.dora_scale": torch.ones(320, 1)}
    with pytest.raises(TrainingError, match="no plain one"):
        comfy_lora.low_rank(load("sd15"), dora)
