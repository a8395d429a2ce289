"""Charts of a training run, drawn with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ...trainers.run import Run

_DPI = 100


def loss_chart(run: Run, width: int = 900, height: int = 520) -> Image.Image:
    """Loss by step (faint) with its running mean (bold), and the learning rate below. Size in pixels."""
    steps = [entry.step for entry in run.metrics]
    losses = [entry.loss for entry in run.metrics]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    loss_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))

    marker = "o" if len(steps) == 1 else ""
    loss_axes.plot(steps, losses, color="#9db7e8", linewidth=1, marker=marker, label="each step")
    loss_axes.plot(steps, smoothed(losses), color="#1f4fa8", linewidth=2, label="running mean")
    prior = [entry.prior_loss for entry in run.metrics if entry.prior_loss is not None]
    if prior:
        loss_axes.plot(steps, smoothed(prior), color="#b5651d", linewidth=2, label="prior loss, running mean")
    measured = [(entry.step, entry.validation_loss) for entry in run.metrics if entry.validation_loss is not None]
    if measured:
        loss_axes.plot(*zip(*measured, strict=True), color="#2f9e62", linewidth=2, marker="o", label="validation")
    loss_axes.set_title(
        f"{run.name}: {run.prediction} loss, {len(steps)} steps, rank {run.config.adapter.rank}", loc="left"
    )
    loss_axes.set_ylabel("loss")
    loss_axes.legend(frameon=False)
    rate_axes.plot(steps, [entry.learning_rate for entry in run.metrics], color="#5f6368", marker=marker)
    rate_axes.set_ylabel("learning rate")
    rate_axes.set_xlabel("step")
    rate_axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axes in (loss_axes, rate_axes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return _rendered(figure)


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential running mean over about a fiftieth of the steps, without the pull to its first value (Adam's
    bias correction, arXiv 1412.6980, section 3)."""
    keep = 1 - 1 / max(1.0, len(losses) / 50)
    mean, weight, out = 0.0, 0.0, []
    for loss in losses:
        mean = keep * mean + (1 - keep) * loss
        weight = keep * weight + (1 - keep)
        out.append(mean / weight)
    return out


def _rendered(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.fromarray(np.asarray(Image.open(buffer).convert("RGB")))
