"""Custom nodes for a test's server: small edit models with random weights, of ComfyUI's own classes, which its loaders
would not take at this size; and a node that keeps a CONDITIONING as a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.text_encoders.llama as llama
import comfy.text_encoders.qwen_image as qwen_image
import comfy.text_encoders.qwen_vl as qwen_vl
import folder_paths
import torch
from comfy import sd1_clip
from comfy.ldm.flux.model import FluxParams
from safetensors.torch import save_file

WIDTH = 64  # of the text encoder


def _random(module: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)


def _patcher(config):
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device="cpu")
    _random(model)
    return comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


class TinyFlux:
    """Takes the text of the SD3-shaped checkpoint."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "make", "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def make(self):
        newer = {"txt_ids_dims": []} if "txt_ids_dims" in {f.name for f in dataclasses.fields(FluxParams)} else {}
        config = comfy.supported_models.FluxSchnell({
            "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 2048, "context_in_dim": 4096,
            "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1,
            "axes_dim": [4, 6, 6], "theta": 10_000, "patch_size": 2, "qkv_bias": True, "guidance_embed": False, **newer,
        })  # fmt: skip
        return (_patcher(config),)


class TinyQwen:
    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL", "CLIP"), "make", "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def make(self):
        config = comfy.supported_models.QwenImage({
            "image_model": "qwen_image", "in_channels": 64, "num_layers": 1, "attention_head_dim": 16,
            "num_attention_heads": 2, "joint_attention_dim": WIDTH, "axes_dims_rope": (4, 6, 6),
        })  # fmt: skip
        target = SimpleNamespace(clip=_Encoder, tokenizer=qwen_image.QwenImageTokenizer, params={})
        clip = comfy.sd.CLIP(target)
        _random(clip.cond_stage_model)
        return _patcher(config), clip


class _Transformer(llama.Qwen25_7BVLI):
    """Qwen2.5-VL with one layer of words, and one of pictures."""

    def __init__(self, config_dict, dtype, device, operations):
        torch.nn.Module.__init__(self)
        config = llama.Qwen25_7BVLI_Config(
            hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1,
        )  # fmt: skip
        self.num_layers = config.num_hidden_layers
        self.model = llama.Llama2_(config, device=device, dtype=dtype, ops=operations)
        self.visual = qwen_vl.Qwen2VLVisionTransformer(
            hidden_size=32, output_hidden_size=WIDTH, intermediate_size=32, num_heads=2, num_layers=1, device=device,
            dtype=dtype, ops=operations,
        )  # fmt: skip
        self.dtype = dtype


class _Words(sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(
            device=device, layer="last", textmodel_json_config={}, dtype=dtype, special_tokens={"pad": 151643},
            layer_norm_hidden_state=False, model_class=_Transformer, enable_attention_masks=True,
            return_attention_masks=True, model_options=model_options or {},
        )  # fmt: skip


class _Encoder(qwen_image.QwenImageTEModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        sd1_clip.SD1ClipModel.__init__(
            self, device=device, dtype=dtype, name="qwen25_7b", clip_model=_Words, model_options=model_options or {}
        )


class KeepConditioning:
    """output/NAME.safetensors: the text, the pooled one, and every reference latent."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "keep", "tests", True

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"conditioning": ("CONDITIONING",), "name": ("STRING", {"default": ""})}}

    def keep(self, conditioning, name):
        ((text, more),) = conditioning
        kept = {"text": text} | {key: value for key, value in more.items() if isinstance(value, torch.Tensor)}
        kept |= {f"reference_{place}": latent for place, latent in enumerate(more.get("reference_latents", []))}
        file = Path(folder_paths.get_output_directory()) / f"{name}.safetensors"
        save_file({key: value.contiguous().clone() for key, value in kept.items()}, file)
        return ()


NODE_CLASS_MAPPINGS = {"TinyFlux": TinyFlux, "TinyQwen": TinyQwen, "KeepConditioning": KeepConditioning}
