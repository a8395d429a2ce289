"""All that is known of a data set, gathered, and as a text."""

from __future__ import annotations

import statistics as numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..dataset.records import Dataset
from ..dataset.report import in_short
from . import advice, coverage, statistics
from .coverage import AspectCoverage, Coverage
from .statistics import Bucket, Captions, Statistics

_MOST_ROWS = 20  # of a table
_WIDEST = 60  # letters of a table's first column


@dataclass(frozen=True)
class Overview:
    """A data set and what is known of it."""

    dataset: Dataset
    statistics: Statistics
    coverage: Coverage

    @property
    def advice(self) -> tuple[str, ...]:
        return advice.of(self.statistics, self.coverage)


def gathered(dataset: Dataset, resolution: int, step: int) -> Overview:
    """resolution, step: of the buckets in pixels, as in Picture Settings."""
    return Overview(dataset, statistics.measured(dataset, resolution, step), coverage.measured(dataset))


def text(overview: Overview) -> str:
    """In Markdown that can be read as it is."""
    parts = [in_short(overview.dataset)]
    if overview.dataset.samples:
        found = overview.statistics
        parts += [
            "## Worth a look\n\n" + _bullets(overview.advice or ["Nothing stands out."]),
            "## Sizes\n\n" + _sizes(found),
            f"## Buckets at {found.resolution}\n\n" + _buckets(found),
            "## Captions\n\n" + _captions(found.captions),
            "## What the captions tell\n\n" + _coverage(overview.coverage),
        ]
    return "\n\n".join(parts)


def _sizes(found: Statistics) -> str:
    sizes = sorted((fit.size for fit in found.fits), key=lambda size: (size[0] * size[1], size))
    rows = [(shape.name, str(shape.count)) for shape in found.shapes if shape.count]
    marked = [("smallest", sizes[0]), ("median", sizes[len(sizes) // 2]), ("largest", sizes[-1])]
    said = ", ".join(f"{name} {size[0]} x {size[1]}" for name, size in marked)
    return f"In pixels: {said}.\n\n" + _table(("aspect ratio", "pictures"), rows)


def _buckets(found: Statistics) -> str:
    held_out = f" {found.held_out} held out." if found.held_out else ""
    weights = f" By their weights they count as {found.weighted:.1f}." if found.weighted != found.shown else ""
    epoch = f"An epoch shows {found.shown} pictures, repeats included.{weights}{held_out}"
    rows = [_bucket_row(bucket) for bucket in found.buckets]
    return f"{epoch}\n\n" + _table(("bucket", "pictures", "an epoch", "cut off", "enlarged"), rows)


def _bucket_row(bucket: Bucket) -> tuple[str, ...]:
    size = f"{bucket.size[0]} x {bucket.size[1]}"
    return size, str(len(bucket.fits)), str(bucket.shown), f"{bucket.lost:.0%}", str(bucket.enlarged)


def _captions(captions: Captions) -> str:
    if not captions.count:
        return "There are none."
    shortest, longest = min(captions.lengths), max(captions.lengths)
    facts = [
        f"Captions: {captions.count}, of {shortest} to {longest} words, median {numbers.median(captions.lengths):g}."
    ]
    if captions.in_all:
        facts.append(f"In every one: {', '.join(captions.in_all[:_MOST_ROWS])}.")
    counted, what = (captions.tags, "tag") if captions.are_tags else (captions.words, "word")
    return _bullets(facts) + "\n\n" + _frequencies(counted, what, captions.count)


def _frequencies(counted: Mapping[str, int], what: str, of: int) -> str:
    rows = [(_cell(text), str(count), f"{count / of:.0%}") for text, count in list(counted.items())[:_MOST_ROWS]]
    more = len(counted) - _MOST_ROWS
    return _table((what, "captions", "share"), rows) + (f"\n\n… and {more} more" if more > 0 else "")


def _coverage(found: Coverage) -> str:
    return _bullets(_aspect(each) for each in found.aspects)


def _aspect(found: AspectCoverage) -> str:
    counts = [(value.name, found.count(value)) for value in found.aspect.values]
    shown = [f"{name} {count}" for name, count in sorted(counts, key=lambda each: -each[1]) if count]
    none = [name for name, count in counts if not count]
    parts = [", ".join(shown), f"none: {', '.join(none)}" if shown and none else ""]
    parts.append(f"not told: {len(found.unsaid)}" if found.unsaid else "")
    return f"**{found.aspect.name}**: " + "; ".join(filter(None, parts))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join([":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(headings), f"|{rule}|", *map(line, rows)])


def _cell(text: str) -> str:
    """Short, and without what ends a cell of a table."""
    short = text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
    return short.replace("|", "\\|")


def _bullets(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
