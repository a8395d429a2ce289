"""A custom node that gives a CLIP_VISION: ComfyUI's own class, small and with random weights. Core's loader only takes
files of hundreds of megabytes. Copied into the custom_nodes of a server that needs one."""

import json
import tempfile
from pathlib import Path

import comfy.clip_vision
import torch

_CONFIG = {
    "attention_dropout": 0.0, "dropout": 0.0, "hidden_act": "quick_gelu", "hidden_size": 64, "image_size": 56,
    "intermediate_size": 128, "layer_norm_eps": 1e-5, "model_type": "clip_vision_model", "num_attention_heads": 4,
    "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 48, "torch_dtype": "float32",
}  # fmt: skip


class SmallClipVision:
    """Always the same weights."""

    RETURN_TYPES = ("CLIP_VISION",)
    FUNCTION = "make"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802, as ComfyUI calls it
        return {"required": {}}

    def make(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.json"
            file.write_text(json.dumps(_CONFIG))
            model = comfy.clip_vision.ClipVisionModel(str(file))
        generator = torch.Generator().manual_seed(0)
        for parameter in model.model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        return (model,)


NODE_CLASS_MAPPINGS = {"SmallClipVision": SmallClipVision}
