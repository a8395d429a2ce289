"""How what we draw looks: the colours of sheets and charts, and figures of matplotlib."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

BACKGROUND, INK, MUTED, LINE, PALE = "#ffffff", "#1c1c1e", "#6b6b70", "#d9d9de", "#f1f1f4"
BLUE, PALE_BLUE, BROWN, GREEN, GREY = "#1f4fa8", "#9db7e8", "#b5651d", "#2f9e62", "#5f6368"
FILL, TRACK = "#4f7ac6", "#f4f4f6"  # of bars, and of what they could reach
WARNING, MILD_WARNING, PALE_WARNING = "#b3261e", "#dd7f73", "#fcebe9"

DPI = 100


def figure(width: int, height: int, layout: str | None = "constrained") -> Figure:
    """An empty figure of this size in pixels."""
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout=layout)


def tidy(axes: Axes) -> None:
    """A faint grid, and no frame but the two axes."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def rendered(figure: Figure) -> Image.Image:
    """The figure as a picture, RGB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.fromarray(np.asarray(Image.open(buffer).convert("RGB")))
