"""Targets "text" on ComfyUI's own networks, small ones of each build: layers that only the words pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isengard.trainers.config import AdapterConfig
from isengard.trainers.errors import TrainingError
from isengard.trainers.targets import target_layers

pytestmark = pytest.mark.comfyui

WORDS = 7  # tokens; no other size in these networks is 7


def unet(operations):
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    network = UNetModel(
        image_size=8, in_channels=4, out_channels=4, model_channels=32, num_res_blocks=[1, 1], channel_mult=(1, 2),
        num_heads=2, use_spatial_transformer=True, transformer_depth=[1, 1], transformer_depth_output=[1, 1, 1, 1],
        transformer_depth_middle=1, context_dim=24, operations=operations, dtype=torch.float32,
    )  # fmt: skip
    return network, {"x": torch.randn(1, 4, 8, 8), "context": torch.randn(1, WORDS, 24)}


def sd3(operations):
    from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT

    words = {"target": "torch.nn.Linear", "params": {"in_features": 24, "out_features": 128}}
    network = MMDiT(
        input_size=None, depth=2, in_channels=16, patch_size=2, pos_embed_max_size=8, num_patches=64,
        adm_in_channels=24, context_embedder_config=words, operations=operations, dtype=torch.float32,
    )  # fmt: skip
    return network, {"x": torch.randn(1, 16, 8, 8), "context": torch.randn(1, WORDS, 24), "y": torch.randn(1, 24)}


def flux(operations):
    from comfy.ldm.flux.model import Flux

    network = Flux(
        in_channels=16, out_channels=16, vec_in_dim=24, context_in_dim=24, hidden_size=64, mlp_ratio=2.0, num_heads=2,
        depth=2, depth_single_blocks=1, axes_dim=[8, 12, 12], theta=10000, patch_size=2, qkv_bias=True,
        guidance_embed=False, operations=operations, dtype=torch.float32,
    )  # fmt: skip
    return network, {"x": torch.randn(1, 16, 8, 8), "context": torch.randn(1, WORDS, 24), "y": torch.randn(1, 24)}


def qwen_image(operations):
    from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel

    network = QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, num_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=24, axes_dims_rope=(8, 12, 12), operations=operations, dtype=torch.float32,
    )  # fmt: skip
    return network, {"x": torch.randn(1, 16, 1, 8, 8), "context": torch.randn(1, WORDS, 24)}


def wan(operations):
    from comfy.ldm.wan.model import WanModel

    network = WanModel(
        text_len=WORDS, in_dim=16, dim=64, ffn_dim=96, freq_dim=32, text_dim=24, num_heads=2, num_layers=2,
        operations=operations, dtype=torch.float32,
    )  # fmt: skip
    return network, {"x": torch.randn(1, 16, 1, 8, 8), "context": torch.randn(1, WORDS, 24)}


def inputs_of_linear_layers(network, arguments) -> dict[str, torch.Size]:
    shapes = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs, path=path: shapes.update({path: inputs[0].shape}))
    with torch.inference_mode():
        network(arguments.pop("x"), torch.ones(1), **arguments)
    return shapes


@pytest.mark.parametrize(
    ("build", "blocks"),
    [
        (unet, {"attn2"}),
        (sd3, {"joint_blocks.0", "joint_blocks.1"}),
        (flux, {"double_blocks.0", "double_blocks.1"}),
        (qwen_image, {"transformer_blocks.0", "transformer_blocks.1"}),
        (wan, {"blocks.0", "blocks.1"}),
    ],
)
def test_text_targets_are_passed_by_the_words_alone(build, blocks, comfy_model):
    import comfy.ops

    network, arguments = build(comfy.ops.disable_weight_init)
    chosen = target_layers(network, AdapterConfig(targets="text"))
    assert all(any(block in path for path in chosen) for block in blocks), chosen
    assert {*chosen} <= {*target_layers(network, AdapterConfig())}
    for path, shape in inputs_of_linear_layers(network, arguments).items():
        inside_a_block = any(block in path for block in blocks)
        words_alone = len(shape) == 3 and shape[1] == WORDS
        assert words_alone and inside_a_block if path in chosen else not (words_alone and inside_a_block), (path, shape)


def test_a_network_without_cross_attention_or_text_stream_says_so():
    network = nn.ModuleDict({"attn": nn.ModuleDict({"q": nn.Linear(2, 2)}), "mlp": nn.Linear(2, 2)})
    with pytest.raises(TrainingError, match="none of them is 'text'.*all_linear"):
        target_layers(network, AdapterConfig(targets="text"))
