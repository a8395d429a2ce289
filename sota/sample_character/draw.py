"""Draws Mira, the sample character, and the others who are not she: `python draw.py [--out FOLDER]`.

Needs dicebear-core, dicebear-styles, resvg-py (versions in PINNED) and Pillow. They are imported where they are used,
so that the looks and the captions can be read without them.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

SIZE = 256  # pixels, both ways
TRIGGER, CLASS_NOUN = "mira", "woman"

# Another version may draw other lines or resolve options otherwise.
PINNED = {"dicebear-core": "10.7.0", "dicebear-styles": "10.6.0", "resvg-py": "0.5.0"}

# What makes her Mira; no caption names it. Teal is none of the style's own hair colours, so that a model which has
# seen other open-peeps characters cannot draw her by chance, and it is in neither palette below.
IDENTITY = {
    "headVariant": "bangs",
    "headContrastColor": "#16a3a0",
    "skinColor": "#d08b5b",
    "facialHairProbability": 0,
    "maskProbability": 0,
}

# Who is not she: head, hair colour and skin colour. They show what all drawings of this style have in common.
OTHERS = (
    ("mohawk", "#e8c468", "#edb98a"),
    ("afro", "#000000", "#694d3d"),
    ("grayBun", "#b8bcc4", "#ffdbb4"),
    ("hijab", "#7d55b8", "#d08b5b"),
    ("long", "#000000", "#ffdbb4"),
    ("noHair1", "#000000", "#ae5d29"),
    ("cornrows", "#7a4a2b", "#ae5d29"),
    ("short4", "#c93305", "#ffdbb4"),
    ("pomp", "#000000", "#edb98a"),
    ("mediumBangs2", "#f06fa6", "#edb98a"),
    ("turban", "#f08a3c", "#d08b5b"),
    ("buns", "#000000", "#694d3d"),
)

# DiceBear's name -> what one sees in the picture.
EXPRESSIONS = {
    "smile": "smiling",
    "calm": "smiling with closed eyes",
    "smileBig": "grinning with teeth",
    "smileLOL": "laughing with tears",
    "smileTeethGap": "gap-toothed grin",
    "lovingGrin1": "smiling with heart eyes",
    "driven": "determined smile",
    "awe": "big shiny eyes",
    "explaining": "talking",
    "serious": "serious",
    "suspicious": "suspicious with one raised eyebrow",
    "tired": "tired",
    "concerned": "worried",
    "solemn": "sad",
    "hectic": "startled with wide eyes",
    "veryAngry": "angry",
}
ACCESSORIES = {"glasses5": "round glasses", "glasses4": "white glasses", "sunglasses": "sunglasses"}

# The word in the caption -> the colour in the picture. No two colours are equal, across both palettes.
CLOTHING = {
    "red": "#d94545",
    "orange": "#f08a3c",
    "yellow": "#f5c92e",
    "green": "#6cab3f",
    "blue": "#3f6fc4",
    "purple": "#7d55b8",
    "pink": "#f06fa6",
    "white": "#fafafa",
}
BACKGROUND = {
    "blue": "#a9d3f5",
    "green": "#b9e0b0",
    "yellow": "#ffe48a",
    "pink": "#f9c0d5",
    "lavender": "#cfc4f2",
    "peach": "#ffcba8",
    "grey": "#cdd1d6",
    "white": "#ffffff",
}


@dataclass(frozen=True)
class Look:
    """What one picture shows apart from the identity; the words are keys of the tables above."""

    expression: str
    accessory: str | None
    clothing: str
    background: str
    facing: Literal["left", "right"]  # as the viewer sees it; unflipped, the style looks to the right
    rotate: int  # degrees, clockwise
    scale: float


def looks() -> tuple[Look, ...]:
    """The twenty looks: colours are balanced, half face each way, and no shirt has its background's colour."""
    return (
        Look("smile", None, "red", "blue", "right", 0, 1.0),
        Look("smileBig", None, "yellow", "lavender", "left", -6, 1.05),
        Look("calm", None, "white", "pink", "left", 4, 0.95),
        Look("explaining", "glasses5", "blue", "yellow", "right", -4, 1.0),
        Look("smileLOL", None, "purple", "green", "right", 6, 1.1),
        Look("serious", None, "orange", "white", "left", 0, 0.9),
        Look("lovingGrin1", None, "green", "peach", "left", -8, 1.0),
        Look("suspicious", None, "pink", "grey", "right", 3, 1.1),
        Look("smile", "sunglasses", "white", "green", "left", 8, 1.0),
        Look("solemn", None, "blue", "pink", "right", -5, 0.95),
        Look("awe", None, "red", "yellow", "left", 5, 1.05),
        Look("veryAngry", None, "yellow", "blue", "right", 7, 0.9),
        Look("explaining", None, "pink", "peach", "left", -3, 1.1),
        Look("smileBig", "sunglasses", "orange", "blue", "right", -7, 0.95),
        Look("calm", "glasses4", "red", "white", "right", 5, 1.05),
        Look("tired", None, "purple", "yellow", "left", -2, 1.0),
        Look("driven", None, "blue", "green", "left", 0, 1.1),
        Look("concerned", "glasses5", "green", "lavender", "left", 6, 0.9),
        Look("smileTeethGap", None, "white", "grey", "right", -6, 1.0),
        Look("hectic", None, "yellow", "pink", "right", 2, 1.05),
    )


