"""Pictures from files: upright, sRGB, whole."""

from __future__ import annotations

import hashlib
import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageColor, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from .records import Box, Mask, Sample

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif"})

OTHER_SUFFIXES = frozenset({".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".exr"})  # pictures that are not read

# Pillow's other decoders are not for files from strangers (EPS runs Ghostscript).
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF")
_MOST_PIXELS = 2**27  # 400 MB as RGB


class UnreadableImage(ValueError):
    """A file that holds no whole picture; the message says what is wrong with it."""


def decode(data: bytes, background: str = "white", least: int | None = None) -> Image.Image:
    """The picture in `data` (the first of several), upright by its EXIF orientation, RGB in sRGB by its ICC profile.

    background: an ImageColor name or #rrggbb, below what is transparent. least: pixels each way that are enough; JPEG
    is then decoded at a half, a quarter or an eighth of its size, which is several times faster. Raises
    UnreadableImage for anything but a whole picture.
    """
    with _whole(data, least) as image:
        return _on(_in_srgb(image), background)


def alpha(data: bytes) -> Image.Image | None:
    """How opaque the picture is, 0 to 255 ("L"), upright; None where it is all opaque. Raises UnreadableImage."""
    with _whole(data) as image:
        if not _is_transparent(image):
            return None
        channel = image.convert("RGBA").getchannel("A")
        return None if channel.getextrema()[0] == 255 else channel


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, upright, by the header alone. Raises UnreadableImage."""
    with _opened(data) as image:
        turned = image.getexif().get(0x0112, 1) > 4  # Orientation (EXIF 2.3, table 3): a quarter turn
        return image.size[::-1] if turned else image.size


@contextmanager
def _whole(data: bytes, least: int | None = None) -> Iterator[Image.Image]:
    with _opened(data) as image:
        if least is not None:
            image.draft(None, (least, least))
        image.load()
        yield ImageOps.exif_transpose(image)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Raises UnreadableImage for whatever goes wrong inside: decoders raise all kinds of errors for broken files."""
    try:
        with _strict, Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise UnreadableImage(
                    f"{image.width} x {image.height} pixels; at most {_MOST_PIXELS / 1e6:.0f} million are read"
                )
            yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a picture, {len(data)} bytes") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage("far too many pixels") from error
    except Exception as error:
        raise UnreadableImage(f"damaged or cut off after {len(data)} bytes: {error}") from error


class _Strict:
    """Other packs let Pillow fill what is cut off with grey, for the whole process; while this is entered, by however
    many threads, that is an error."""

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self._inside += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_strict = _Strict()


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _in_srgb(image: Image.Image) -> Image.Image:
    """8 bits a channel, in sRGB: RGB, or RGBA where it has transparent parts."""
    image = _eight_bits(image)
    profile = image.info.get("icc_profile")
    transparency = image.convert("RGBA").getchannel("A") if _is_transparent(image) else None
    colours = _converted(image, profile) if profile else image.convert("RGB")
    if transparency:
        colours.putalpha(transparency)
    return colours


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB by an ICC profile; as if there were none where it is broken or of another kind of picture."""
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGBA").convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip().startswith("sRGB"):
            return image.convert("RGB")
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of greys that have more: convert() would cut them off at 255."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode == "F":
        return Image.fromarray((np.nan_to_num(np.asarray(image)).clip(0, 1) * 255).round().astype(np.uint8))
    return image


def _on(image: Image.Image, background: str) -> Image.Image:
    if image.mode != "RGBA":
        return image
    below = Image.new("RGBA", image.size, ImageColor.getrgb(background))
    return Image.alpha_composite(below, image).convert("RGB")


def pixels(image: Image.Image) -> Tensor:
    """B=1,H,W,3 float32 in 0..1, as ComfyUI's IMAGE."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)[None]


def picture(pixels: Tensor) -> Image.Image:
    """A picture from H,W,3 in 0..1, rounded as core's SaveImage does it."""
    return Image.fromarray(np.clip(255.0 * pixels.cpu().numpy(), 0, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    """A file of it, without loss."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def read(sample: Sample) -> Tensor:
    """What a sample shows: B=1,H,W,3. Raises UnreadableImage where its file is not the one that was loaded."""
    if isinstance(sample.image, Tensor):
        left, top, right, bottom = sample.box or (0, 0, *sample.image.shape[-2:-4:-1])
        return sample.image[:, top:bottom, left:right]
    return pixels(opened(sample))


def opened(sample: Sample) -> Image.Image:
    """What a sample shows, RGB. Raises UnreadableImage where its file is not the one that was loaded."""
    if isinstance(sample.image, Tensor):
        return picture(read(sample)[0])
    whole = decode(unchanged(sample.image, sample.origin.sha256), sample.background)
    return whole.crop(sample.box) if sample.box else whole


def reduced(sample: Sample, side: int) -> Image.Image:
    """The same scaled down as far as that makes reading it faster, to `side` pixels each way or more."""
    if isinstance(sample.image, Tensor):
        return opened(sample)
    data = unchanged(sample.image, sample.origin.sha256)
    width, height = dimensions(data)
    box = sample.box or Box(0, 0, width, height)
    whole = decode(data, sample.background, math.ceil(side * max(width / box.size[0], height / box.size[1])))
    across, down = whole.width / width, whole.height / height
    return whole.resize(
        (max(1, round(box.size[0] * across)), max(1, round(box.size[1] * down))),
        Image.Resampling.BOX,
        (box.left * across, box.top * down, min(box.right * across, whole.width), min(box.bottom * down, whole.height)),
    )


def file_of(sample: Sample) -> tuple[bytes, str]:
    """A file of what a sample shows, and its ending: its own where it shows that whole, else a PNG. Raises
    UnreadableImage where its file is not the one that was loaded."""
    if sample.box is None and not isinstance(sample.image, Tensor):
        return unchanged(sample.image, sample.origin.sha256), sample.image.suffix.lower()
    return png(opened(sample)), ".png"


def read_mask(sample: Sample) -> Tensor | None:
    """What of a sample is learned: H,W float32 in 0..1; None where it has no mask. Raises UnreadableImage."""
    if sample.mask is None:
        return None
    if isinstance(sample.mask.image, Tensor):
        left, top, right, bottom = sample.box or (0, 0, *sample.mask.image.shape[::-1])
        return sample.mask.image[top:bottom, left:right]
    mask = _mask(sample.mask)
    shown = mask.crop(sample.box) if sample.box else mask
    return torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255.0)


def _mask(mask: Mask) -> Image.Image:
    data = unchanged(mask.image, mask.sha256)
    if not mask.of_alpha:
        return decode(data).convert("L")
    channel = alpha(data)
    return channel or Image.new("L", dimensions(data), 255)


def unchanged(file: Path, sha256: str) -> bytes:
    """The bytes of a file. Raises UnreadableImage where they are not those with this hash."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{file.name} cannot be read any more: {error.strerror}. Queue again.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableImage(f"{file.name} was changed after the data set was loaded. Queue again.")
    return data
