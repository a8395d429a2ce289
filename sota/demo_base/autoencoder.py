"""Trains the autoencoder: ComfyUI's TAESD shape with 16 latent channels, 8 pixels a latent pixel.

Loss: L1 + L2 of pixels and L1 of the differences of neighbours, for sharp lines and flat areas. Latents are held to
mean 0 and deviation 1 per channel and decoded with noise added, since what a sampler makes is never exact. Crops are
turned and recoloured, for lines and colours that no training picture has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import checkpoint, comfy_parts

LATENT_CHANNELS = 16


@dataclass(frozen=True)
class AutoencoderConfig:
    """steps: optimizer steps, of `batch` crops of `crop` x `crop` pixels; turned: share of the crops that do not stand
    upright; noise: the largest deviation added to latents, which have deviation 1; each crop draws its own, from 0;
    square_weight, edge_weight: of L2 and of the differences of neighbours in the loss, where L1 has 1."""

    steps: int = 10000
    batch: int = 12
    crop: int = 64
    learning_rate: float = 2e-3
    warmup: int = 200
    turned: float = 0.4
    noise: float = 0.5
    square_weight: float = 4.0
    edge_weight: float = 1.5
    latent_weight: float = 0.02
    ema: float = 0.998
    seed: int = 1


def train(
    pictures: np.ndarray, config: AutoencoderConfig, file: Path, device: torch.device, seconds: float
) -> Iterator[dict[str, float]]:
    """Train until done or for `seconds`; yields metrics now and then. pictures: N,H,W,3 uint8. Goes on from `file`."""
    model = comfy_parts.autoencoder(LATENT_CHANNELS).to(device, memory_format=torch.channels_last)
    model.vae_scale.requires_grad_(False)
    model.vae_shift.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    scheduler = checkpoint.warmup_hold_decay(optimizer, config.warmup, config.steps)
    average = copy.deepcopy(model).requires_grad_(False)
    state = checkpoint.State(file, config.steps, model=model, ema=average, optimizer=optimizer, lr=scheduler)

    def advance(step: int) -> Tensor:
        generator = np.random.default_rng([config.seed, step])
        crops = random_crops(pictures, config, generator).to(device)
        loss = training_loss(model, crops, config, torch.Generator().manual_seed(int(generator.integers(2**62))))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        checkpoint.update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
        return loss.detach()

    yield from checkpoint.run(state, seconds, advance)


def random_crops(pictures: np.ndarray, config: AutoencoderConfig, generator: np.random.Generator) -> Tensor:
    """B,3,crop,crop float32 in 0..1; half of them mirrored, half of them in other colours, some of them turned."""
    size = pictures.shape[1] - config.crop + 1
    crops = []
    for _ in range(config.batch):
        picture, top, left = generator.integers((len(pictures), size, size))
        crop = pictures[picture, top : top + config.crop, left : left + config.crop]
        mirrored = crop[:, ::-1] if generator.random() < 0.5 else crop
        crops.append(np.rot90(mirrored, generator.integers(1, 4) if generator.random() < config.turned else 0))
    recoloured = [other_colours(crop, generator) if generator.random() < 0.5 else crop for crop in crops]
    batch = torch.from_numpy(np.stack(recoloured)).permute(0, 3, 1, 2)  # B,H,W,C -> B,C,H,W
    return batch.float().div(255).contiguous(memory_format=torch.channels_last)


def other_colours(crop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The crop with its channels exchanged and bent; black and white stay. Skin, shirts
    and backgrounds have some twenty colours in all, and an autoencoder knows no other than it was shown."""
    ramp = np.arange(256) / 255
    exponents = np.exp(generator.normal(0, 0.5, 3))
    tables = np.round(255 * ramp[:, None] ** exponents).astype(np.uint8)  # 256,3
    return tables[crop[..., generator.permutation(3)], np.arange(3)]


def training_loss(model: nn.Module, crops: Tensor, config: AutoencoderConfig, generator: torch.Generator) -> Tensor:
    with torch.autocast(crops.device.type, torch.bfloat16):
        latents = model.taesd_encoder(crops)
        noisy = latents + latent_noise(latents, config.noise, generator)
        features = model.taesd_decoder[:-1](noisy.contiguous(memory_format=torch.channels_last))
    error = model.taesd_decoder[-1](features.float()) - crops  # float32: bfloat16 has too few steps for flat areas
    return pixel_loss(error, config) + config.latent_weight * off_standard(latents.float())


def pixel_loss(error: Tensor, config: AutoencoderConfig) -> Tensor:
    """L1 + L2 of the error B,C,H,W, and L1 of how it differs from pixel to pixel, weighted: a scalar."""
    edges = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    return error.abs().mean() + config.square_weight * error.square().mean() + config.edge_weight * edges


def latent_noise(latents: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Normal noise; its deviation is drawn per picture, evenly from 0 to `most`."""
    draws = torch.rand(len(latents), generator=generator).mul(most)
    noise = torch.randn(latents.shape, generator=generator) * draws[:, None, None, None]
    return noise.to(latents.device, latents.dtype)


def off_standard(latents: Tensor) -> Tensor:
    """How far each channel of a batch is from mean 0 and deviation 1."""
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    return mean.square().mean() + (deviation - 1).square().mean()


@torch.inference_mode()
def psnr(model: nn.Module, pictures: np.ndarray, batch: int = 32) -> float:
    """Peak signal-to-noise ratio in dB of encoding and decoding, over all pictures, N,H,W,3 uint8, together."""
    errors = []
    device = next(model.parameters()).device
    for start in range(0, len(pictures), batch):
        image = torch.from_numpy(pictures[start : start + batch]).to(device).permute(0, 3, 1, 2).float().div(255)
        decoded = model.taesd_decoder(model.taesd_encoder(image)).clamp(0, 1)
        errors.append(functional.mse_loss(decoded, image, reduction="none").mean((1, 2, 3)))
    return float(-10 * torch.log10(torch.cat(errors).mean()))
