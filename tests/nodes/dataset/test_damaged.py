"""Two thousand damaged files: none crashes, hangs or fills the memory, and each is named."""

from __future__ import annotations

import io
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from isengard.nodes.dataset import folder, images

FILES = 2000
KINDS = ("png", "jpeg", "webp", "avif", "bmp", "tiff", "gif")


def whole(kind: str, generator: np.random.Generator) -> bytes:
    image = Image.fromarray(generator.integers(0, 256, (40, 56, 3), np.uint8).repeat(2, 0).repeat(2, 1))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def flipped(data: bytes, generator: np.random.Generator) -> bytes:
    bits = np.frombuffer(data, np.uint8).copy()
    places = generator.integers(0, len(bits), generator.integers(1, 40))
    bits[places] ^= (1 << generator.integers(0, 8, len(places))).astype(np.uint8)
    return bits.tobytes()


def in_the_header(data: bytes, generator: np.random.Generator) -> bytes:
    return flipped(data[:64], generator) + data[64:]


def cut(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: generator.integers(0, len(data))]


def garbled(data: bytes, generator: np.random.Generator) -> bytes:
    start = generator.integers(0, len(data))
    return data[:start] + generator.bytes(len(data) - start)


def doubled(data: bytes, generator: np.random.Generator) -> bytes:
    place = generator.integers(0, len(data))
    return data[:place] + data[: generator.integers(1, len(data))] + data[place:]


DAMAGE = (flipped, in_the_header, cut, garbled, doubled)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    place = tmp_path_factory.mktemp("damaged")
    generator = np.random.default_rng(0)
    originals = {kind: whole(kind, generator) for kind in KINDS}
    endings = [".png", ".jpg", ".webp", ".avif", ".bmp", ".tif", ".gif"]
    for number in range(FILES):
        kind = KINDS[number % len(KINDS)]
        data = DAMAGE[number % len(DAMAGE)](originals[kind], generator)
        ending = endings[(number + number // 700) % len(endings)]  # after a while the wrong one
        (place / f"{number:04}{ending}").write_bytes(data)
    return place


def test_every_damaged_file_is_read_or_named(damaged):
    """Flipped bits that still are a picture are one; nobody can tell."""
    before, started = psutil.Process().memory_info().rss, time.monotonic()
    Image.new("RGB", (8, 8)).save(damaged / "good.png")
    found = folder.load(damaged, "damaged", folder.Options("a caption", skip_unreadable=True))
    named = {remark.name.removeprefix("damaged/") for remark in found.unread}
    read = {sample.name for sample in found.dataset.samples}
    assert named | read == {file.name for file in damaged.iterdir()}
    assert not named & read
    assert len(named) > FILES / 3
    assert all(remark.text for remark in found.unread)
    assert time.monotonic() - started < 120
    assert psutil.Process().memory_info().rss - before < 1.5e9
    for sample in found.dataset.samples[:50]:
        assert images.read(sample).shape == (1, *sample.size[::-1], 3)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 2), (2, 20_000)])
def test_odd_shapes_are_pictures(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    (sample,) = folder.load(tmp_path, "odd").dataset.samples
    assert sample.size == size


def test_a_picture_with_another_ending_is_what_it_is(tmp_path):
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png", "jpeg")
    (sample,) = folder.load(tmp_path, "odd").dataset.samples
    assert images.opened(sample).getpixel((0, 0))[0] > 250
