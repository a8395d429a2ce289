"""Trains the picture model: SD3's MMDiT (arXiv 2403.03206), width 256, depth 4, by rectified flow on latents.

Only what differs from zero is trained: SD3 feeds CLIP-L's 768 features padded to 4096 and 2048; `export` pads the
weights back.
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
from .text_encoder import WIDTH as TEXT_WIDTH

SD3_CONTEXT, SD3_POOLED = 4096, 2048  # features a token, and of the whole prompt


@dataclass(frozen=True)
class DiffusionConfig:
    """caption_dropout: share of pictures trained with the empty prompt, for guidance. muon_rate: of the blocks'
    matrices (Muon, kellerjordan.github.io/posts/muon); adam_rate: of all other weights."""

    steps: int = 30000
    batch: int = 48
    muon_rate: float = 2e-3
    adam_rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    ema: float = 0.998
    seed: int = 2


@dataclass(frozen=True)
class Examples:
    """Latents N,16,16,16; text features N+1,77,768 and pooled N+1,768, of which the last row is the empty prompt."""

    latents: np.ndarray
    text: np.ndarray
    pooled: np.ndarray

    def batch(self, generator: np.random.Generator, config: DiffusionConfig) -> tuple[Tensor, Tensor, Tensor]:
        """Float32 latents, text and pooled text of a random batch."""
        rows = generator.integers(len(self.latents), size=config.batch)
        words = np.where(generator.random(config.batch) < config.caption_dropout, len(self.latents), rows)
        arrays = self.latents[rows], self.text[words], self.pooled[words]
        return tuple(torch.from_numpy(array).float() for array in arrays)


def train(
    examples: Examples, config: DiffusionConfig, file: Path, device: torch.device, seconds: float, compiled: bool
) -> Iterator[dict[str, float]]:
    """Train until done or for `seconds`; yields metrics now and then. Goes on from `file`."""
    model = comfy_parts.picture_model(TEXT_WIDTH).to(device)
    forward = torch.compile(model) if compiled else model
    average = copy.deepcopy(model).requires_grad_(False)
    optimizers = make_optimizers(model, config)
    schedulers = [checkpoint.warmup_hold_decay(each, config.warmup, config.steps) for each in optimizers]
    state = checkpoint.State(
        file, config.steps, model=model, ema=average,
        muon=optimizers[0], adam=optimizers[1], muon_rate=schedulers[0], adam_rate=schedulers[1],
    )  # fmt: skip

    def advance(step: int) -> Tensor:
        generator = np.random.default_rng([config.seed, step])
        batch = (part.to(device) for part in examples.batch(generator, config))
        loss = flow_loss(forward, *batch, torch.Generator().manual_seed(int(generator.integers(2**62))))
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedulers):
            part.step()
        checkpoint.update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
        return loss.detach()

    yield from checkpoint.run(state, seconds, advance)


def make_optimizers(model: nn.Module, config: DiffusionConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, biases, norms and the last layer."""
    inner = {name for name, weight in model.named_parameters() if "joint_blocks" in name and weight.ndim == 2}
    matrices = [weight for name, weight in model.named_parameters() if name in inner]
    others = [weight for name, weight in model.named_parameters() if name not in inner]
    return (
        torch.optim.Muon(matrices, config.muon_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, config.adam_rate, betas=(0.9, 0.99), weight_decay=0.0),
    )


def flow_loss(model: nn.Module, latents: Tensor, text: Tensor, pooled: Tensor, generator: torch.Generator) -> Tensor:
    """Velocity error at logit-normal times (arXiv 2403.03206, section 3.1): x_t = (1-t) x + t noise, v = noise - x."""
    time = torch.sigmoid(torch.randn(len(latents), generator=generator)).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    noisy = torch.lerp(latents, noise, time[:, None, None, None])
    with torch.autocast(latents.device.type, torch.bfloat16):
        velocity = model(noisy, time * 1000, context=text, y=pooled)
    return functional.mse_loss(velocity.float(), noise - latents)


def padded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the input columns that SD3 has for its other text encoders; they only ever meet zeros."""
    weights = dict(weights)
    for name, width in (("context_embedder.weight", SD3_CONTEXT), ("y_embedder.mlp.0.weight", SD3_POOLED)):
        weights[name] = functional.pad(weights[name], (0, width - TEXT_WIDTH))
    return weights
