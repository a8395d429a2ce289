"""The native loss of a model: the error of what its network itself predicts.

Every prediction type in ComfyUI denoises as `denoised = a(sigma) * x + b(sigma) * F`, with F the network's
own output (its `calculate_denoised`; EDM, arXiv 2206.00364, section 5, equation 7, writes c_skip and c_out).
Asking for the F whose denoised picture is the clean latent gives the training target of that type: the noise
for eps, `alpha * noise - sigma * x0` for v, `noise - x0` for flow. So one function serves them all, with the
model's own `model_sampling`, and a new type needs no new code.

The same b(sigma) carries weightings that papers write for one type over to the others: an error e of the network is an
error b(sigma) * e of the denoised picture.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional


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
    denoising = _denoising(sampling, sigma, x)
    return (latent - denoising.a * x) / denoising.b


class _Denoising(NamedTuple):
    """denoised = a * x + b * F, both of x's shape."""

    a: Tensor
    b: Tensor


def _denoising(sampling: Sampling, sigma: Tensor, like: Tensor) -> _Denoising:
    one, zero = torch.ones_like(like), torch.zeros_like(like)
    return _Denoising(sampling.calculate_denoised(sigma, zero, one), sampling.calculate_denoised(sigma, one, zero))


def errors(loss: str, prediction: Tensor, target: Tensor, delta: float) -> Tensor:
    """How far each element is off, float32, by the loss of that name (config.LOSSES).

    mse: the square. huber: half of it within `delta`, straight beyond (Huber 1964, page 75). smooth_l1: that over
    `delta` (arXiv 1504.08083, equation 3).
    """
    prediction, target = prediction.float(), target.float()
    if loss == "huber":
        return functional.huber_loss(prediction, target, reduction="none", delta=delta)
    if loss == "smooth_l1":
        return functional.smooth_l1_loss(prediction, target, reduction="none", beta=delta)
    return functional.mse_loss(prediction, target, reduction="none")


def of_each(errors: Tensor, mask: Tensor | None = None, floor: float = 0.0) -> Tensor:
    """One value for each picture: the mean over its elements, B,... -> B.

    mask: B,1,H,W in 0..1, 1 where the picture is learned; where it is 0 an error still counts `floor` (0..1). The mean
    is weighted, so that a small masked part is learned as fast as a whole picture. Pictures whose mask and floor are
    all 0 count 0.
    """
    if mask is None:
        return errors.flatten(1).mean(1)
    weight = (floor + (1 - floor) * mask).expand_as(errors).flatten(1)
    return (errors.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=torch.finfo(weight.dtype).tiny)


def weights(weighting: str, sampling: Sampling, sigma: Tensor, gamma: float) -> Tensor:
    """How much the noise level of each picture counts: sigma B -> B, float64 on the CPU.

    none: 1. min_snr: the denoised picture's error times min(SNR, gamma) (arXiv 2303.09556, section 3.4). debiased: that
    error times sqrt(SNR), which is 1 / sqrt(SNR) on a predicted noise's (arXiv 2310.08442, section 3.3).
    """
    if weighting == "none":
        return torch.ones_like(sigma, dtype=torch.float64, device="cpu")
    snr = signal_to_noise(sampling, sigma)
    of_denoised = snr.clamp(max=gamma) if weighting == "min_snr" else snr.sqrt()
    return of_denoised * _denoising(sampling, *_column(sigma)).b.flatten().square()


def signal_to_noise(sampling: Sampling, sigma: Tensor) -> Tensor:
    """The signal-to-noise ratio of `noised` at sigma: B -> B, float64; squares of amplitudes."""
    sigma, one = _column(sigma)
    signal = noised(sampling, sigma, torch.zeros_like(one), one)
    noise = noised(sampling, sigma, one, torch.zeros_like(one))
    return (signal / noise).square().flatten()


def _column(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """sigma on the CPU in float64, and a picture of one element for each."""
    sigma = sigma.to("cpu", torch.float64)
    return sigma, torch.ones(len(sigma), 1, 1, 1, dtype=torch.float64)
