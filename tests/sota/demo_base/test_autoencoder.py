"""What the autoencoder of the demo base is trained with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isengard.sota.demo_base import autoencoder


def test_recoloured_crops_keep_black_and_white():
    crop = np.array([[[0, 0, 0], [255, 255, 255], [10, 120, 200]]], np.uint8)
    bent = autoencoder.other_colours(crop, np.random.default_rng(0))
    assert bent[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert bent[0, 2].tolist() != [10, 120, 200]


@pytest.mark.parametrize("turned", [0.0, 0.4, 1.0])
def test_as_many_crops_are_turned_as_asked_for(turned):
    """White above black, which neither mirroring nor other colours change, stays so only where nothing is turned."""
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[:, :8] = 255
    config = autoencoder.AutoencoderConfig(batch=400, crop=16, turned=turned)
    crops = autoencoder.random_crops(picture, config, np.random.default_rng(0))
    upright = torch.from_numpy(picture).permute(0, 3, 1, 2) / 255
    assert float((crops != upright).any(dim=(1, 2, 3)).float().mean()) == pytest.approx(turned, abs=0.06)


def test_every_latent_gets_noise_of_its_own_strength():
    noise = autoencoder.latent_noise(torch.zeros(400, 8, 8, 8), 0.3, torch.Generator().manual_seed(0))
    deviations = noise.std((1, 2, 3))
    assert float(deviations.mean()) == pytest.approx(0.15, abs=0.01)
    assert 0.28 < float(deviations.max()) < 0.33
    assert float(deviations.min()) < 0.01


def test_a_texture_costs_more_than_a_shade():
    """The same L1 and L2; a person sees the texture."""
    shade = torch.full((1, 3, 8, 8), 0.1)
    texture = shade * (torch.arange(8) % 2 * 2 - 1)
    config = autoencoder.AutoencoderConfig()
    assert float(autoencoder.pixel_loss(texture, config)) > 2 * float(autoencoder.pixel_loss(shade, config))
