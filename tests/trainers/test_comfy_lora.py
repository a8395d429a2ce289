"""LoRA files of several programs as what a training starts from, by ComfyUI's own names."""

from __future__ import annotations

import peft
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
    "ComfyUI's paths": {f"diffusion_model.{PATH}.lora_A.weight": DOWN, f"diffusion_model.{PATH}.lora_B.weight": UP},
    "diffusers": {f"unet.{DIFFUSERS}.lora_A.weight": DOWN, f"unet.{DIFFUSERS}.lora_B.weight": UP},
    "diffusers, before peft": {f"unet.{PROCESSOR}_lora.down.weight": DOWN, f"unet.{PROCESSOR}_lora.up.weight": UP},
}  # fmt: skip


def of_peft() -> dict[str, torch.Tensor]:
    """What its save_pretrained writes of a UNet with one adapted layer."""
    module = torch.nn.Linear(320, 320)
    for name in reversed(DIFFUSERS.split(".")):
        module = torch.nn.ModuleDict({name: module})
    module.config, module.forward = {}, lambda: None
    adapted = peft.get_peft_model(module, peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = DOWN if "lora_A" in name else UP
    return peft.get_peft_model_state_dict(adapted)


@pytest.fixture(scope="module")
def comfy_lora(comfy_model):
    from isengard.trainers import comfy_lora

    return comfy_lora


@pytest.mark.parametrize("program", [*NAMES, "peft"])
def test_every_programs_names_are_read(comfy_lora, load, program):
    text_encoder = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(3072, 1)}
    file = of_peft() if program == "peft" else NAMES[program]
    found = comfy_lora.low_rank(load("sd15"), file | text_encoder)
    scale = 0.5 if program == "sd-scripts" else 1.0
    assert list(found) == [PATH]
    torch.testing.assert_close(found[PATH].up @ found[PATH].down, scale * UP @ DOWN)


@pytest.mark.parametrize("shared", [True, False])
def test_parts_of_a_fused_layer_become_one(comfy_lora, load, shared):
    """SD3's query, key and value are apart in diffusers, one matrix in ComfyUI; only ours share their A."""
    patcher, path = load("sd3"), "joint_blocks.1.x_block.attn.qkv"
    downs = [torch.randn(2, 256)] * 3 if shared else torch.randn(3, 2, 256)
    ups = torch.randn(3, 256, 2)
    file = {}
    for name, down, up in zip(("to_q", "to_k", "to_v"), downs, ups, strict=True):
        file[f"transformer.transformer_blocks.1.attn.{name}.lora_A.weight"] = down
        file[f"transformer.transformer_blocks.1.attn.{name}.lora_B.weight"] = up
    found = comfy_lora.low_rank(patcher, file)
    assert list(found) == [path]
    assert len(found[path].down) == (2 if shared else 6)
    expected = torch.cat([up @ down for down, up in zip(downs, ups, strict=True)])
    torch.testing.assert_close(found[path].up @ found[path].down, expected)


@pytest.mark.parametrize("kind", ["sd3", "sd15"])
@pytest.mark.parametrize("targets", ["attention_mlp", "all_layers"])
def test_our_own_files_are_read_back(comfy_lora, comfy_model, load, kind, targets):
    from isengard.trainers import adapters, lora_file
    from isengard.trainers.config import AdapterConfig

    patcher, config = load(kind), AdapterConfig(rank=3, alpha=1.5, targets=targets)
    with adapters.attached(patcher.model.diffusion_model, config, seed=0) as layers:
        for parameter in adapters.parameters(layers).values():
            torch.nn.init.normal_(parameter)
        weights = adapters.file_weights(layers, config)
    found = comfy_lora.low_rank(patcher, lora_file.state_dict(weights, comfy_lora.file_names(patcher, "lora")))
    assert found.keys() == weights.keys()
    for path, (down, up) in found.items():
        ends = weights[path]
        change = 0.5 * ends["lora_up.weight"].flatten(1) @ ends["lora_down.weight"].flatten(1)
        torch.testing.assert_close(up.flatten(1) @ down.flatten(1), change, rtol=1e-4, atol=1e-4)


def test_a_lora_of_another_model_is_refused(comfy_lora, load):
    with pytest.raises(TrainingError, match="3 of the 3 weights .* belong to no layer .* the same kind of base"):
        comfy_lora.low_rank(load("sd3"), NAMES["sd-scripts"])


