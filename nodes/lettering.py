"""Text on what we draw, in whatever script: clean, measured, wrapped, cut, and honest where a font is lacking."""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont, features

UNKNOWN = "▯"  # drawn for a sign that no font has
CUT = "…"

# Ships with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic, symbols.
_MAIN = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
# Asked in this order for signs that it lacks, where the system has them.
_FAMILIES = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR",
    "Source Han Sans", "Source Han Sans JP", "Source Han Sans SC", "Hiragino Sans", "Hiragino Kaku Gothic ProN",
    "PingFang SC", "PingFang HK", "Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "SimHei", "Malgun Gothic",
    "Apple SD Gothic Neo", "NanumGothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "IPAexGothic", "IPAGothic", "TakaoGothic", "VL Gothic", "Arial Unicode MS", "Noto Sans Devanagari",
    "Noto Sans Thai", "Nirmala UI", "Leelawadee UI", "Thonburi", "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol",
    "Noto Sans Symbols2", "Symbola", "FreeSans",
)  # fmt: skip

_WITHOUT_SPACES = "\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"  # Han, kana; not Hangul
_NEVER_FIRST = "、。，．・：；？！）」』】〉》ー々…"
_PIECES = re.compile(  # a line may end after each of them
    rf"\s+|[{_WITHOUT_SPACES}][{_NEVER_FIRST}]*|[^\s{_WITHOUT_SPACES}]*?[,/_\-]+(?=[^\s,])|[^\s{_WITHOUT_SPACES}]+"
)
_LONGEST = 4000  # signs of a text that are looked at
_LONGEST_LINE = 1000  # signs; more are on none


@dataclass(frozen=True)
class Lettering:
    """Text of one size, in pixels. What is measured and written was made by `clean`, `cut` or `wrapped`."""

    size: float
    bold: bool = False

    @property
    def line(self) -> int:
        """From one line to the next."""
        return round(1.4 * self.size)

    def width(self, text: str) -> float:
        return sum(font.getlength(run) for font, run in self._runs(text))

    def write(self, pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, fill: str, within: float = 0) -> None:
        """One line, its top left corner at `at`. within: text that runs from right to left ends at this width."""
        x, y = at
        if within and _from_right(text):
            x += within - self.width(text)
        for font, run in self._runs(text):
            pen.text((x, y + round(1.1 * self.size)), run, font=font, fill=fill, anchor="ls")
            x += font.getlength(run)

    def cut(self, text: str, width: float, middle: bool = False) -> str:
        """The text, or as much as fits with an ellipsis at its end; middle: there instead, so that both ends stay."""
        text = clean(text)
        if self.width(text) <= width:
            return text
        signs = bisect_right(range(1, len(text)), width, key=lambda kept: self.width(_shortened(text, kept, middle)))
        return _shortened(text, signs, middle)

    def wrapped(self, text: str, width: float, most: int) -> list[str]:
        """At most so many lines that fit; the last has an ellipsis where there is more. None for an empty text."""
        lines = list(islice(self._lines(clean(text), width), most + 1))
        if len(lines) <= most:
            return lines
        return [*lines[: most - 1], self._ended(lines[most - 1], width)]

    def _ended(self, line: str, width: float) -> str:
        """A line with an ellipsis; of several words whole ones stay."""
        if self.width(line + CUT) > width:
            whole, _, _ = line.rpartition(" ")
            line = whole or self.cut(line + CUT, width)
        return line.rstrip(CUT + " ,") + CUT

    def _lines(self, text: str, width: float) -> Iterator[str]:
        line = ""
        for piece in _PIECES.findall(text):
            if self.width((line + piece).rstrip()[:_LONGEST_LINE]) <= width:
                line += piece
                continue
            if line.strip():
                yield line.strip()
            line = piece.strip()
            while self.width(line[:_LONGEST_LINE]) > width:  # longer than a line by itself
                signs = range(1, min(len(line), _LONGEST_LINE))
                fitting = max(1, bisect_right(signs, width, key=lambda kept, line=line: self.width(line[:kept])))
                yield line[:fitting]
                line = line[fitting:]
        if line.strip():
            yield line.strip()

    def _runs(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        """Parts of one font each, in the order in which they are drawn."""
        for face, run in groupby(text if _has_raqm() else visual(text), key=lambda sign: _face_of(sign, self.bold)):
            yield _font(str(face.path), self.size), "".join(run)


def clean(text: str) -> str:
    """As one line that can be drawn: without control characters, and with UNKNOWN for signs that no font has."""
    return " ".join("".join(map(_drawable, text[:_LONGEST])).split())


def lacking(texts: Iterable[str]) -> list[str]:
    """Signs of these texts that no font has, each once, as they come."""
    signs = dict.fromkeys(sign for text in texts for sign in text[:_LONGEST])
    return [sign for sign in signs if _drawable(sign) == UNKNOWN != sign]


def unicode_names(signs: Sequence[str], most: int = 3) -> str:
    """Signs by their names in Unicode, for people who cannot see them."""
    names = [unicodedata.name(sign, f"U+{ord(sign):04X}") for sign in signs[:most]]
    return ", ".join(names) + (f", {CUT}" if len(signs) > most else "")


def families(texts: Iterable[str]) -> list[str]:
    """The font families that matplotlib needs for these texts, the one to ask first in front."""
    faces = dict.fromkeys([_main(False), *(_face_of(sign, False) for text in texts for sign in clean(text))])
    known = set(fontManager.get_font_names())
    for face in faces:
        if face.name not in known:  # its list is kept on disk: the font may be newer
            fontManager.addfont(face.path)
    return [face.name for face in faces]


def visual(text: str) -> str:
    """In the order from left to right, for drawing without Raqm: parts in scripts from right to left are turned."""
    words = re.split(r"(\s+|[^\w\s]+)", text)  # and what is between them
    turned: list[str] = []
    for from_right, run in groupby(zip(words, _directions(words), strict=True), key=lambda word: word[1]):
        parts = [word[::-1] if _from_right(word) else word for word, _ in run]
        turned += reversed(parts) if from_right else parts
    return "".join(turned)


def _directions(words: Sequence[str]) -> list[bool]:
    """Whether each runs from right to left; numbers and gaps do where the words on both sides do."""
    strong = [_from_right(word) for word in words]

    def nearest(directions: Sequence[bool | None]) -> bool:
        return next((each for each in directions if each is not None), False)

    return [nearest(strong[place::-1]) and nearest(strong[place:]) for place in range(len(words))]


def _from_right(text: str) -> bool | None:
    """Whether its first letter is of a script that is written from right to left; None where it has no letter."""
    kinds = (unicodedata.bidirectional(sign) for sign in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), None)


