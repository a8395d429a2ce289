"""The demo base as one checkpoint: the weights that ship, and the text encoder that is made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from . import text_encoder

WEIGHTS = Path(__file__).with_name("isengard_demo_base.safetensors")
PICTURE_MODEL, AUTOENCODER, TEXT_ENCODER = (
    "model.diffusion_model.",
    "first_stage_model.",
    "text_encoders.clip_l.transformer.",
)


class DemoBaseError(RuntimeError):
    """The demo base cannot be put together; the message says what to do."""


def state_dict(with_text_encoder: bool = True) -> dict[str, Tensor]:
    """float16 weights under the names of an SD3 checkpoint: picture model, autoencoder and CLIP-L in one.

    Raises DemoBaseError where the pack's weights file is missing or damaged, TextEncoderError where numpy draws
    otherwise.
    """
    weights = _shipped()
    if with_text_encoder:
        words = text_encoder.weights()
        weights |= {f"{TEXT_ENCODER}{name}": torch.from_numpy(array) for name, array in words.items()}
    return weights


def _shipped() -> dict[str, Tensor]:
    try:
        return load_file(WEIGHTS)
    except FileNotFoundError as error:
        raise DemoBaseError(f"The demo base's weights are missing: there is no {WEIGHTS}. {_ADVICE}") from error
    except SafetensorError as error:
        size = WEIGHTS.stat().st_size
        raise DemoBaseError(f"The demo base's weights are damaged: {WEIGHTS} has {size} bytes. {_ADVICE}") from error


_ADVICE = "Install the pack again, or fetch this file alone from its repository."
