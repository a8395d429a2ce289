"""A data set in one picture: sizes, aspect ratios, buckets, words and coverage, drawn with matplotlib."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from PIL import Image

from .. import lettering, style
from ..dataset.report import in_short
from ..lettering import Lettering
from ..style import FILL, GREY, INK, LINE, MILD_WARNING, MUTED, PALE_WARNING, TRACK, WARNING
from .coverage import AspectCoverage, Coverage
from .report import Overview
from .statistics import Captions, Size, Statistics
from .vocabulary import Feature

WIDTH, HEIGHT = 1600, 1000  # pixels
_MARGIN, _BOTTOM = 40, 960
_COLUMNS = (40, 480, 920)  # left edges: sizes and buckets, shapes and words, coverage
_PANEL, _ROWS = 380, (140, 570)  # width of a panel; tops
_HEAD = 40  # from a panel's top to its first bar
_MOST_WORDS, _MOST_BUCKETS = 13, 6
_TEXT, _TITLE = 13, 16  # pixels


@dataclass(frozen=True)
class Bar:
    """share: of the full length, 0 to 1; marked: what of it is drawn as a warning. said: behind it. lacks: none is a
    warning."""

    label: str
    share: float
    said: str
    marked: float = 0.0
    lacks: bool = False

    @property
    def ink(self) -> str:
        return INK if self.share else WARNING if self.lacks else MUTED


@dataclass(frozen=True)
class Place:
    """Where bars are drawn, in pixels. labels: their width; said: of what is behind the bars; row: height of one."""

    left: float
    top: float
    width: float
    labels: float
    said: float = 44
    row: float = 32


def draw(overview: Overview) -> Image.Image:
    """The chart, WIDTH x HEIGHT pixels."""
    figure = style.figure(WIDTH, HEIGHT, layout=None)
    canvas = _Canvas(figure)
    dataset = overview.dataset
    canvas.text(_MARGIN, 62, _cut(dataset.name, WIDTH - 2 * _MARGIN, 28, bold=True), 28, bold=True)
    canvas.text(_MARGIN, 96, _facts(overview), 15, MUTED)
    if dataset.samples:
        _draw_sizes(figure, canvas, overview.statistics)
        _draw_shapes(canvas, overview.statistics)
        below = _draw_buckets(canvas, overview.statistics)
        _draw_advice(canvas, overview.advice, below + 22)
        _draw_words(canvas, overview.statistics.captions)
        _draw_coverage(canvas, overview.coverage)
    else:
        canvas.text(WIDTH / 2, HEIGHT / 2, "Nothing here: this data set has no pictures.", 18, MUTED, align="center")
    if canvas.lacks:
        said = f"{lettering.UNKNOWN} stands for signs that no font of this machine has."
        canvas.text(_MARGIN, 986, said, _TEXT, WARNING)
    return style.rendered(figure)


class _Canvas:
    """The whole figure, measured in pixels from its top left corner. lacks: whether a text has signs without a font."""

    def __init__(self, figure: Figure):
        self.lacks = False
        self._axes = figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self._axes.axis("off")

    def text(
        self, x: float, y: float, text: str, size: float, colour: str = INK, bold: bool = False, align: str = "left"
    ) -> None:
        """One line, of `_cut` or our own; y: of the line that its letters stand on."""
        self.lacks |= lettering.UNKNOWN in text
        families = lettering.families([text])
        weight = "bold" if bold and len(families) == 1 else "normal"  # matplotlib logs a warning for one it lacks
        self._axes.text(
            x, y, text, fontsize=size * 72 / style.DPI, color=colour, weight=weight, ha=align, va="baseline",
            family=families, parse_math=False,
        )  # fmt: skip

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        left, right = round(x), round(x + width)  # whole pixels: sharp edges
        self._axes.add_patch(Rectangle((left, round(y)), right - left, round(height), color=colour, linewidth=0))

    def title(self, x: float, y: float, text: str, note: str = "") -> None:
        self.text(x, y + _TITLE, text, _TITLE, bold=True)
        if note:
            self.text(x + Lettering(_TITLE, bold=True).width(text) + 10, y + _TITLE, note, _TEXT, MUTED)

    def bars(self, bars: Sequence[Bar], place: Place) -> None:
        """Below each other: a label, a bar on a pale ground of its full length, and what is said behind it."""
        left, full = place.left + place.labels, place.width - place.labels - place.said
        height = round(min(16, 0.6 * place.row))
        for number, bar in enumerate(bars):
            middle = place.top + (number + 0.5) * place.row
            line, top = middle + 0.36 * _TEXT, middle - height / 2
            self.text(place.left, line, _cut(bar.label, place.labels - 12, _TEXT), _TEXT, bar.ink)
            self.box(left, top, full, height, TRACK)
            self.box(left, top, max(2, bar.share * full) if bar.share else 0, height, FILL)
            self.box(left, top, bar.marked * full, height, MILD_WARNING)
            self.text(left + full + 10, line, bar.said, _TEXT, bar.ink)


def _facts(overview: Overview) -> str:
    found, dataset = overview.statistics, overview.dataset
    facts = in_short(dataset).removeprefix(f"{dataset.name}: ")
    epoch = f"  ·  an epoch shows {found.shown:,}" if dataset.samples else ""
    return _cut(facts + epoch, WIDTH - 2 * _MARGIN, 15)


def _draw_sizes(figure: Figure, canvas: _Canvas, found: Statistics) -> None:
    """Each size as a dot, the more pictures the larger, among the buckets."""
    canvas.title(_COLUMNS[0], _ROWS[0], "Sizes", "in pixels")
    left, top, side = _COLUMNS[0] + 48, _ROWS[0] + _HEAD + 26, 312
    axes = figure.add_axes((left / WIDTH, 1 - (top + side) / HEIGHT, (_PANEL - 48) / WIDTH, side / HEIGHT))
    sizes, buckets = Counter(fit.size for fit in found.fits), [bucket.size for bucket in found.buckets]
    low, high = _limits([*sizes, *buckets])
    widths = np.geomspace(low, high, 50)
    small = found.resolution**2 / widths
    axes.plot((low, high), (low, high), color=LINE, linewidth=1, zorder=1)
    areas = [40 * min(7.0, math.sqrt(count)) for count in sizes.values()]
    axes.scatter(
        *zip(*sizes, strict=True), s=areas, color=FILL, alpha=0.85, edgecolor="white", linewidth=0.8, zorder=3,
        label="pictures",
    )  # fmt: skip
    axes.scatter(
        *zip(*buckets, strict=True), s=46, marker="s", facecolor="none", edgecolor=INK, linewidth=1.3, zorder=4,
        label="buckets",
    )  # fmt: skip
    axes.fill_between(widths, low, small.clip(low, high), color=PALE_WARNING, linewidth=0, zorder=0.5, label="enlarged")
    _scale(axes, low, high)
    near = {"transform": axes.transAxes, "fontsize": 0.66 * _TEXT, "color": MUTED}
    axes.text(0.985, 0.02, "width", ha="right", va="bottom", **near)
    axes.text(0.02, 0.985, "height", ha="left", va="top", rotation=90, **near)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=_TEXT * 0.72,
        handletextpad=0.3, columnspacing=1.2, borderpad=0.2, markerscale=0.9, handlelength=1.4,
    )  # fmt: skip


def _limits(sizes: Sequence[Size]) -> tuple[float, float]:
    """Powers of two around all sides."""
    sides = [side for size in sizes for side in size]
    return 2.0 ** math.floor(math.log2(0.95 * min(sides))), 2.0 ** math.ceil(math.log2(1.05 * max(sides)))


def _scale(axes: Axes, low: float, high: float) -> None:
    """Both axes by powers of two, of which no more than seven are labelled."""
    ticks = [2.0**power for power in range(round(math.log2(low)), round(math.log2(high)) + 1)]
    style.tidy(axes)
    for axis, setter in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        setter("log", base=2)
        axis.set_major_locator(FixedLocator(ticks[:: math.ceil(len(ticks) / 7)]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter())
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.tick_params(labelsize=_TEXT * 0.72, color=LINE, labelcolor=GREY)
    axes.spines[["left", "bottom"]].set_color(LINE)


def _draw_shapes(canvas: _Canvas, found: Statistics) -> None:
    canvas.title(_COLUMNS[1], _ROWS[0], "Aspect ratios", "width : height")
    most = max(shape.count for shape in found.shapes)
    bars = [Bar(shape.name, shape.count / most, f"{shape.count:,}") for shape in found.shapes]
    canvas.bars(bars, Place(_COLUMNS[1], _ROWS[0] + _HEAD, _PANEL, labels=124))


def _draw_buckets(canvas: _Canvas, found: Statistics) -> float:
    """With those that are enlarged marked; gives where they end."""
    canvas.title(_COLUMNS[0], _ROWS[1], f"Buckets at {found.resolution}", "red: enlarged" if found.enlarged else "")
    shown = found.buckets[: _MOST_BUCKETS if len(found.buckets) <= _MOST_BUCKETS else _MOST_BUCKETS - 1]
    rest = [fit for bucket in found.buckets[len(shown) :] for fit in bucket.fits]
    counts = [(f"{bucket.size[0]} × {bucket.size[1]}", len(bucket.fits), bucket.enlarged) for bucket in shown]
    if rest:
        others = f"{len(found.buckets) - len(shown)} others"
        counts.append((others, len(rest), sum(fit.scale > 1 for fit in rest)))
    most = max(count for _, count, _ in counts)
    bars = [Bar(label, count / most, f"{count:,}", enlarged / most) for label, count, enlarged in counts]
    place = Place(_COLUMNS[0], _ROWS[1] + _HEAD, _PANEL, labels=124, row=26)
    canvas.bars(bars, place)
    return place.top + len(bars) * place.row


def _draw_advice(canvas: _Canvas, sentences: Sequence[str], top: float) -> None:
    """As many as there is room for."""
    canvas.title(_COLUMNS[0], top, "Worth a look", "" if sentences else "nothing stands out")
    left, y, line = _COLUMNS[0], top + _HEAD + 4, Lettering(_TEXT).line
    for place, sentence in enumerate(sentences):
        lines = Lettering(_TEXT).wrapped(sentence, 0.97 * (_PANEL - 14), most=3)
        more = len(sentences) - place
        if y + (len(lines) - (more == 1)) * line > _BOTTOM:
            canvas.text(left, y, f"… {more} more in the report", _TEXT, MUTED)
            return
        canvas.text(left, y, "•", _TEXT, MUTED)
        for each in lines:
            canvas.text(left + 14, y, each, _TEXT)
            y += line
        y += 4


def _draw_words(canvas: _Canvas, captions: Captions) -> None:
    what, counted = ("Tags", captions.tags) if captions.are_tags else ("Words", captions.words)
    note = f"in how many of {_number(captions.count, 'caption')}" if captions.count else "there are no captions"
    canvas.title(_COLUMNS[1], _ROWS[1], what, note)
    top = _ROWS[1] + _HEAD
    canvas.bars(_word_bars(counted, captions.count), Place(_COLUMNS[1], top, _PANEL, labels=180, row=26))


def _word_bars(counted: Mapping[str, int], of: int) -> list[Bar]:
    return [Bar(word, count / of, f"{count:,}") for word, count in list(counted.items())[:_MOST_WORDS]]


def _draw_coverage(canvas: _Canvas, found: Coverage) -> None:
    """Two columns of about the same height, each aspect with its values."""
    canvas.title(_COLUMNS[2], _ROWS[0], "What captions and tags tell", f"of {_number(found.total, 'picture')}")
    first, second = _halves(found.aspects)
    lacking = {feature for finding in found.findings for feature in finding.features}
    row = min(28.0, (_BOTTOM - _ROWS[0] - _HEAD) / max(_rows(first), _rows(second)))
    width = (WIDTH - _MARGIN - _COLUMNS[2] - 40) / 2
    for aspects, left in ((first, _COLUMNS[2]), (second, _COLUMNS[2] + width + 40)):
        y = _ROWS[0] + _HEAD + 4
        for each in aspects:
            _draw_aspect(canvas, each, lacking, Place(left, y, width, labels=152, said=38, row=row))
            y += row * _rows([each])


def _draw_aspect(canvas: _Canvas, found: AspectCoverage, lacking: Set[Feature], place: Place) -> None:
    line = place.top + 0.8 * place.row
    canvas.text(place.left, line, found.aspect.name.capitalize(), _TEXT, bold=True)
    if found.unsaid:
        note = f"not told: {len(found.unsaid):,}"
        canvas.text(place.left + place.width - place.said, line, note, 0.92 * _TEXT, MUTED, align="right")
    bars = [
        Bar(value.name, count / found.total, f"{count:,}", lacks=Feature(found.aspect.key, value.key) in lacking)
        for value, count in ((value, found.count(value)) for value in found.aspect.values)
    ]
    canvas.bars(bars, Place(place.left, place.top + 1.2 * place.row, place.width, place.labels, place.said, place.row))


def _rows(aspects: Sequence[AspectCoverage]) -> float:
    """How many rows they take, with their headings and the space between."""
    return sum(len(each.aspect.values) + 1.8 for each in aspects)


def _halves(aspects: Sequence[AspectCoverage]) -> tuple[Sequence[AspectCoverage], Sequence[AspectCoverage]]:
    """In order, cut where the longer part is shortest."""
    cut = min(range(len(aspects) + 1), key=lambda place: max(_rows(aspects[:place]), _rows(aspects[place:])))
    return aspects[:cut], aspects[cut:]


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _cut(text: str, width: float, size: float, bold: bool = False) -> str:
    """A little less than would fit: matplotlib sets letters a little wider than Pillow."""
    return Lettering(size, bold).cut(text, 0.97 * width)