def caption(look: Look, who: str = f"{TRIGGER} {CLASS_NOUN}") -> str:
    """Trigger and class, then only what varies: what a caption names, a LoRA learns to leave to the prompt.

    Tilt and size are not named; they are too small for a person to put into words.
    """
    words = [
        who,
        EXPRESSIONS[look.expression],
        ACCESSORIES[look.accessory] if look.accessory else None,
        f"{look.clothing} shirt",
        f"{look.background} background",
        f"facing {look.facing}",
    ]
    return ", ".join(word for word in words if word)


def options(look: Look, identity: Mapping[str, Any] = IDENTITY) -> dict[str, Any]:
    """DiceBear's options for a look; every choice is fixed, so its random numbers decide nothing."""
    return {
        **identity,
        "seed": TRIGGER,
        "size": SIZE,
        "expressionVariant": look.expression,
        "accessoriesVariant": look.accessory or [],
        "accessoriesProbability": 100 if look.accessory else 0,
        "clothingColor": CLOTHING[look.clothing],
        "backgroundColor": BACKGROUND[look.background],
        "flip": "horizontal" if look.facing == "left" else "none",
        "rotate": look.rotate,
        "scale": look.scale,
    }


@functools.cache
def style():
    """The open-peeps style, read once; a dicebear.Style."""
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath("open-peeps.json").read_text("utf-8")))


def svg(look: Look, identity: Mapping[str, Any] = IDENTITY) -> str:
    """The drawing of a look, as SVG text."""
    from dicebear import Avatar

    return Avatar(style(), options(look, identity)).to_string()


def png(drawing: str) -> bytes:
    """An SVG drawing as a SIZE x SIZE RGB PNG with nothing but pixels in it.

    resvg writes RGBA, so the pixels are packed anew. Unfiltered rows suit flat colours: a third smaller than Pillow's
    own file, and the same bytes whatever Pillow's version.
    """
    import resvg_py
    from PIL import Image

    rgba = resvg_py.svg_to_bytes(svg_string=drawing, width=SIZE, height=SIZE, skip_system_fonts=True)
    pixels = Image.open(io.BytesIO(rgba)).convert("RGB").tobytes()
    stride = SIZE * 3
    rows = b"".join(b"\0" + pixels[start : start + stride] for start in range(0, len(pixels), stride))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(tag, data) for tag, data in chunks)


def _chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


class OtherVersions(RuntimeError):
    """What draws is not installed, or in other versions than PINNED; the message says what to do."""


def require_pinned() -> None:
    """Raises OtherVersions when other versions than PINNED are installed, and names them."""
    wrong = [f"{name} {got or 'missing'}" for name, got in _installed() if got != PINNED[name]]
    if wrong:
        wanted = " ".join(f"{name}=={version}" for name, version in PINNED.items())
        raise OtherVersions(
            f"Pictures are drawn the same every time only with fixed versions; here: {', '.join(wrong)}. "
            f"Run: pip install {wanted}"
        )


def _installed() -> Iterator[tuple[str, str | None]]:
    for name in PINNED:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, None


def draw(folder: Path) -> None:
    """Writes mira/mira_01.png, mira_01.txt … and others/other_01.png … into the folder; raises OtherVersions."""
    require_pinned()
    for number, look in enumerate(looks(), start=1):
        _write_pair(folder / TRIGGER / f"{TRIGGER}_{number:02}", svg(look), caption(look))
    for number, (look, (head, hair, skin)) in enumerate(zip(looks(), OTHERS, strict=False), start=1):
        identity = IDENTITY | {"headVariant": head, "headContrastColor": hair, "skinColor": skin}
        _write_pair(folder / "others" / f"other_{number:02}", svg(look, identity), caption(look, "person"))


def _write_pair(path: Path, drawing: str, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path.with_suffix(".png"), png(drawing))
    _write(path.with_suffix(".txt"), f"{text}\n".encode())


def _write(path: Path, data: bytes) -> None:
    """Writes beside the target and moves into place, so that no half-written file is ever seen."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Draw the sample character Mira, 20 pictures with captions, and 12 others."
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
