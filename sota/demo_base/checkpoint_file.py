"""The demo base as one checkpoint: the weights that ship, and the text encoder that is made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import text_encoder

WEIGHTS = Path(__file__).with_name("isengard_demo_base.safetensors")
PICTURE_MODEL, AUTOENCODER, TEXT_ENCODER = (
    "model.diffusion_model.",
    "first_stage_model.",
    "text_encoders.clip_l.transformer.",
)


def state_dict() -> dict[str, Tensor]:
    """float16 weights under the names of an SD3 checkpoint: picture model, autoencoder and CLIP-L in one.

    Raises FileNotFoundError where the pack's weights file is missing, TextEncoderError where numpy draws otherwise.
    """
    if not WEIGHTS.is_file():
        raise FileNotFoundError(
            f"The demo base's weights are missing: there is no {WEIGHTS}. Install the pack again, or, in a checkout "
            "with Git LFS or a partial download, fetch the file."
        )
    words = {f"{TEXT_ENCODER}{name}": torch.from_numpy(array) for name, array in text_encoder.weights().items()}
    return load_file(WEIGHTS) | words
