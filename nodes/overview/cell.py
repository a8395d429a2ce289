"""One cell of a data set's contact sheet: a picture in a frame, and below it what is known of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ..dataset import images
from ..dataset.records import HELD_OUT, Sample
from ..lettering import CUT, Lettering
from ..style import BACKGROUND, BLUE, INK, LINE, MUTED, PALE, PALE_WARNING, WARNING

_NOT_LEARNED, _TINT = "#e5284e", 0.6  # over what a mask leaves out
_CAPTION_LINES, _REASON_LINES, _SCORE_LINES, _TAG_LINES, _BADGE_LINES = 4, 3, 2, 2, 2


@dataclass(frozen=True)
class Frame:
    """Measures in pixels. width, height: of the frame around each picture; the text below is as wide."""

    width: int
    height: int

    @property
    def text(self) -> int:
        return max(12, min(18, self.width // 19))

    @property
    def gap(self) -> int:
        """Between paragraphs."""
        return round(0.45 * self.text)

    @property
    def plain(self) -> Lettering:
        return Lettering(self.text)

    @property
    def strong(self) -> Lettering:
        return Lettering(self.text, bold=True)

    @property
    def small(self) -> Lettering:
        return Lettering(max(11, round(0.9 * self.text)))


@dataclass(frozen=True)
class Paragraph:
    """Lines of one look. boxed: on a pale ground, with a margin around."""

    lines: tuple[str, ...]
    lettering: Lettering
    colour: str
    boxed: bool = False

    @property
    def height(self) -> int:
        return len(self.lines) * self.lettering.line + (2 * _margin(self.lettering) if self.boxed else 0)


@dataclass(frozen=True)
class Badge:
    """A word or two. ground: the colour below; none where they stand by themselves. at: left edge, number of line."""

    text: str
    ink: str = INK
    ground: str | None = PALE
    at: tuple[float, int] = (0, 0)


@dataclass(frozen=True)
class Cell:
    """What stands below a picture, measured for a frame."""

    frame: Frame
    name: str
    badges: tuple[Badge, ...]
    paragraphs: tuple[Paragraph, ...]
    dropped: bool

    @property
    def height(self) -> int:
        """Of all of it, with the picture."""
        return self.frame.height + self._head + sum(self.frame.gap + each.height for each in self.paragraphs)

    @property
    def _head(self) -> int:
        """Of the name and the badges, in pixels."""
        rows = 1 + max(badge.at[1] for badge in self.badges)
        return self.frame.gap + self.frame.strong.line + rows * self._row

    @property
    def _row(self) -> int:
        """From one line of badges to the next."""
        return self.frame.small.line + self.frame.text // 3

    def draw(self, sheet: Image.Image, at: tuple[int, int], picture: Image.Image) -> None:
        """Onto the sheet, the frame's top left corner at `at`."""
        pen = ImageDraw.Draw(sheet)
        x, y = at
        _draw_picture(sheet, self.frame, at, picture, self.dropped)
        y += self.frame.height + self.frame.gap
        self.frame.strong.write(pen, (x, y), self.name, INK)
        y += self.frame.strong.line
        for badge in self.badges:
            _draw_badge(pen, self.frame.small, badge, (x + badge.at[0], y + badge.at[1] * self._row))
        y = at[1] + self.frame.height + self._head
        for paragraph in self.paragraphs:
            y += self.frame.gap
            _draw_paragraph(pen, paragraph, (x, y), self.frame.width)
            y += paragraph.height


def measured(sample: Sample, frame: Frame) -> Cell:
    """What is known of a sample, wrapped and cut to the frame."""
    return Cell(
        frame,
        frame.strong.cut(sample.name, frame.width, middle=True),
        tuple(_placed(_badges(sample), frame)),
        tuple(paragraph for paragraph in _paragraphs(sample, frame) if paragraph.lines),
        bool(sample.reason),
    )


def texts(sample: Sample) -> list[str]:
    """All that is written of a sample and comes from people."""
    return [sample.name, sample.reason, sample.caption, *sample.scores, *sample.tags]


def thumbnail(sample: Sample, frame: Frame, with_mask: bool) -> Image.Image:
    """The picture scaled to fit the frame, RGB; with_mask: what its mask leaves out is tinted. Raises
    images.UnreadableImage."""
    whole = images.opened(sample)
    scale = min(frame.width / whole.width, frame.height / whole.height)
    size = max(1, round(whole.width * scale)), max(1, round(whole.height * scale))
    small = whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    mask = images.read_mask(sample) if with_mask else None
    if mask is None:
        return small
    left_out = Image.fromarray(((1 - mask.clamp(0, 1)) * (255 * _TINT)).round().byte().cpu().numpy())
    left_out = left_out.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return Image.composite(Image.new("RGB", size, _NOT_LEARNED), small, left_out)


