"""Charts of a training run, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ...trainers.run import Run
from .. import style


def loss_chart(run: Run, width: int = 900, height: int = 520) -> Image.Image:
    """Loss by step (faint) with its running mean (bold), and the learning rate below. Size in pixels."""
    steps = [entry.step for entry in run.metrics]
    losses = [entry.loss for entry in run.metrics]
    figure = style.figure(width, height)
    loss_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))

    marker = "o" if len(steps) == 1 else ""
    loss_axes.plot(steps, losses, color=style.PALE_BLUE, linewidth=1, marker=marker, label="each step")
    loss_axes.plot(steps, smoothed(losses), color=style.BLUE, linewidth=2, label="running mean")
    prior = [entry.prior_loss for entry in run.metrics if entry.prior_loss is not None]
    if prior:
        loss_axes.plot(steps, smoothed(prior), color=style.BROWN, linewidth=2, label="prior loss, running mean")
    measured = [(entry.step, entry.validation_loss) for entry in run.metrics if entry.validation_loss is not None]
    if measured:
        loss_axes.plot(*zip(*measured, strict=True), color=style.GREEN, linewidth=2, marker="o", label="validation")
    loss_axes.set_title(
        f"{run.name}: {run.prediction} loss, {len(steps)} steps, rank {run.config.adapter.rank}", loc="left"
    )
    loss_axes.set_ylabel("loss")
    loss_axes.legend(frameon=False)
    rate_axes.plot(steps, [entry.learning_rate for entry in run.metrics], color=style.GREY, marker=marker)
    rate_axes.set_ylabel("learning rate")
    rate_axes.set_xlabel("step")
    rate_axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axes in (loss_axes, rate_axes):
        style.tidy(axes)
    return style.rendered(figure)


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