def test_a_lora_that_fits_in_part_is_refused(comfy_lora, load):
    """SD 1.5 and SDXL share names: what is left over, or of another size, tells them apart."""
    more = {"lora_unet_down_blocks_9_attn2_to_k.lora_up.weight": UP}
    with pytest.raises(TrainingError, match="1 of the 4 weights .*down_blocks_9"):
        comfy_lora.low_rank(load("sd15"), NAMES["sd-scripts"] | more)
    wide = NAMES["ComfyUI's paths"] | {f"diffusion_model.{PATH}.lora_A.weight": torch.randn(2, 640)}
    with pytest.raises(TrainingError, match=r"has \(320, 640\) at .*attn1.to_q, and this model has \(320, 320\)"):
        comfy_lora.low_rank(load("sd15"), wide)
    slices = {f"transformer.transformer_blocks.1.attn.to_q.lora_{side}.weight": torch.randn(shape)
              for side, shape in (("A", (2, 256)), ("B", (128, 2)))}  # fmt: skip
    with pytest.raises(TrainingError, match="128 outputs at a part of .*qkv, and this model has 256"):
        comfy_lora.low_rank(load("sd3"), slices)


def test_slices_that_are_another_models_are_not_written(comfy_lora):
    """ComfyUI knows the query of Z-Image in every model of its family, whose weights may be cut otherwise."""
    from isengard.trainers.lora_file import Part

    own, diffusers = Part("diffusion_model.attention.out"), Part("diffusion_model.attention.to_out.0")
    assert comfy_lora._whole_or_slices([own, diffusers], 4) == [diffusers]
    thirds = [Part(name, slice(start, start + 2)) for start, name in ((0, "q"), (2, "k"), (4, "v"))]
    assert comfy_lora._whole_or_slices([own, *thirds], 6) == thirds
    assert comfy_lora._whole_or_slices([own, *thirds], 5) == [own]


def test_other_adapters_are_refused_by_name(comfy_lora, load):
    name = f"lora_unet_{DIFFUSERS.replace('.', '_')}"
    loha = {f"{name}.hada_{side}": torch.ones(shape) for side, shape in (
        ("w1_a", (320, 2)), ("w1_b", (2, 320)), ("w2_a", (320, 2)), ("w2_b", (2, 320)))}  # fmt: skip
    with pytest.raises(TrainingError, match="has a loha at"):
        comfy_lora.low_rank(load("sd15"), loha)
    dora = NAMES["sd-scripts"] | {f"{name}.dora_scale": torch.ones(320, 1)}
    with pytest.raises(TrainingError, match="no plain one"):
        comfy_lora.low_rank(load("sd15"), dora)


def products(name: str, rows: int, columns: int) -> dict[str, torch.Tensor]:
    return {f"{name}.lora_A.weight": torch.randn(2, columns), f"{name}.lora_B.weight": torch.randn(rows, 2)}


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "lokr in parts"])
@pytest.mark.parametrize("columns", [320, 640])
def test_a_weight_of_another_size_is_seen(comfy_lora, load, kind, columns):
    name = f"lora_unet_{DIFFUSERS.replace('.', '_')}"
    ends = {
        "lora": {"lora_down.weight": (2, columns), "lora_up.weight": (320, 2)},
        "loha": {"hada_w1_a": (320, 2), "hada_w1_b": (2, columns), "hada_w2_a": (320, 2), "hada_w2_b": (2, columns)},
        "lokr": {"lokr_w1": (4, 4), "lokr_w2": (80, columns // 4)},
        "lokr in parts": {"lokr_w1": (4, 4), "lokr_w2_a": (80, 2), "lokr_w2_b": (2, columns // 4)},
    }[kind]
    file = {f"{name}.{end}": torch.zeros(shape) for end, shape in ends.items()}
    patcher = load("sd15")
    found = comfy_lora.matched(patcher, file)
    assert found.strange == () and len(found.adapters) == 1
    wrong = {f"diffusion_model.{PATH}.weight": ((320, 640), (320, 320))} if columns == 640 else {}
    assert comfy_lora.misfits(found, patcher) == wrong


def test_a_slice_of_another_size_is_seen(comfy_lora, load):
    patcher, to_q = load("sd3"), "transformer.transformer_blocks.1.attn.to_q"
    assert comfy_lora.misfits(comfy_lora.matched(patcher, products(to_q, 256, 256)), patcher) == {}
    wrong = comfy_lora.misfits(comfy_lora.matched(patcher, products(to_q, 128, 256)), patcher)
    assert list(wrong.values()) == [((128, 256), (256, 256))]


def test_a_text_encoders_weights_are_known_with_a_clip(comfy_lora, load_all):
    model, clip, _ = load_all("sd15", output_vae=False)
    file = products("lora_te_text_model_encoder_layers_0_mlp_fc1", 3072, 768)
    assert len(comfy_lora.matched(model, file).strange) == 2
    found = comfy_lora.matched(model, file, clip)
    assert found.strange == () and len(found.adapters) == 1