def number(value: float) -> str:
    """A score, short: two decimals where it is small, none where it is large or whole."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.2f}"


def _paragraphs(sample: Sample, frame: Frame) -> Iterator[Paragraph]:
    reason = frame.plain.wrapped(sample.reason, frame.width - 2 * _margin(frame.plain), _REASON_LINES)
    yield Paragraph(tuple(reason), frame.plain, WARNING, boxed=True)
    yield Paragraph(tuple(frame.plain.wrapped(sample.caption, frame.width, _CAPTION_LINES)), frame.plain, INK)
    scores = (f"{name} {number(value)}" for name, value in sample.scores.items())
    yield Paragraph(tuple(_listed(scores, frame)), frame.small, BLUE)
    tags = f"tags: {', '.join(sample.tags)}" if sample.tags else ""
    yield Paragraph(tuple(frame.small.wrapped(tags, frame.width, _TAG_LINES)), frame.small, MUTED)


def _listed(items: Iterable[str], frame: Frame) -> list[str]:
    """Several on a line, none of them on two; an ellipsis after the last line where there are more."""
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and frame.small.width(frame.small.cut(longer, math.inf)) <= frame.width:
            lines[-1] = longer
        elif len(lines) < _SCORE_LINES:
            lines.append(frame.small.cut(item, frame.width))
        else:
            return [*lines[:-1], frame.small.cut(f"{lines[-1]} · {CUT}", frame.width)]
    return lines


def _badges(sample: Sample) -> Iterator[Badge]:
    yield Badge(f"{sample.size[0]} × {sample.size[1]}", MUTED, None)
    if sample.split == HELD_OUT:
        yield Badge("held out", BACKGROUND, BLUE)
    if not sample.captions:
        yield Badge("no caption", WARNING, PALE_WARNING)
    if len(sample.captions) > 1:
        yield Badge(f"{len(sample.captions)} captions")
    if sample.mask is not None:
        yield Badge("mask")
    if sample.repeats > 1:
        yield Badge(f"{sample.repeats} times")
    if sample.weight != 1.0:
        yield Badge(f"weight {sample.weight:g}")


def _placed(badges: Iterable[Badge], frame: Frame) -> Iterator[Badge]:
    """Beside each other, and on the next line where they do not fit."""
    x, row = 0.0, 0
    for badge in badges:
        width = frame.small.width(badge.text) + (2 * _margin(frame.small) if badge.ground else 0)
        if x and x + width > frame.width:
            x, row = 0.0, row + 1
        if row == _BADGE_LINES:
            return
        yield dataclasses.replace(badge, at=(x, row))
        x += width + frame.gap


def _margin(lettering: Lettering) -> int:
    return round(0.45 * lettering.size)


def _draw_picture(
    sheet: Image.Image, frame: Frame, at: tuple[int, int], picture: Image.Image, is_dropped: bool
) -> None:
    pen = ImageDraw.Draw(sheet)
    x, y = at
    pen.rectangle((x, y, x + frame.width - 1, y + frame.height - 1), fill=PALE)
    left, top = x + (frame.width - picture.width) // 2, y + (frame.height - picture.height) // 2
    sheet.paste(picture, (left, top))
    pen.rectangle((left, top, left + picture.width - 1, top + picture.height - 1), outline=LINE)
    if is_dropped:
        pen.rectangle((x, y, x + frame.width - 1, y + frame.height - 1), outline=WARNING, width=3)


def _draw_badge(pen: ImageDraw.ImageDraw, lettering: Lettering, badge: Badge, at: tuple[float, float]) -> None:
    x, y = at
    if badge.ground:
        right = x + lettering.width(badge.text) + 2 * _margin(lettering)
        pen.rounded_rectangle((x, y, right, y + lettering.line), radius=lettering.line // 3, fill=badge.ground)
        x += _margin(lettering)
    lettering.write(pen, (x, y), badge.text, badge.ink)


def _draw_paragraph(pen: ImageDraw.ImageDraw, paragraph: Paragraph, at: tuple[int, int], width: int) -> None:
    x, y = at
    if paragraph.boxed:
        margin = _margin(paragraph.lettering)
        pen.rounded_rectangle((x, y, x + width - 1, y + paragraph.height - 1), radius=margin, fill=PALE_WARNING)
        x, y, width = x + margin, y + margin, width - 2 * margin
    for line in paragraph.lines:
        paragraph.lettering.write(pen, (x, y), line, paragraph.colour, within=width)
        y += paragraph.lettering.line
