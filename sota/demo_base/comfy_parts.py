"""The networks, as ComfyUI defines them: the only file here that imports ComfyUI.

It is found through COMFYUI_PATH; call `use_comfyui` first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

DEPTH = 4  # SD3-shaped: width 64 x depth


class NoComfyUI(FileNotFoundError):
    """There is no ComfyUI where it was said to be."""


def use_comfyui(folder: Path, cpu: bool) -> None:
    """Makes ComfyUI importable. Raises NoComfyUI where there is none."""
    if not (folder / "comfy").is_dir():
        raise NoComfyUI(f"there is no ComfyUI in {folder}: set COMFYUI_PATH to one")
    sys.path.insert(0, str(folder))
    sys.argv = [sys.argv[0], *(["--cpu"] if cpu else [])]  # ComfyUI reads its options when it is imported
    import comfy.options

    comfy.options.enable_args_parsing()


def autoencoder(latent_channels: int):
    """ComfyUI's TAESD with fresh weights; each residual branch begins small, so that 20 blocks train at a high rate."""
    from comfy.taesd.taesd import TAESD

    model = initialised(TAESD(latent_channels=latent_channels))
    for name, weight in model.named_parameters():
        if name.endswith(".conv.4.weight"):
            weight.data.mul_(0.2)
    return model


def picture_model(text_width: int):
    """ComfyUI's MMDiT in SD3's shape with fresh weights; modulations and the last layer begin at zero (adaLN-Zero,
    arXiv 2212.09748, section 3.2)."""
    from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
    from comfy.ops import disable_weight_init

    linear = {"target": "torch.nn.Linear", "params": {"in_features": text_width, "out_features": 64 * DEPTH}}
    model = MMDiT(
        input_size=None, patch_size=2, in_channels=16, depth=DEPTH, adm_in_channels=text_width, qk_norm="rms",
        context_embedder_config=linear, operations=disable_weight_init,
    )  # fmt: skip
    initialised(model)
    for name, weight in model.named_parameters():
        if "adaLN_modulation" in name or "final_layer.linear" in name:
            nn.init.zeros_(weight)
        elif ".ln_" in name:
            nn.init.ones_(weight)
    return model


def text_encoder(weights: dict, device) -> Callable[[list[str]], tuple[Tensor, Tensor]]:
    """ComfyUI's CLIP-L with SD3's output: from B captions to features B,77,768 and pooled features B,768.

    weights: `text_encoder.weights()`.
    """
    from comfy.sd1_clip import SDTokenizer

    model, tokenizer = _first_layer(weights, device), SDTokenizer()

    @torch.inference_mode()
    def encode(captions: list[str]) -> tuple[Tensor, Tensor]:
        tokens = [[token for token, _ in tokenizer.tokenize_with_weights(text)[0]] for text in captions]
        return model(tokens)

    return encode


def _first_layer(weights: dict, device) -> nn.Module:
    """CLIP-L whose first layer alone is computed, as the others add nothing (text_encoder.py)."""
    from comfy.sd1_clip import SDClipModel

    layers = 3  # as few as layer -2 may be asked of
    config = json.loads(
        Path(sys.modules[SDClipModel.__module__].__file__).with_name("sd1_clip_config.json").read_text()
    )
    config["num_hidden_layers"] = layers
    model = SDClipModel(
        layer="hidden", layer_idx=-2, layer_norm_hidden_state=False, return_projected_pooled=False,
        dtype=torch.float32, device=device, textmodel_json_config=config,
    )  # fmt: skip
    kept = {name: torch.from_numpy(array) for name, array in weights.items() if _layer(name) < layers}
    model.transformer.load_state_dict(kept)
    first, *others = model.transformer.text_model.encoder.layers
    first.mlp.forward = torch.zeros_like
    for layer in others:
        layer.forward = lambda x, *_: x
    return model.to(device)


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[3]) if "layers" in parts else -1


def initialised(module):
    """Fresh weights, which ComfyUI's layers leave unset: He's for convolutions before a ReLU (arXiv 1502.01852)."""

    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.Linear.reset_parameters(layer)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
