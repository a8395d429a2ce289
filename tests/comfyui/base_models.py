"""Small checkpoints with seeded random weights that ComfyUI's stock CheckpointLoaderSimple takes.

They show that every part works on a real model of its shape; they draw nothing.

    sd3   SD3-shaped: flow prediction, width 64 x depth 4, 16 latent channels, CLIP-L, tiny autoencoder
    sd15  SD1.5-shaped: eps prediction, 107 M parameters, 4 latent channels, CLIP-L, tiny autoencoder

Usage, with a ComfyUI's Python: base_models.py COMFYUI_FOLDER KIND FILE
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import numpy as np

SEED = 20251128


def seeded_weights(shapes: dict[str, tuple[int, ...]], constants: dict[str, float]) -> dict[str, np.ndarray]:
    """float16 weights drawn key by key, each from a generator of its own: the same on every machine.

    constants: the value of every one-dimensional weight that is not 0. The others are normal, scaled by
    sqrt(2 / fan in) in the autoencoder (ReLU: arXiv 1502.01852) and sqrt(1 / fan in) elsewhere.
    """
    weights = {}
    for key, shape in shapes.items():
        if len(shape) < 2:
            weights[key] = np.full(shape, constants.get(key, 0.0), np.float16)
            continue
        generator = np.random.default_rng([SEED, zlib.crc32(key.encode())])
        gain = 2.0 if key.startswith("first_stage_model.") else 1.0
        scale = np.float32(np.sqrt(gain / np.prod(shape[1:])))
        weights[key] = (generator.standard_normal(shape, np.float32) * scale).astype(np.float16)
    return weights


def _sd3():
    from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
    from comfy.ops import disable_weight_init

    network = MMDiT(
        input_size=None, pos_embed_scaling_factor=None, pos_embed_offset=None, pos_embed_max_size=32, patch_size=2,
        in_channels=16, depth=4, adm_in_channels=2048, num_patches=1024,
        context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 256}},
        operations=disable_weight_init,
    )  # fmt: skip
    return network, 16, "text_encoders.clip_l."


def _sd15():
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    network = UNetModel(
        image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[1, 1], channel_mult=[1, 2],
        num_heads=8, use_spatial_transformer=True, context_dim=768, transformer_depth=[1, 1],
        transformer_depth_output=[1, 1, 1, 1], transformer_depth_middle=1, legacy=False, operations=disable_weight_init,
    )  # fmt: skip
    return network, 4, "cond_stage_model."


def _clip_l():
    from comfy.sd1_clip import SDClipModel

    return SDClipModel(device="meta").transformer


def make(kind: str):
    """The checkpoint's arrays by key."""
    import torch
    from comfy.taesd.taesd import TAESD

    with torch.device("meta"):
        network, latent_channels, clip_prefix = {"sd3": _sd3, "sd15": _sd15}[kind]()
        parts = {
            "model.diffusion_model.": network,
            "first_stage_model.": TAESD(latent_channels=latent_channels),
            f"{clip_prefix}transformer.": _clip_l(),
        }
    shapes: dict[str, tuple[int, ...]] = {}
    constants = {"first_stage_model.vae_scale": 1.0}
    for prefix, module in parts.items():
        shapes |= {prefix + key: tuple(t.shape) for key, t in module.state_dict().items() if t.is_floating_point()}
        norms = [path for path, child in module.named_modules() if "Norm" in type(child).__name__]
        constants |= {f"{prefix}{path}.weight": 1.0 for path in norms}
    encoder, decoder = (_last_layer(shapes, side) for side in ("encoder", "decoder"))
    constants[f"{decoder}.bias"] = 0.5  # pictures around grey
    weights = seeded_weights(shapes, constants)
    weights[f"{encoder}.weight"] *= np.float16(0.01)  # latents and colours of about the size they have in real models
    weights[f"{decoder}.weight"] *= np.float16(0.004)
    return weights


def _last_layer(shapes, side: str) -> str:
    keys = [key for key in shapes if key.startswith(f"first_stage_model.taesd_{side}.")]
    return max(keys, key=_layer_number).rpartition(".")[0]


def _layer_number(key: str) -> int:
    return int(key.split(".")[2])


def main(comfyui: str, kind: str, file: str) -> None:
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], "--cpu"]  # ComfyUI reads its options when it is imported
    import comfy.options

    comfy.options.enable_args_parsing()
    from safetensors.numpy import save_file

    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    save_file(make(kind), partial)
    partial.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
