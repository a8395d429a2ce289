"""The native target against formulas written out from the papers, for schedules written out here.

`test_comfy_model.py` does the same with ComfyUI's own schedules and networks.
"""

import pytest
import torch

from isengard.trainers import objective

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


def test_error_is_one_number_a_picture():
    prediction, target = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert objective.mean_squared_error(prediction, target).tolist() == [1.0, 9.0]
