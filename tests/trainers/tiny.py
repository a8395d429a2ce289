"""A small real network with a flow-matching schedule, so that the loop can be tested in milliseconds."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from isengard.trainers.batch import Example


class TinyNetwork(nn.Module):
    """Two residual blocks over 8 tokens of width 16, with a condition added: enough for adapters to learn with."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"attn": _attention(), "mlp": _mlp()}) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.out = nn.Linear(16, 16)

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) + condition[:, None] + sigma[:, None, None]  # B,C,H,W -> B,H*W,C
        for block in self.blocks:
            q, k, v = block["attn"]["qkv"](self.norm(tokens)).chunk(3, dim=-1)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            tokens = tokens + block["attn"]["proj"](mixed)
            tokens = tokens + block["mlp"]["fc2"](torch.tanh(block["mlp"]["fc1"](tokens)))
        return self.out(tokens).transpose(1, 2).reshape(x.shape)


def _attention() -> nn.ModuleDict:
    return nn.ModuleDict({"qkv": nn.Linear(16, 48), "proj": nn.Linear(16, 16)})


def _mlp() -> nn.ModuleDict:
    return nn.ModuleDict({"fc1": nn.Linear(16, 32), "fc2": nn.Linear(32, 16)})


class FlowSampling:
    """Rectified flow (arXiv 2403.03206, equation 13), written out here: x = (1 - s) x0 + s noise, F = noise - x0."""

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        sigma = sigma.reshape(-1, 1, 1, 1)
        return sigma * noise + (1 - sigma) * latent_image

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_input - sigma.reshape(-1, 1, 1, 1) * model_output


class TinyBase:
    """A `loop.Base` around TinyNetwork; seeded, so two of them are equal."""

    def __init__(self, seed: int = 1):
        torch.manual_seed(seed)
        self.network = TinyNetwork().requires_grad_(False)
        self.sampling = FlowSampling()
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.patch_size = 1

    def sigmas(self, positions: Tensor, shifted: bool = False) -> Tensor:
        return positions

    def prepare(self, latent: Tensor, conditions) -> None:
        assert not any(isinstance(module, LoraLayer) for module in self.network.modules()), "adapters are on already"

    def predict(self, x: Tensor, sigma: Tensor, conditions) -> Tensor:
        return self.network(x, sigma, torch.stack(list(conditions)))


def pictures(count: int = 5, shapes=((2, 4),)) -> tuple[Example, ...]:
    """Latents of 16 channels that differ from each other, each with a condition of its own."""
    generator = torch.Generator().manual_seed(7)
    return tuple(
        Example(
            f"picture {n}",
            torch.randn(16, *shapes[n % len(shapes)], generator=generator),
            (torch.randn(16, generator=generator),),
        )
        for n in range(count)
    )
