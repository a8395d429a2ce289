"""Gradient checkpointing on ComfyUI's own networks: the same numbers from less memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isengard.trainers import adapters
from isengard.trainers.config import AdapterConfig
from isengard.trainers.errors import TrainingError
from isengard.trainers.recompute import blocks, recomputed

pytestmark = pytest.mark.comfyui


def conditioning(kind):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, 77, 4096 if kind == "sd3" else 768, generator=generator)
    return [[tokens, {"pooled_output": torch.randn(1, 2048, generator=generator)} if kind == "sd3" else {}]]


def backward(comfy_model, patcher, kind, granularity, dropout=0.0, precision="fp32"):
    """The prediction, the adapters' gradients, and how many bytes the graph kept for the backward pass."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 16 if kind == "sd3" else 4, 8, 8, generator=generator)
    kept: dict[int, int] = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with comfy_model.opened(patcher, precision) as base:
        weights = {parameter.untyped_storage().data_ptr() for parameter in base.network.parameters()}
        config = AdapterConfig(rank=4, dropout=dropout)
        with adapters.attached(base.network, config, seed=0) as layers, recomputed(base.network, granularity):
            for parameter in adapters.parameters(layers).values():
                nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
            torch.manual_seed(3)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                prediction = base.predict(x, torch.tensor([0.3, 0.8]), [conditioning(kind)] * 2)
            held = sum(size for pointer, size in kept.items() if pointer not in weights)
            prediction.square().mean().backward()
            gradients = {name: each.grad.clone() for name, each in adapters.parameters(layers).items()}
    return prediction.detach(), gradients, held


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("granularity", ["blocks", "every_second_block"])
@pytest.mark.parametrize("kind", ["sd3", "sd15"])
def test_the_numbers_stay_the_same_and_less_is_kept(comfy_model, load, kind, granularity, precision):
    patcher = load(kind)
    prediction, gradients, held = backward(comfy_model, patcher, kind, "none", precision=precision)
    again, recomputed_gradients, less = backward(comfy_model, patcher, kind, granularity, precision=precision)
    torch.testing.assert_close(again, prediction, rtol=0, atol=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed_gradients[name], gradient, rtol=1e-6, atol=1e-6)
    assert less < 0.75 * held


def test_all_blocks_keep_less_than_every_second(comfy_model, load):
    patcher = load("sd3")
    held = [backward(comfy_model, patcher, "sd3", each)[2] for each in ("every_second_block", "blocks")]
    assert held[1] < 0.8 * held[0]


def test_dropout_leaves_out_the_same_the_second_time(comfy_model, load):
    patcher = load("sd3")
    _, gradients, _ = backward(comfy_model, patcher, "sd3", "none", dropout=0.3)
    _, recomputed_gradients, _ = backward(comfy_model, patcher, "sd3", "blocks", dropout=0.3)
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed_gradients[name], gradient, rtol=1e-6, atol=1e-6)


def test_the_network_is_as_it_was_afterwards_even_after_an_error(comfy_model, load):
    network = load("sd3").model.diffusion_model
    with pytest.raises(KeyError), recomputed(network, "blocks"):
        assert all("forward" in vars(block) for block in network.joint_blocks)
        raise KeyError("stop")
    assert not any("forward" in vars(module) for module in network.modules())


def test_blocks_are_the_outermost_repeated_parts(comfy_model, load):
    network = load("sd3").model.diffusion_model
    assert all(a is b for a, b in zip(blocks(network), network.joint_blocks, strict=True))
    kinds = {type(block).__name__ for block in blocks(load("sd15").model.diffusion_model)}
    assert {"ResBlock", "SpatialTransformer"} <= kinds


def test_every_second_block_is_that_of_each_kind(comfy_model, load):
    """In a UNet convolutions and transformers take turns."""
    network = load("sd15").model.diffusion_model
    with recomputed(network, "every_second_block"):
        for kind in ("ResBlock", "SpatialTransformer"):
            chosen = ["forward" in vars(block) for block in blocks(network) if type(block).__name__ == kind]
            assert len(chosen) > 2
            assert chosen == [place % 2 == 0 for place in range(len(chosen))]


def test_a_network_without_blocks_says_so():
    with pytest.raises(TrainingError, match="Linear has no blocks.*'none'"), recomputed(nn.Linear(2, 2), "blocks"):
        pass
