"""The sample character: what ships is what draw.py draws, one identity, and captions that tell the truth."""

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from isengard.sota.sample_character import FOLDER, OTHERS, draw

NAMES = [f"mira_{number:02}" for number in range(1, 21)]
LOOKS = dict(zip(NAMES, draw.looks(), strict=True))
OTHER_NAMES = [f"other_{number:02}" for number in range(1, 13)]
ALL = [(FOLDER, name) for name in NAMES] + [(OTHERS, name) for name in OTHER_NAMES]


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def picture(name: str) -> Image.Image:
    return Image.open(FOLDER / f"{name}.png")


def words(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n").split(", ")


def has_colour(image: Image.Image, colour: str) -> np.ndarray:
    """H,W bool: the pixels that have exactly this colour."""
    return (np.asarray(image) == rgb(colour)).all(axis=-1)


def unpacked(data: bytes) -> list[tuple[bytes, bytes]]:
    """A PNG's chunks with their checksums verified and the pixels decompressed.

    All of the file but the compressor's choices, which differ between zlib and zlib-ng.
    """
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        tag, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(tag + body),)
        chunks.append((tag, zlib.decompress(body) if tag == b"IDAT" else body))
        at += length + 12
    return chunks


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redrawn")
    draw.draw(folder)
    return folder


def test_the_folders_hold_pictures_with_captions_and_nothing_else():
    for folder, names in ((FOLDER, NAMES), (OTHERS, OTHER_NAMES)):
        expected = {f"{name}.{ending}" for name in names for ending in ("png", "txt")}
        assert {path.name for path in folder.iterdir()} == expected


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in (*FOLDER.iterdir(), *OTHERS.iterdir())) < 600_000


@pytest.mark.parametrize(("folder", "name"), ALL, ids=lambda part: part if isinstance(part, str) else "")
def test_redrawing_gives_the_files_that_ship(folder, name, redrawn):
    again = redrawn / folder.name
    assert unpacked((folder / f"{name}.png").read_bytes()) == unpacked((again / f"{name}.png").read_bytes())
    assert (folder / f"{name}.txt").read_bytes() == (again / f"{name}.txt").read_bytes()


def test_the_others_are_twelve_people_and_none_is_she():
    mine = tuple(draw.IDENTITY[key] for key in ("headVariant", "headContrastColor", "skinColor"))
    assert len(set(draw.OTHERS)) == len(OTHER_NAMES)
    assert all(head != mine[0] and hair != mine[1] for head, hair, _ in draw.OTHERS)
    assert {head for head, _, _ in draw.OTHERS} <= set(draw.style().components()["head"].variants())
    texts = [(OTHERS / f"{name}.txt").read_text(encoding="utf-8") for name in OTHER_NAMES]
    assert all(text.startswith("person, ") and "mira" not in text for text in texts)


def test_drawing_twice_gives_the_same_bytes_and_leaves_nothing_else(redrawn, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["draw.py", "--out", str(tmp_path)])
    draw.main()
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in (redrawn, tmp_path)
    )
    assert len(first) == 2 * len(ALL) and first == second


def test_other_versions_are_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setitem(draw.PINNED, "resvg-py", "0.0.1")
    monkeypatch.setitem(draw.PINNED, "no-such-package", "1.0")
    with pytest.raises(
        RuntimeError, match=r"resvg-py 0\.5\.0, no-such-package missing.*pip install .*resvg-py==0\.0\.1"
    ):
        draw.draw(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_behind(monkeypatch, tmp_path):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(draw.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        draw.draw(tmp_path)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_256_by_256_rgb(name):
    with picture(name) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (256, 256), "RGB")


def test_captions_are_distinct_single_lines_that_start_with_trigger_and_class():
    texts = [(FOLDER / f"{name}.txt").read_bytes().decode("utf-8") for name in NAMES]
    assert len(set(texts)) == 20
    assert all(text.startswith("mira woman, ") and text.endswith("\n") and text.count("\n") == 1 for text in texts)


def test_the_identity_is_the_same_in_all_options():
    for key in ("headVariant", "headContrastColor", "skinColor", "facialHairProbability", "maskProbability"):
        assert len({draw.options(look)[key] for look in LOOKS.values()}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_hair_and_skin_have_the_identity_colours(name):
    image = picture(name)
    assert has_colour(image, draw.IDENTITY["headContrastColor"]).mean() > 0.08
    assert has_colour(image, draw.IDENTITY["skinColor"]).mean() > 0.08


@pytest.mark.parametrize("field", ["expression", "accessory", "clothing", "background", "rotate", "scale"])
def test_what_varies_takes_at_least_three_values(field):
    assert len({getattr(look, field) for look in LOOKS.values()}) >= 3


def test_variation_is_balanced():
    def count(field):
        return Counter(getattr(look, field) for look in LOOKS.values())

    assert count("facing") == {"left": 10, "right": 10}
    assert max(count("expression").values()) <= 2
    assert count("accessory")[None] == 15
    assert set(count("clothing").values()) | set(count("background").values()) == {2, 3}


@pytest.mark.parametrize("name", NAMES)
def test_the_caption_names_the_background(name):
    named = words(name)[-2].removesuffix(" background")
    image = picture(name)
    # the upper corners; her shoulders reach the lower ones
    assert {image.getpixel(corner) for corner in ((0, 0), (255, 0))} == {rgb(draw.BACKGROUND[named])}


@pytest.mark.parametrize("name", NAMES)
def test_the_caption_names_the_shirt(name):
    seen = {colour for colour, code in draw.CLOTHING.items() if has_colour(picture(name), code).mean() > 0.01}
    assert seen == {words(name)[-3].removesuffix(" shirt")}


@pytest.mark.parametrize("name", NAMES)
def test_the_caption_names_the_side_she_faces(name):
    image = picture(name)
    face, hair = (  # mean columns
        has_colour(image, draw.IDENTITY[key]).nonzero()[1].mean() for key in ("skinColor", "headContrastColor")
    )
    assert words(name)[-1] == ("facing right" if face > hair else "facing left")


@pytest.mark.parametrize("name", NAMES)
def test_the_caption_names_glasses_where_there_are_any(name):
    named = [word for word in words(name) if "glasses" in word]
    accessory = LOOKS[name].accessory
    assert named == ([draw.ACCESSORIES[accessory]] if accessory else [])


def test_every_option_is_one_that_the_style_has():
    """DiceBear drops a name that it does not know and draws the picture without it."""
    components = draw.style().components()
    assert set(draw.EXPRESSIONS) <= set(components["expression"].variants())
    assert set(draw.ACCESSORIES) <= set(components["accessories"].variants())
    assert draw.IDENTITY["headVariant"] in components["head"].variants()
