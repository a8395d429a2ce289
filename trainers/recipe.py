"""From pictures and a ComfyUI model to a LoRA: the whole training stage, in the order it happens."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from . import buckets, comfy_model, loop, lora_file
from .config import TrainConfig
from .run import Run


@dataclass(frozen=True)
class Picture:
    """A picture to train on: pixels H,W,3 float32 in 0..1 (sRGB), and its caption."""

    name: str
    pixels: Tensor
    caption: str


def train_lora(
    model, clip, vae, name: str, pictures: Sequence[Picture], config: TrainConfig, report: loop.Report
) -> tuple[dict[str, Tensor], Run]:
    """Train a LoRA on `pictures` and give its weights (kohya names) and the run.

    model, clip, vae: ComfyUI's MODEL, CLIP and VAE. Raises TrainingError; what `report` raises passes through.
    """
    prediction = comfy_model.prediction_type(model)
    examples = _encode(model, clip, vae, pictures, config.resolution)
    with comfy_model.opened(model) as base:
        base_hash = comfy_model.fingerprint(model)
        trained = loop.train(base, examples, config, report)
    run = Run(
        id=new_run_id(),
        name=name,
        config=config,
        dataset_hash=dataset_hash(pictures),
        base_hash=base_hash,
        prediction=prediction,
        metrics=trained.metrics,
        ended="finished",
    )
    return lora_file.kohya_state_dict(trained.layers, comfy_model.lora_names(model)), run


def _encode(model, clip, vae, pictures: Sequence[Picture], resolution: int) -> list[loop.Example]:
    cropped = [buckets.square(picture.pixels, resolution) for picture in pictures]
    latents = comfy_model.encode_pictures(vae, model, cropped)
    conditions = comfy_model.encode_captions(clip, [picture.caption for picture in pictures])
    examples = [
        loop.Example(picture.name, latent, conditions[picture.caption])
        for picture, latent in zip(pictures, latents, strict=True)
    ]
    loop.check_examples(examples)  # before minutes go into loading a large model
    return examples


def dataset_hash(pictures: Sequence[Picture]) -> str:
    """sha256 over every picture's size, pixels and caption, in order; names do not count."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{tuple(picture.pixels.shape)} {picture.caption}\0".encode())
        digest.update(picture.pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def new_run_id() -> str:
    """The time to the second and four random hex digits: sorts by time, and two runs a second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
