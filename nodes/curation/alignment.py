"""Whether one picture is another, or a part of it, in a different size, brightness or compression.

Both are laid over each other as well as a shift and a stretch each way allow (Lucas and Kanade, "An Iterative Image
Registration Technique", 1981; gain and offset of the brightness are found along with them), and then compared place by
place: what differs in one place only, such as a mouth, tells two pictures apart that are alike all over.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 128  # pixels of the pictures that are compared, whatever the aspect ratio
_COARSE_STEPS, _FINE_STEPS = 8, 5
_LARGEST_STRETCH = 1.3  # of one side, beyond which it is no slight crop
_LEAST_SHARED = 0.6  # of the second picture, that the first has to show
_PLAIN = 0.02  # deviation of the brightness, in 0..1, below which a picture has no tones to compare
_PATCH = 7  # pixels: what counts as a place
_EDGE = 3  # pixels at the border that are not compared


def differences(wholes: Tensor, parts: Tensor, windows: Tensor) -> Tensor:
    """How much each pair differs in the place where it differs most: N in 0..1, 1 where they cannot be aligned.

    wholes, parts: N,3,SIDE,SIDE float32 in 0..1, each picture stretched to a square. windows: N,4 (left, top, right,
    bottom in 0..1): where about in the first the second is.
    """
    warp = _initial(windows)
    for side, steps in ((SIDE // 2, _COARSE_STEPS), (SIDE, _FINE_STEPS)):
        warp = _refined(_grey(wholes, side), _grey(parts, side), warp, steps)
    seen, shared = _seen_through(wholes, warp)
    worst = _worst_place(_toned(seen, parts, shared), parts, shared)
    scale = warp[:, :2].abs()
    sane = (scale < _LARGEST_STRETCH).all(1) & (scale > 1 / _LARGEST_STRETCH).all(1)
    enough = shared.mean((1, 2, 3)) >= _LEAST_SHARED
    return torch.where(sane & enough & worst.isfinite(), worst, torch.ones_like(worst)).clamp(0, 1)


def _initial(windows: Tensor) -> Tensor:
    """N,4: stretch x, stretch y, shift x, shift y, from the second picture's coordinates (-1..1) to the first's."""
    left, top, right, bottom = windows.unbind(1)
    return torch.stack([right - left, bottom - top, left + right - 1, top + bottom - 1], 1)


def _grey(pictures: Tensor, side: int) -> Tensor:
    """N,1,side,side, without the finest detail, of which compression leaves little."""
    grey = functional.interpolate(pictures.mean(1, keepdim=True), size=(side, side), mode="area")
    return functional.avg_pool2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _refined(whole: Tensor, part: Tensor, warp: Tensor, steps: int) -> Tensor:
    """Gauss-Newton steps on the squared difference, with gain and offset of the brightness eliminated at each."""
    slopes = torch.cat(torch.gradient(whole, dim=(3, 2)), 1) * (whole.shape[-1] / 2)  # a unit is half a picture
    y, x = torch.meshgrid(*[_line(part.shape[-1])] * 2, indexing="ij")
    for _ in range(steps):
        seen, shared = _seen_through(torch.cat([whole, slopes], 1), warp)
        gain, error = _tone_error(seen[:, :1], part, shared)
        along_x, along_y = seen[:, 1] * shared[:, 0], seen[:, 2] * shared[:, 0]
        slope = gain[:, None, None, None] * torch.stack([along_x * x, along_y * y, along_x, along_y], 1)
        slope, error = slope.flatten(2), (error * shared).flatten(1)
        normal = slope @ slope.mT
        damping = 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-6)
        normal = normal + damping[:, None, None] * torch.eye(4)
        step = torch.linalg.solve(normal, (slope @ error[..., None]))[..., 0]
        warp = warp + step.clamp(-0.1, 0.1)
    return warp


def _seen_through(pictures: Tensor, warp: Tensor) -> tuple[Tensor, Tensor]:
    """N,C,H,W: the first pictures where the second ones are, and N,1,H,W: 1 where they have pixels there."""
    y, x = torch.meshgrid(*[_line(pictures.shape[-1])] * 2, indexing="ij")
    stretch_x, stretch_y, shift_x, shift_y = warp[:, :, None, None].unbind(1)
    grid = torch.stack([x * stretch_x + shift_x, y * stretch_y + shift_y], -1)
    shared = (grid.abs() <= 1).all(-1)[:, None].float()
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False), shared


def _line(side: int) -> Tensor:
    """The middles of the pixels of a line from -1 to 1."""
    return (torch.arange(side) * 2 + 1) / side - 1


def _tone_error(seen: Tensor, part: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """The gain that fits best, N, and what is left: part - (gain * seen + offset), N,1,H,W."""
    weight = shared / shared.sum((2, 3), keepdim=True).clamp_min(1)
    mean_seen, mean_part = ((each * weight).sum((2, 3), keepdim=True) for each in (seen, part))
    centred_seen, centred_part = seen - mean_seen, part - mean_part
    variance = (centred_seen.square() * weight).sum((2, 3), keepdim=True)
    gain = (centred_seen * centred_part * weight).sum((2, 3), keepdim=True) / variance.clamp_min(1e-6)
    return gain.flatten(), centred_part - gain * centred_seen


def _toned(seen: Tensor, part: Tensor, shared: Tensor) -> Tensor:
    """`seen` as bright as `part`, by the parabola that fits best, which is near enough to a gamma: one for all
    channels, or any plain colour would fit any other. Plain pictures stay as they are."""
    flat, goal = seen.flatten(1), part.flatten(1)
    weight = shared.expand_as(seen).flatten(1)
    powers = torch.stack([torch.ones_like(flat), flat, flat.square()], 1)
    weighted = powers * weight[:, None]
    ridge = torch.tensor([1e-6, 1.0, 1.0])  # towards the tone as it is, where a dull picture leaves it open
    normal = weighted @ powers.mT + 1e-3 * torch.diag(ridge) * weight.sum(1).clamp_min(1)[:, None, None]
    wanted = weighted @ (goal - flat)[..., None]
    change = (powers * torch.linalg.solve(normal, wanted)).sum(1)
    is_plain = torch.minimum(flat.std(1), goal.std(1)) < _PLAIN
    return (flat + torch.where(is_plain[:, None], 0.0, change)).reshape(seen.shape)


def _worst_place(seen: Tensor, part: Tensor, shared: Tensor) -> Tensor:
    """The difference of the mean colours of a patch, where and in which channel it is largest, N: what lies a pixel
    beside its place, or was lost in compression, is another in single pixels and not in their mean."""
    difference = ((part - seen) * shared)[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
    return functional.avg_pool2d(difference, _PATCH, 1).abs().amax((1, 2, 3))
