"""The native target against formulas written out from the papers, for schedules written out here.

`test_native_loss.py` does the same with ComfyUI's own schedules and networks.
"""

import pytest
import torch

from isengard.trainers import objective
from isengard.trainers.config import LOSSES

from .tiny import FlowSampling


def column(sigma):
    return sigma.reshape(-1, 1, 1, 1)


class EpsSampling:
    """Variance-exploding form of DDPM: x = x0 + s eps, denoised = x - s F."""

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        noise *= column(sigma)  # in place, as ComfyUI's does
        noise += latent_image
        return noise

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_input - model_output * column(sigma)


class VSampling(EpsSampling):
    """v prediction (arXiv 2202.00512, appendix D): v = alpha eps - s' x0 with alpha, s' of unit variance."""

    def calculate_denoised(self, sigma, model_output, model_input):
        s = column(sigma)
        return model_input / (s**2 + 1) - model_output * s / (s**2 + 1).sqrt()


class EdmSampling(EpsSampling):
    """EDM preconditioning (arXiv 2206.00364, table 1) with sigma_data 0.5."""

    def calculate_denoised(self, sigma, model_output, model_input):
        s, data = column(sigma), 0.5
        skip, out = data**2 / (s**2 + data**2), s * data / (s**2 + data**2).sqrt()
        return skip * model_input + out * model_output


def eps_target(sigma, noise, x0):
    return noise


def v_target(sigma, noise, x0):
    alpha = 1 / (sigma**2 + 1).sqrt()  # of the variance-preserving process
    return column(alpha) * noise - column(sigma * alpha) * x0


def edm_target(sigma, noise, x0):
    s, data = column(sigma), 0.5
    skip, out = data**2 / (s**2 + data**2), s * data / (s**2 + data**2).sqrt()
    return (x0 - skip * (x0 + s * noise)) / out


def flow_target(sigma, noise, x0):
    return noise - x0


CASES = {
    "eps": (EpsSampling(), eps_target, [0.03, 0.5, 1.0, 14.6]),
    "v": (VSampling(), v_target, [0.03, 0.5, 1.0, 14.6]),
    "edm": (EdmSampling(), edm_target, [0.002, 0.5, 1.0, 80.0]),
    "flow": (FlowSampling(), flow_target, [0.001, 0.3, 0.7, 1.0]),
}


@pytest.mark.parametrize("kind", CASES)
def test_native_target_is_the_papers(kind):
    sampling, reference, levels = CASES[kind]
    generator = torch.Generator().manual_seed(3)
    x0, noise = torch.randn(2, 4, 3, 5, 5, generator=generator)
    sigma = torch.tensor(levels, dtype=torch.float64)
    before = noise.clone()

    target = objective.native_target(sampling, sigma, noise, x0)

    torch.testing.assert_close(target, reference(sigma, noise.double(), x0.double()), rtol=1e-9, atol=1e-9)
    assert torch.equal(noise, before), "the noise of the caller was written into"


def test_noised_leaves_the_callers_noise_alone():
    noise = torch.ones(1, 1, 1, 1)
    x = objective.noised(EpsSampling(), torch.tensor([2.0]), noise, torch.full((1, 1, 1, 1), 5.0))
    assert x.item() == 7.0
    assert noise.item() == 1.0


# -- how far off


@pytest.mark.parametrize("loss", LOSSES)
def test_errors_are_the_formulas(loss):
    """Written out; 1.5 is beyond delta and 0.2 within."""
    delta, off = 0.5, torch.tensor([[-1.5, 0.2, 0.0]])
    expected = {
        "mse": off.square(),
        "huber": torch.where(off.abs() <= delta, 0.5 * off.square(), delta * (off.abs() - 0.5 * delta)),
        "smooth_l1": torch.where(off.abs() <= delta, 0.5 * off.square() / delta, off.abs() - 0.5 * delta),
    }[loss]
    got = objective.errors(loss, off.to(torch.bfloat16), torch.zeros(1, 3), delta)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=0)


def test_one_number_a_picture():
    errors = torch.tensor([1.0, 9.0]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2)
    assert objective.of_each(errors).tolist() == [1.0, 9.0]


@pytest.mark.parametrize("floor, expected", [(0.0, 1.0), (1.0, 4.0), (0.5, (2 * 1 + 2 * 0.5 * 7) / 3)])
def test_what_a_mask_leaves_out_counts_as_much_as_the_floor(floor, expected):
    """Two columns of a picture are in the mask and have an error of 1; the others have 7."""
    errors = torch.tensor([1.0, 1.0, 7.0, 7.0]).expand(1, 3, 4, 4)
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 4, 4)
    assert objective.of_each(errors, mask, floor).item() == pytest.approx(expected)


def test_a_picture_that_is_left_out_whole_counts_nothing():
    assert objective.of_each(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), 0.0).item() == 0


# -- how much a level counts


def snr_of(kind, sigma):
    return ((1 - sigma) / sigma) ** 2 if kind == "flow" else sigma**-2


@pytest.mark.parametrize("kind", CASES)
def test_the_signal_to_noise_ratio_is_the_papers(kind):
    sampling, _, levels = CASES[kind]
    sigma = torch.tensor(levels, dtype=torch.float64)
    torch.testing.assert_close(objective.signal_to_noise(sampling, sigma), snr_of(kind, sigma))


MIN_SNR = {  # Min-SNR (arXiv 2303.09556): min(SNR, 5) on x0, section 3.4; for eps and v as its section 3.4 converts it
    "eps": lambda snr: snr.clamp(max=5) / snr,
    "v": lambda snr: snr.clamp(max=5) / (snr + 1),
    "flow": lambda snr: snr.clamp(max=5) / (1 + snr.sqrt()).square(),  # sigma = 1 / (1 + sqrt(SNR))
}
DEBIASED = {  # arXiv 2310.08442: 1 / sqrt(SNR) on eps
    "eps": lambda snr: 1 / snr.sqrt(),
    "v": lambda snr: snr.sqrt() / (snr + 1),
    "flow": lambda snr: snr.sqrt() / (1 + snr.sqrt()).square(),
}


@pytest.mark.parametrize("kind", MIN_SNR)
@pytest.mark.parametrize("weighting, formulas", [("min_snr", MIN_SNR), ("debiased", DEBIASED)])
def test_weights_are_the_papers(kind, weighting, formulas):
    sampling, _, levels = CASES[kind]
    sigma = torch.tensor([level for level in levels if level < 1 or kind != "flow"], dtype=torch.float64)
    got = objective.weights(weighting, sampling, sigma, 5.0)
    torch.testing.assert_close(got, formulas[kind](snr_of(kind, sigma)))


def test_no_weighting_is_the_native_loss():
    assert objective.weights("none", FlowSampling(), torch.tensor([0.1, 1.0]), 5.0).tolist() == [1, 1]
