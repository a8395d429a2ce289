"""The native loss of a model: the error of what its network itself predicts.

Every prediction type in ComfyUI denoises as `denoised = a(sigma) * x + b(sigma) * F`, with F the network's
own output (its `calculate_denoised`; EDM, arXiv 2206.00364, section 5, equation 7, writes c_skip and c_out).
Asking for the F whose denoised picture is the clean latent gives the training target of that type: the noise
for eps, `alpha * noise - sigma * x0` for v, `noise - x0` for flow. So one function serves them all, with the
model's own `model_sampling`, and a new type needs no new code.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Sampling(Protocol):
    """The part of ComfyUI's `model_sampling` that the objective uses."""

    def noise_scaling(
        self, sigma: Tensor, noise: Tensor, latent_image: Tensor, max_denoise: bool = False
    ) -> Tensor: ...

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor: ...


def noised(sampling: Sampling, sigma: Tensor, noise: Tensor, latent: Tensor) -> Tensor:
    """The latent with noise of level sigma, as the model's sampler would meet it.

    sigma: B; noise, latent: B,C,H,W (or B,C,T,H,W). `noise_scaling` adds into the noise it is given, so it gets a
    copy.
    """
    return sampling.noise_scaling(sigma, noise.clone(), latent)


def native_target(sampling: Sampling, sigma: Tensor, noise: Tensor, latent: Tensor) -> Tensor:
    """What the network should have predicted for `noised(...)`; computed in float64, shape of the latent.

    The division is by b(sigma), which vanishes with sigma: in float32 the target of a nearly clean latent would
    keep few digits.
    """
    sigma, noise, latent = (value.to("cpu", torch.float64) for value in (sigma, noise, latent))
    x = noised(sampling, sigma, noise, latent)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    a = sampling.calculate_denoised(sigma, zero, one)
    b = sampling.calculate_denoised(sigma, one, zero)
    return (latent - a * x) / b


def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """One value for each picture of the batch, float32: B,... -> B."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)
