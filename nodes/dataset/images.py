"""Pictures from files: upright, RGB, whole."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

OTHER_SUFFIXES = frozenset({".gif", ".tif", ".tiff", ".avif", ".heic", ".jxl"})  # pictures that are not read


class UnreadableImage(ValueError):
    """A file that holds no whole picture; the message says what is wrong with it."""


def decode(data: bytes) -> Image.Image:
    """The picture in `data`, turned upright by its EXIF orientation, RGB; transparency on white.

    Raises UnreadableImage for anything but one whole picture.
    """
    try:
        with _strict(), Image.open(io.BytesIO(data)) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a picture, {len(data)} bytes") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage("far too many pixels") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise for broken files
        raise UnreadableImage(f"damaged or cut off after {len(data)} bytes: {error}") from error
    return _on_white(upright)


@contextmanager
def _strict() -> Iterator[None]:
    """Other packs let Pillow fill what is cut off with grey, for the whole process; here that is an error."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would cut off at 255
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def pixels(image: Image.Image) -> Tensor:
    """B=1,H,W,3 float32 in 0..1, as ComfyUI's IMAGE."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)[None]


def picture(pixels: Tensor) -> Image.Image:
    """A picture from H,W,3 in 0..1, rounded as core's SaveImage does it."""
    return Image.fromarray(np.clip(255.0 * pixels.cpu().numpy(), 0, 255).astype(np.uint8))


def read(image: Path | Tensor, sha256: str) -> Tensor:
    """A sample's picture as B=1,H,W,3. Raises UnreadableImage where the file is not the one that was loaded."""
    if isinstance(image, Tensor):
        return image
    try:
        data = image.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{image.name} cannot be read any more: {error.strerror}. Queue again.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableImage(f"{image.name} was changed after the data set was loaded. Queue again.")
    return pixels(decode(data))
