"""Batches at their noise levels: shapes, masks, and what a shift or an offset does to them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers import batch, draws
from isengard.trainers.batch import Example, Examples
from isengard.trainers.config import ObjectiveConfig, TrainConfig

from .tiny import TinyBase, pictures


def one(shape, **more) -> Examples:
    latent = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return Examples((Example("a", latent, (torch.zeros(16),), **more),))


def noisy(examples, **objective) -> batch.NoisyBatch:
    config = TrainConfig(objective=ObjectiveConfig(**objective))
    return examples.batch([draws.Draw(0, 0, shown) for shown in range(3)], Video(), config)


class Video(TinyBase):
    """Its latents may have a time axis."""

    def __init__(self):
        super().__init__()
        self.sampling = Flow()


class Flow:
    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        sigma = sigma.reshape(-1, *[1] * (noise.dim() - 1))
        return sigma * noise + (1 - sigma) * latent_image

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_input - sigma.reshape(-1, *[1] * (model_input.dim() - 1)) * model_output


@pytest.mark.parametrize("shape", [(16, 4, 6), (16, 1, 4, 6)])
def test_shapes_stay_with_and_without_a_time_axis(shape):
    made = noisy(one(shape, mask=torch.ones(1, 4, 6)), noise_offset=0.1)
    assert made.x.shape == made.target.shape == (3, *shape)
    assert made.mask.expand_as(made.x).shape == made.x.shape


def test_a_mask_covers_its_columns_in_every_frame():
    mask = torch.zeros(1, 4, 6)
    mask[..., :2] = 1
    made = noisy(one((16, 1, 4, 6), mask=mask))
    assert made.mask.expand_as(made.x)[..., :2].min() == 1
    assert made.mask.expand_as(made.x)[..., 2:].max() == 0


def test_a_noise_offset_is_shared_by_a_channel_and_has_its_deviation():
    """The target of flow is noise - latent, so the noise can be seen in it."""
    examples = one((4000, 2, 2))
    plain, moved = (noisy(examples, noise_offset=offset) for offset in (0.0, 0.5))
    offset = moved.target - plain.target
    torch.testing.assert_close(offset[..., 0, 0], offset[..., 1, 1], rtol=0, atol=1e-4)
    assert float(offset[:, :, 0, 0].std()) == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(offset[0], offset[1])


def test_levels_follow_the_shift():
    base, positions = TinyBase(), torch.tensor([0.5], dtype=torch.float64)
    latent = torch.zeros(16, 64, 64)
    fixed = ObjectiveConfig(timestep_shift="fixed", shift=3.0)
    assert batch.levels(base, positions, latent, fixed).item() == pytest.approx(0.75)
    assert batch.levels(base, positions, latent, ObjectiveConfig()).item() == 0.5
    base.patch_size = 2  # 1024 tokens, as 512 pixels are for Flux
    by_size = batch.levels(base, positions, latent, ObjectiveConfig(timestep_shift="resolution")).item()
    base.patch_size = 1  # four times as many
    assert 0.5 < by_size < batch.levels(base, positions, latent, ObjectiveConfig(timestep_shift="resolution")).item()


def test_a_picture_counts_by_its_weight_and_its_level():
    examples = Examples(tuple(dataclasses.replace(one((16, 2, 2)).trained[0], weight=weight) for weight in (1.0, 0.25)))
    config = TrainConfig(objective=ObjectiveConfig(weighting="min_snr"))
    made = examples.batch([draws.Draw(0, 0, 5), draws.Draw(1, 0, 5)], TinyBase(), config)
    assert made.sigma[0] == made.sigma[1]
    assert made.weight[1] / made.weight[0] == 0.25
    assert made.weight[0] != 1


def test_no_words_are_the_empty_condition():
    examples = dataclasses.replace(one((16, 2, 2)), empty=torch.ones(16))
    made = examples.batch([draws.Draw(0, None, 0), draws.Draw(0, 0, 1)], TinyBase(), TrainConfig())
    assert [float(condition.sum()) for condition in made.conditions] == [16.0, 0.0]


MASK = torch.zeros(1, 2, 4).index_fill(2, torch.tensor([0]), 1.0)


@pytest.mark.parametrize(
    "loss, each", [("mse", lambda error: error**2), ("huber", lambda error: torch.where(
        error.abs() < 0.5, error**2 / 2, 0.5 * (error.abs() - 0.25)))],
)  # fmt: skip
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
@pytest.mark.parametrize("mask", [None, MASK])
def test_the_loss_has_its_kind_weights_and_mask(loss, each, weighting, mask):
    """Written out for each picture: min-SNR-5 of rectified flow, whose denoised picture is off by sigma times the
    network's error, and whose SNR is ((1 - sigma) / sigma)**2."""
    config = TrainConfig(objective=ObjectiveConfig(loss=loss, huber_delta=0.5, weighting=weighting))
    examples = Examples((*pictures(1), dataclasses.replace(pictures(2)[1], mask=mask, weight=3.0)))
    base = TinyBase()
    made = examples.batch([draws.Draw(place, 0, shown) for shown, place in enumerate((0, 1, 1))], base, config)
    with torch.no_grad():
        found = batch.native_loss(base, made, config.objective)
        error = base.predict(made.x, made.sigma, made.conditions) - made.target
    counts = torch.stack([
        torch.ones(2, 4) if mask is None or place == 0 else 0.1 + 0.9 * mask[0] for place in (0, 1, 1)
    ])[:, None].expand_as(error)  # fmt: skip
    means = (each(error) * counts).flatten(1).sum(1) / counts.flatten(1).sum(1)
    sigma = made.sigma
    snr = ((1 - sigma) / sigma) ** 2
    levels = torch.ones(3) if weighting == "none" else snr.clamp(max=5) * sigma**2
    torch.testing.assert_close(found, (means * levels * torch.tensor([1.0, 3.0, 3.0])).mean())
