"""The scores of a grid's LoRAs as a chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from PIL import Image

from .. import lettering, style
from .choosing import TERMS, Choice, Entry
from .records import Candidate

_COLOURS = (style.BLUE, style.BROWN, style.GREEN, style.GREY, style.MILD_WARNING, style.PALE_BLUE)
_LONGEST_LABEL = 18


def draw(choice: Choice, title: str, width: int = 1100, height: int = 820) -> Image.Image:
    """The total by checkpoint, a line for each strength, and below it the same of every term. Size in pixels."""
    terms = [name for name in TERMS if any(name in entry.terms for entry in choice.entries)]
    figure = style.figure(width, height)
    layout = figure.subplot_mosaic([["total"] * len(terms), terms], height_ratios=(3, 2))
    places = _places([entry.column.candidate for entry in choice.entries])
    for name, axes in layout.items():
        _draw_lines(axes, choice, places, _total if name == "total" else lambda entry, name=name: entry.terms.get(name))
        axes.set_title(name if name == "total" else f"{name} × {getattr(choice.weights, name):g}", loc="left")
        _label(axes, places, few=name != "total")
    said = lettering.clean(f"{title}: the best is {choice.best.column.label}")
    heading = figure.suptitle(said, x=0.01, ha="left", fontweight="bold", family=lettering.families([said]))
    heading.set_parse_math(False)
    if len({entry.column.strength for entry in choice.entries}) > 1:
        layout["total"].legend(frameon=False, title="strength")
    return style.rendered(figure)


def _total(entry: Entry) -> float:
    return entry.total


def _places(candidates: Sequence[Candidate]) -> dict[Candidate, float]:
    """On the axis: at their steps where all have one and none has the same, else side by side."""
    distinct = list(dict.fromkeys(candidates))
    steps = [candidate.step for candidate in distinct]
    if None not in steps and len(set(steps)) == len(steps):
        return dict(sorted(zip(distinct, map(float, steps), strict=True), key=lambda place: place[1]))
    return {candidate: float(place) for place, candidate in enumerate(sorted(distinct, key=lambda each: each.label))}


def _are_steps(places: dict[Candidate, float]) -> bool:
    return all(candidate.step == place for candidate, place in places.items())


def _draw_lines(
    axes: Axes, choice: Choice, places: dict[Candidate, float], score: Callable[[Entry], float | None]
) -> None:
    """The chosen one has a ring around it."""
    strengths = sorted({entry.column.strength for entry in choice.entries})
    line = "-" if _are_steps(places) else ""  # nothing leads from one file to the next
    for strength, colour in zip(strengths, _COLOURS * len(strengths), strict=False):
        entries = [entry for entry in choice.entries if entry.column.strength == strength and score(entry) is not None]
        points = sorted((places[entry.column.candidate], score(entry)) for entry in entries)
        across, up = [point[0] for point in points], [point[1] for point in points]
        axes.plot(across, up, color=colour, marker="o", linestyle=line, label=f"{strength:g}")
    best = score(choice.best)
    if best is not None:
        axes.plot(
            [places[choice.best.column.candidate]], [best], "o", markersize=15, markerfacecolor="none",
            markeredgecolor=style.INK, markeredgewidth=1.5,
        )  # fmt: skip
    style.tidy(axes)


def _label(axes: Axes, places: dict[Candidate, float], few: bool) -> None:
    if _are_steps(places):
        axes.set_xlabel("" if few else "step")
        axes.locator_params(axis="x", nbins=4 if few else 12, integer=True)
        return
    labels = [candidate.label for candidate in places]
    shown = [label if len(label) <= _LONGEST_LABEL else f"{label[:_LONGEST_LABEL]}…" for label in labels]
    axes.set_xticks(list(places.values()), [""] * len(labels) if few else shown)
    for text in axes.get_xticklabels():
        text.set_family(lettering.families([text.get_text()]))
        text.set_parse_math(False)
    if not few and len(labels) > 6:
        axes.tick_params(axis="x", rotation=30)