@functools.cache
def _has_raqm() -> bool:
    return features.check("raqm")


@functools.lru_cache(maxsize=1 << 16)
def _drawable(sign: str) -> str:
    """What is drawn for a sign."""
    kind = unicodedata.category(sign)
    if kind == "Cf" or "\ufe00" <= sign <= "\ufe0f":  # joiners, marks of direction, variants
        return ""
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    return sign if _face_of(sign, False).has(sign) else UNKNOWN


def _shortened(text: str, signs: int, middle: bool) -> str:
    """So many of its signs and an ellipsis."""
    if not middle:
        return text[:signs].rstrip(" ,.;:") + CUT
    after = signs // 2
    return text[: signs - after] + CUT + text[len(text) - after :]


class _Face:
    """A font file. name: of its family."""

    def __init__(self, path: Path):
        self._signs = FT2Font(str(path))
        self.path, self.name, self.style = path, self._signs.family_name, self._signs.style_name

    def has(self, sign: str) -> bool:
        return self._signs.get_char_index(ord(sign)) != 0


@functools.cache
def _main(bold: bool) -> _Face:
    return _Face(Path(matplotlib.get_data_path(), "fonts", "ttf", _MAIN[bold]))


@functools.cache
def _others() -> tuple[_Face, ...]:
    """Of the system; looked for only when a sign needs them."""
    best: dict[str, _Face] = {}
    for path in sorted(findSystemFonts()):
        try:
            face = _Face(Path(path))
        except (OSError, RuntimeError):  # broken, or not for us to read
            continue
        if face.name in _FAMILIES and (face.name not in best or face.style == "Regular"):
            best[face.name] = face
    return tuple(best[name] for name in sorted(best, key=_FAMILIES.index))


@functools.lru_cache(maxsize=1 << 16)
def _face_of(sign: str, bold: bool) -> _Face:
    """The first that has the sign; the main one where none has."""
    for face in (_main(bold), _main(False)):
        if face.has(sign):
            return face
    return next((face for face in _others() if face.has(sign)), _main(bold))


@functools.lru_cache(maxsize=256)
def _font(path: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
