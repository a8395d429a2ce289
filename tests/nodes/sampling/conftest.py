"""Characters on a real ComfyUI, with LoRAs of one layer."""

from __future__ import annotations

import shutil

import pytest
import safetensors.torch
import torch

from isengard.nodes.characters.library import Library

LAYER = "transformer.transformer_blocks.1.attn.to_q"
UNET_LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT_LAYER = "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"


@pytest.fixture
def characters(comfyui):
    """The server's own library, with Mira in it."""
    root = comfyui.base / "user" / "default" / "isengard" / "characters"
    shutil.rmtree(root, ignore_errors=True)
    found = Library(root)
    found.put("Mira", trigger="mira", class_noun="woman", description="kind")
    return found


@pytest.fixture
def lora(tmp_path):
    """A function that writes a LoRA of one layer, of the SD3-shaped checkpoint or the one of a name, and tells where it
    is. columns, rows: of the layer. text: with one of the text encoder besides."""

    def lora(layer: str = LAYER, columns: int = 256, metadata: dict | None = None, rows: int = 256, text: bool = False):
        generator = torch.Generator().manual_seed(1)
        weights = {}
        for name, across, down in [(layer, columns, rows)] + [(TEXT_LAYER, 768, 768)] * text:
            weights[f"{name}.lora_A.weight"] = torch.randn(4, across, generator=generator)
            weights[f"{name}.lora_B.weight"] = torch.randn(down, 4, generator=generator)
        safetensors.torch.save_file(weights, tmp_path / "mira.safetensors", metadata)
        return tmp_path / "mira.safetensors"

    return lora
