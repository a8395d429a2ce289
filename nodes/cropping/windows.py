"""What of a picture fills a bucket."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...trainers import buckets
from ..dataset.records import Box

BUCKETS, SQUARE = SHAPES = ("buckets", "square")  # as trainers.config.CROPS has them


class WindowError(ValueError):
    """A setting that no window can be cut by; the message says what to do."""


@dataclass(frozen=True)
class Window:
    """A part of a picture in the shape of a bucket. bucket: height and width, as trainers.buckets has them."""

    box: Box
    bucket: tuple[int, int]

    @property
    def enlargement(self) -> float:
        """How many times larger the bucket is."""
        width, height = self.box.size
        return max(self.bucket[0] / height, self.bucket[1] / width)


def bucket_sizes(shapes: str, resolution: int, step: int) -> list[tuple[int, int]]:
    """Height and width of the sizes that pictures are trained at. Raises WindowError for what training refuses."""
    for name, value in (("resolution", resolution), ("bucket_step", step)):
        if value % 8 or value < 8:
            nearest = max(8, round(value / 8) * 8)
            raise WindowError(f"{name} is {value}; it must be a multiple of 8. The nearest is {nearest}.")
    return [(resolution, resolution)] if shapes == SQUARE else buckets.bucket_sizes(resolution, step)


def best(size: tuple[int, int], subject: Box, sizes: Sequence[tuple[int, int]], limit: float) -> Window:
    """The largest window of the bucket that keeps most of the subject; of those, one that is enlarged no more than
    `limit` times if there is; of those, the one that loses least of the picture.

    size: width and height of the picture. subject: its box. It is in the middle where
    the picture's border allows it. Of one that is too tall, the upper end is subject.
    """
    return max(
        (_largest(size, subject, bucket) for bucket in sizes),
        key=lambda window: (_shared(window.box, subject), is_enough(window, limit), math.prod(window.box.size)),
    )


def is_enough(window: Window, limit: float) -> bool:
    """Whether it is enlarged no more than `limit` times."""
    return all(side >= least for side, least in zip(window.box.size, _least(window.bucket, limit), strict=True))


def grown(
    size: tuple[int, int], shown: Box, subject: Box, sizes: Sequence[tuple[int, int]], limit: float
) -> Window | None:
    """As `best` of a part of a picture, but reaching beyond it, as far as `limit` needs; None where the picture is too
    small. size: of the whole picture; shown, subject: boxes in it."""
    within = moved(subject, -shown.left, -shown.top)
    parts = [_largest(shown.size, within, bucket) for bucket in sizes]
    parts.sort(key=lambda window: (_shared(window.box, within), math.prod(window.box.size)), reverse=True)
    larger = (_around(size, moved(part.box, shown.left, shown.top), part.bucket, limit) for part in parts)
    return next((window for window in larger if window), None)


def centre(size: tuple[int, int]) -> Box:
    """The pixel in the middle; where there are two, the line between them."""
    width, height = size
    return Box(width // 2, height // 2, width - width // 2, height - height // 2)


def moved(box: Box, right: int, down: int) -> Box:
    """The same box so much further right and down."""
    return Box(box.left + right, box.top + down, box.right + right, box.bottom + down)


def holds(box: Box, inner: Box) -> bool:
    """Whether all of `inner` is in it."""
    return box.left <= inner.left and box.top <= inner.top and box.right >= inner.right and box.bottom >= inner.bottom


def _largest(size: tuple[int, int], subject: Box, bucket: tuple[int, int]) -> Window:
    """As wide or as high as the picture; the other side is what the bucket's shape makes it, rounded up."""
    (width, height), (rows, columns) = size, bucket
    if width * rows <= height * columns:
        part = width, -(-width * rows // columns)
    else:
        part = -(-height * columns // rows), height
    across = _start(width, part[0], (subject.left + subject.right - part[0]) // 2)
    too_tall = subject.bottom - subject.top > part[1]  # heads are at the top
    down = _start(height, part[1], subject.top if too_tall else (subject.top + subject.bottom - part[1]) // 2)
    return Window(Box(across, down, across + part[0], down + part[1]), bucket)


def _around(size: tuple[int, int], box: Box, bucket: tuple[int, int], limit: float) -> Window | None:
    """A box made large enough, about the same middle."""
    width, height = (max(pair) for pair in zip(box.size, _least(bucket, limit), strict=True))
    if width > size[0] or height > size[1]:
        return None
    left = _start(size[0], width, (box.left + box.right - width) // 2)
    top = _start(size[1], height, (box.top + box.bottom - height) // 2)
    return Window(Box(left, top, left + width, top + height), bucket)


def _least(bucket: tuple[int, int], limit: float) -> tuple[int, int]:
    """Width and height from which a bucket is filled without enlarging more than `limit` times."""
    rows, columns = (math.ceil(side / limit - 1e-9) for side in bucket)  # 1344 / 1.4 is a little above 960
    return columns, rows


def _start(length: int, part: int, wanted: int) -> int:
    return min(max(wanted, 0), length - part)


def _shared(one: Box, other: Box) -> int:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0, width) * max(0, height)
