"""ComfyUI's networks that change activations in place, against the slope of the loss itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isengard.trainers import adapters
from isengard.trainers.config import AdapterConfig
from isengard.trainers.in_place import inputs_kept
from isengard.trainers.recompute import recomputed

pytestmark = pytest.mark.comfyui


@pytest.fixture
def flux(comfy_model, monkeypatch):
    """ComfyUI's Flux, small, with weights that let every path through."""
    import comfy.model_management
    import comfy.ops
    from comfy.ldm.flux.model import Flux, FluxParams

    newer = {"txt_ids_dims": []} if "txt_ids_dims" in FluxParams.__dataclass_fields__ else {}
    monkeypatch.setattr(comfy.model_management, "in_training", True, raising=False)  # as `opened` does
    torch.manual_seed(0)
    network = Flux(
        image_model="flux", in_channels=4, out_channels=4, vec_in_dim=8, context_in_dim=8, hidden_size=32,
        mlp_ratio=2.0, num_heads=2, depth=2, depth_single_blocks=2, axes_dim=[4, 6, 6], theta=10_000, patch_size=2,
        qkv_bias=True, guidance_embed=False, dtype=torch.float32, device="cpu",
        operations=comfy.ops.disable_weight_init, **newer,
    )  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.requires_grad_(False)


def asked(network):
    generator = torch.Generator().manual_seed(1)
    drawn = [
        torch.randn(*shape, dtype=torch.float32, generator=generator) for shape in ((1, 4, 8, 8), (1, 5, 8), (1, 8))
    ]
    return network(drawn[0], torch.tensor([0.5], dtype=torch.float32), drawn[1], drawn[2])


@pytest.mark.parametrize("granularity", ["none", "blocks", "every_second_block"])
def test_the_gradients_of_flux_are_the_slope_of_its_loss(flux, granularity):
    config = AdapterConfig(rank=2, targets="attention_mlp")
    with (
        inputs_kept(flux),
        adapters.attached(flux, config, seed=0) as layers,
        recomputed(flux, granularity),
    ):
        parameters = adapters.parameters(layers)
        for parameter in parameters.values():
            parameter.data = torch.randn(parameter.shape, dtype=torch.float32) * 0.1
        asked(flux).square().mean().backward()
        direction = {name: torch.randn_like(parameter) for name, parameter in parameters.items()}
        along = sum((parameter.grad * direction[name]).sum() for name, parameter in parameters.items())
        losses = []
        for side in (5e-3, -5e-3):
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter += side * direction[name]
                losses.append(asked(flux).square().mean())
                for name, parameter in parameters.items():
                    parameter -= side * direction[name]
    slope = (losses[0] - losses[1]) / 1e-2
    torch.testing.assert_close(along, slope, rtol=1e-2, atol=1e-4)


def test_the_network_is_left_as_it_was(flux):
    before = asked(flux)
    with inputs_kept(flux):
        assert torch.equal(asked(flux), before)
    assert not any(module._forward_pre_hooks for module in flux.modules())
