"""A base is left as it was found, and samples afterwards as before."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch

from isengard.trainers import loop

from .comfy_examples import CONFIG, examples

pytestmark = pytest.mark.comfyui


def test_weights_that_comfyui_replaces_meanwhile_are_not_held_and_left_as_they_were_found(comfy_model, load):
    """A preview with a LoRA makes it load the model again."""
    patcher = load("sd3")
    model = patcher.model
    with torch.inference_mode():
        model.requires_grad_(True)
    with comfy_model.opened(patcher, "loaded"):
        before = [weakref.ref(parameter) for parameter in model.parameters()]
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = torch.nn.Parameter(parameter.detach().clone(), requires_grad=False)
        del module, parameter
        gc.collect()
        assert not any(reference() is not None for reference in before), "a second copy of the model"
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("failing", [True, False])
def test_the_base_is_left_as_it_was_found(comfy_model, load, failing):
    import comfy.model_management

    patcher = load("sd3")
    model = patcher.model
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    modules = {path: id(module) for path, module in model.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    training = {path: module.training for path, module in model.named_modules()}
    switch = vars(comfy.model_management).get("in_training", "absent")

    def report(progress):
        assert vars(comfy.model_management).get("in_training", "absent") in (True, "absent")
        if failing:
            raise KeyError("stop")

    def train():
        with comfy_model.opened(patcher, "loaded") as base:
            loop.train(base, examples("sd3"), CONFIG, loop.Watch(report))

    if failing:
        with pytest.raises(KeyError):
            train()
    else:
        train()
    assert dict.fromkeys(weights, True) == {key: torch.equal(v, weights[key]) for key, v in model.state_dict().items()}
    assert {path: id(module) for path, module in model.named_modules()} == modules
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert "calculate_denoised" not in vars(model.model_sampling)
    assert {path: module.training for path, module in model.named_modules()} == training
    assert vars(comfy.model_management).get("in_training", "absent") is switch


class OutOfMemory(torch.OutOfMemoryError):
    """As the CUDA allocator raises it; ComfyUI knows it by its class."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("granularity", ["none", "blocks"])
@pytest.mark.parametrize("end", ["finished", "interrupted", "error", "out of memory"])
def test_the_base_samples_afterwards_as_before(comfy_model, load, end, granularity, precision):
    """To the last bit, by ComfyUI's own sampler, whatever ended the training and wherever in a step."""
    import comfy.model_management
    import comfy.sample

    patcher = load("sd3")
    (condition,) = examples("sd3").trained[0].conditions

    def sampled():
        noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode():
            return comfy.sample.sample(
                patcher, noise, 2, 2.0, "euler", "simple", condition, condition, torch.zeros_like(noise), seed=1
            )

    errors = {
        "interrupted": comfy.model_management.InterruptProcessingException(), "error": KeyError("x"),
        "out of memory": OutOfMemory("CUDA out of memory"),
    }  # fmt: skip
    before, calls = sampled(), []

    def fail(module, inputs, output):
        calls.append(None)
        if len(calls) == 3 and end in errors:  # in the middle of a forward pass, after a step
            raise errors[end]

    config = dataclasses.replace(CONFIG, steps=3, gradient_checkpointing=granularity)
    block = patcher.model.diffusion_model.joint_blocks[2]

    def train():
        with comfy_model.opened(patcher, precision) as base:
            hook = block.x_block.mlp.act.register_forward_hook(fail)
            try:
                loop.train(base, examples("sd3"), config, loop.Watch(lambda progress: None))
            finally:
                hook.remove()

    if end == "finished":
        train()
    else:
        with pytest.raises(type(errors[end])):
            train()
    assert torch.equal(sampled(), before)


def test_weights_become_ordinary_tensors_and_shared_ones_stay_shared(comfy_model):
    with torch.inference_mode():
        module = torch.nn.ModuleDict({name: torch.nn.Linear(3, 3) for name in "abc"})
        module["c"].weight = module["a"].weight
        module["a"].register_buffer("table", torch.arange(3.0))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module["b"].to(torch.float64)  # moved outside inference mode: no inference tensor, and still not to be saved
    module["b"].to(torch.float32)
    comfy_model._make_ordinary(module)
    module["b"](module["a"](torch.ones(1, 3, requires_grad=True))).sum().backward()
    assert module["c"].weight is module["a"].weight
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_lora_that_is_loaded_into_the_base_is_trained_on_and_left_there(comfy_model, load):
    """A DoRA, whose merging into the weights ComfyUI computes in a way that fails under autograd."""
    import comfy.model_management

    path = "joint_blocks.1.x_block.mlp.fc1"
    weight = load("sd3").model.diffusion_model.get_submodule(path).weight
    generator = torch.Generator().manual_seed(1)
    name = f"lora_unet_{path.replace('.', '_')}"
    dora = {
        f"{name}.lora_up.weight": torch.randn(weight.shape[0], 2, generator=generator) * 0.1,
        f"{name}.lora_down.weight": torch.randn(2, weight.shape[1], generator=generator) * 0.1,
        f"{name}.alpha": torch.tensor(2.0),
        f"{name}.dora_scale": weight.float().norm(dim=0, keepdim=True) * 1.5,
    }
    with torch.inference_mode():  # as LoraLoader reads a file
        dora = {key: tensor.clone() for key, tensor in dora.items()}
        expected = comfy_model.with_lora(load("sd3"), dora)
        comfy.model_management.load_models_gpu([expected], force_full_load=True)
    trained_on = comfy_model.with_lora(load("sd3"), dora)
    with comfy_model.opened(trained_on, "loaded") as base:
        loop.train(base, examples("sd3"), CONFIG, loop.Watch(lambda progress: None))
    merged = trained_on.model.diffusion_model.get_submodule(path).weight
    assert not torch.allclose(merged, weight, atol=1e-2), "the DoRA is not in the weights"
    assert torch.equal(merged, expected.model.diffusion_model.get_submodule(path).weight)


def test_text_encoder_and_vae_leave_the_device_that_is_trained_on(comfy_model, load_all):
    """To ComfyUI's memory management "cpu:0" is a device of its own, from which models are moved as from a card."""
    import comfy.model_management

    model, clip, vae = load_all("sd3")
    comfy.model_management.unload_all_models()
    others = [clip.patcher, vae.patcher]
    for patcher in (model, *others):
        patcher.load_device = torch.device("cpu", 0)

    def on_the_device():
        return [loaded.model for loaded in comfy.model_management.current_loaded_models if loaded.device.index == 0]

    comfy.model_management.load_models_gpu(others)
    assert all(patcher in on_the_device() for patcher in others)
    with comfy_model.opened(model, "loaded"):
        assert on_the_device() == [model]
