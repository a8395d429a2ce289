"""Every kind of picture file, made by Pillow, against what it shows."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, features

from isengard.nodes.dataset import images


def stored(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp(mode: str = "RGB") -> Image.Image:
    """Soft colours in all directions, which every codec keeps."""
    y, x = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([x * 3, y * 4, 255 - x * 2], -1).astype(np.uint8)).convert(mode)


def far(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures' values, 0 to 255."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize(
    "kind, options, most",
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("tiff", {"compression": "tiff_lzw"}, 0),
        ("webp", {"lossless": True}, 0),
        ("webp", {"quality": 95}, 3),
        ("jpeg", {"quality": 95}, 3),
        ("avif", {"quality": 95}, 3),
        ("gif", {}, 12),
        ("mpo", {"quality": 95}, 3),
    ],
)
def test_every_format_is_read(kind, options, most):
    assert features.check("avif"), "the requirements ask for a Pillow that reads AVIF"
    found = images.decode(stored(ramp(), kind, **options))
    assert found.mode == "RGB"
    assert far(found, ramp()) <= most


@pytest.mark.parametrize(
    "mode, kind, most",
    [("L", "png", 0), ("1", "png", 0), ("P", "png", 0), ("CMYK", "tiff", 2), ("CMYK", "jpeg", 4), ("YCbCr", "jpeg", 4),
     ("LA", "png", 0), ("RGBA", "tiff", 0), ("RGBA", "webp", 4)],
)  # fmt: skip
def test_every_mode_becomes_rgb(mode, kind, most):
    image = ramp(mode)
    assert far(images.decode(stored(image, kind)), image.convert("RGB")) <= most


@pytest.mark.parametrize("mode, colour", [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_transparent_parts_are_white_unless_said_otherwise(mode, colour):
    data = stored(Image.new(mode, (4, 4), colour), "png")
    assert images.decode(data).getextrema() == ((255, 255),) * 3
    assert images.decode(data, "#102030").getpixel((0, 0)) == (16, 32, 48)


def test_a_palettes_transparent_colour_is_transparent():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    data = stored(image, "gif", transparency=0)
    assert [images.decode(data).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]
    assert np.asarray(images.alpha(data)).tolist() == [[0, 255]]


def test_an_opaque_picture_has_no_alpha():
    assert images.alpha(stored(ramp(), "png")) is None
    assert images.alpha(stored(ramp("RGBA"), "png")) is None


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_keep_their_greys(kind):
    greys = Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256))
    pixels = images.pixels(images.decode(stored(greys, kind)))
    torch.testing.assert_close(pixels[0, 0, :, 0], torch.linspace(0, 1, 256), atol=0.5 / 255, rtol=0)


def test_floats_from_0_to_1_keep_their_greys():
    greys = Image.fromarray(np.array([[0.0, 0.5, 1.0, 7.0, np.nan]], np.float32))
    assert np.asarray(images.decode(stored(greys, "tiff")).convert("L")).tolist() == [[0, 128, 255, 255, 0]]


RED, GREEN, BLUE = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)  # sRGB's, at D50


def profile(red, green, blue, name: bytes = b"of a test") -> bytes:
    """An ICC profile (ICC.1:2001-04, sections 6.1 to 6.5) of three colours, with gamma 2.2."""

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"rXYZ": xyz(red),
            b"gXYZ": xyz(green), b"bXYZ": xyz(blue), b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma}  # fmt: skip
    table, data, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", place + len(data), len(content))
        data += content
    size = 128 + len(table) + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    light = struct.pack(">iii", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return (header + bytes(28) + light).ljust(128, b"\0") + table + data


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_srgb_by_the_pictures_profile(mode):
    """Where red and blue have changed places, it changes them back."""
    image = Image.new("RGB", (4, 4), (110, 60, 10)).convert(mode)
    plain, same, swapped = (
        images.decode(stored(image, "png", **more)).getpixel((0, 0))
        for more in ({}, {"icc_profile": profile(RED, GREEN, BLUE)}, {"icc_profile": profile(BLUE, GREEN, RED)})
    )
    assert plain == (110, 60, 10)
    assert same == pytest.approx((110, 60, 10), abs=8), "sRGB is nearly gamma 2.2"
    assert swapped == pytest.approx((10, 60, 110), abs=8)


@pytest.mark.parametrize("broken", [b"no profile", b""])
def test_a_broken_profile_is_as_good_as_none(broken):
    assert far(images.decode(stored(ramp(), "png", icc_profile=broken)), ramp()) == 0


def test_srgb_leaves_the_colours_alone_and_transparency_where_it_is():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = ramp("RGBA")
    image.putpixel((5, 5), (0, 0, 0, 0))
    found = images.decode(stored(image, "png", icc_profile=srgb))
    expected = ramp()
    expected.putpixel((5, 5), (255, 255, 255))
    assert far(found, expected) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright_and_so_do_their_dimensions(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = stored(ramp(), "jpeg", exif=exif)
    assert images.dimensions(data) == images.decode(data).size == ((64, 48) if orientation < 5 else (48, 64))


def test_of_several_pictures_in_a_file_the_first_is_read():
    data = stored(ramp("P"), "gif", save_all=True, append_images=[Image.new("P", (64, 48))])
    assert far(images.decode(data), ramp("P").convert("RGB")) < 12


def test_a_bomb_is_refused_by_its_header():
    chunk = b"\x00\x00\x00\rIHDR" + (40_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = b"\x89PNG\r\n\x1a\n" + chunk + zlib.crc32(chunk[4:]).to_bytes(4, "big")
    with pytest.raises(images.UnreadableImage, match="far too many pixels"):
        images.decode(data + stored(ramp(), "png")[33:])


def test_a_picture_just_too_large_is_refused_with_its_size():
    data = stored(Image.new("1", (20_000, 7_000)), "png")
    with pytest.raises(images.UnreadableImage, match="20000 x 7000 pixels; at most 134 million are read"):
        images.decode(data)


def test_no_postscript_is_run():
    buffer = io.BytesIO()
    ramp().save(buffer, "eps")
    with pytest.raises(images.UnreadableImage, match="not a picture"):
        images.decode(buffer.getvalue())


def test_pixels_go_there_and_back():
    pixels = images.pixels(ramp())
    assert (pixels.shape, pixels.dtype) == ((1, 48, 64, 3), torch.float32)
    assert far(images.picture(pixels[0]), ramp()) == 0
