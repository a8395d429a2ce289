"""From pictures and a ComfyUI model to a LoRA: the whole training stage, in the order it happens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from . import buckets, captions, comfy_model, loop, lora_file
from .config import TrainConfig
from .run import Run


@dataclass(frozen=True)
class Picture:
    """A picture to train on: pixels H,W,3 float32 in 0..1 (sRGB), and its caption."""

    name: str
    pixels: Tensor
    caption: str


@dataclass(frozen=True)
class TrainingSet:
    """The pictures of a run. hash: tells data sets apart, for the run and the LoRA file."""

    name: str
    hash: str
    pictures: tuple[Picture, ...]


def train_lora(
    model, clip, vae, training_set: TrainingSet, config: TrainConfig, report: loop.Report
) -> tuple[dict[str, Tensor], Run]:
    """Train a LoRA and give its weights (kohya names) and the run.

    model, clip, vae: ComfyUI's MODEL, CLIP and VAE. Raises TrainingError; what `report` raises passes through.
    """
    prediction = comfy_model.prediction_type(model)
    examples = encode(model, clip, vae, training_set.pictures, config)
    with comfy_model.opened(model) as base:
        base_hash = comfy_model.fingerprint(base)
        trained = loop.train(base, examples, config, report)
    run = Run(
        id=new_run_id(),
        name=training_set.name,
        config=config,
        dataset_hash=training_set.hash,
        base_hash=base_hash,
        prediction=prediction,
        metrics=trained.metrics,
    )
    return lora_file.kohya_state_dict(trained.layers, comfy_model.lora_names(model)), run


def encode(model, clip, vae, pictures: Sequence[Picture], config: TrainConfig) -> list[loop.Example]:
    """Every picture's latent with its own caption's condition, and for prior preservation that of the caption without
    the trigger. Raises TrainingError for latents that are not finite, and captions that lack the trigger."""
    own = {picture.name: picture.caption for picture in pictures}
    others = captions.class_captions(own, config.trigger, config.class_noun) if config.prior_loss_weight else {}
    cropped = [buckets.square(picture.pixels, config.resolution) for picture in pictures]
    latents = comfy_model.encode_pictures(vae, model, cropped)
    conditions = comfy_model.encode_captions(clip, [*own.values(), *others.values()])
    examples = [
        loop.Example(picture.name, latent, conditions[picture.caption], conditions.get(others.get(picture.name)))
        for picture, latent in zip(pictures, latents, strict=True)
    ]
    loop.check_examples(examples)  # before minutes go into loading a large model
    return examples


def new_run_id() -> str:
    """The time to the second and four random hex digits: sorts by time, and two runs a second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
