"""Boxes from detector nodes, in whichever of their forms."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from ..dataset.records import Box

AUTO, CORNERS, SIZED = "auto", "x1, y1, x2, y2", "x, y, width, height"
FORMS = (AUTO, CORNERS, SIZED)
LARGEST, SUREST, ALL = "largest", "highest score", "all together"
CHOICES = (LARGEST, SUREST, ALL)

_CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
)
_SIZED_KEYS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_NAMED_FORMS = {"xyxy": CORNERS, "bbox_xyxy": CORNERS, "xywh": SIZED, "bbox_xywh": SIZED}
_ONE, _SEVERAL = ("bbox", "box", "bounding_box"), ("bboxes", "boxes", "detections")
_SCORES = ("score", "confidence", "conf", "det_score")
_OVERHANG = 0.1  # of a box's side; detectors extrapolate what the border cuts


class BoxError(ValueError):
    """Boxes that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Detection:
    """A box by its corners in pixels. score: how sure the detector is, where it says so. picture: width and height of
    what it looked at, where it says so."""

    left: float
    top: float
    right: float
    bottom: float
    score: float | None = None
    picture: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[float, float]:
        return self.right - self.left, self.bottom - self.top

    def __str__(self) -> str:
        return f"{self.left:g}, {self.top:g}, {self.right:g}, {self.bottom:g}"


def of_pictures(given: Sequence[Any] | None, count: int, form: str = AUTO) -> list[list[Detection]]:
    """What was detected in each of `count` pictures.

    given: what reaches a node that takes lists: a value for each picture, or one value that holds a list with an entry
    for each, or a single box for all. A value is a box or a list of them, None for no box; a box is four numbers (and a
    score, and a class), a mapping with names (x, y, width, height, as core's BOUNDING_BOX; x1, y1, x2, y2; left, top,
    right, bottom), an object with `bbox` (x1, y1, x2, y2: Impact Pack's SEG, insightface's Face), or JSON of these;
    SEGS, arrays and tensors are lists. form: what four numbers without names mean; AUTO: they are refused. Raises
    BoxError for anything else, and where the numbers do not go together.
    """
    if given is None:
        raise BoxError("no boxes are connected. Connect a detector's boxes, or find the subject in another way.")
    values = [_plain(value) for value in given]
    if count == 1:
        values = [values]
    elif len(values) == 1:
        values = _of_one(values[0], count)
    if len(values) != count:
        raise BoxError(
            f"there are {count} pictures and boxes for {len(values)}. Give the detector what Dataset to Images gives, "
            "so that there is a list of boxes for each picture."
        )
    return [list(_read(value, form)) for value in values]


def _of_one(value: Any, count: int) -> list[Any]:
    """The entries of a list; a single box as often as there are pictures."""
    if _is_segs(value) or (isinstance(value, Mapping) and any(key in value for key in _SEVERAL)):
        return [value]  # of one picture
    is_box = hasattr(value, "bbox") or isinstance(value, Mapping) or _is_numbers(value)
    return [value] * count if is_box or not isinstance(value, list | tuple) else list(value)


def chosen(found: Sequence[Detection], size: tuple[int, int], choice: str = LARGEST) -> Box | None:
    """The box of a picture's detections that counts, whole pixels, inside; None where there are none.

    size: width and height of what is shown. Raises BoxError for boxes that are empty, not finite, or not of this
    picture, and where the choice is by score and there is none.
    """
    inside = [_inside(each, size) for each in found]
    if not inside:
        return None
    if choice == ALL:
        lefts, tops, rights, bottoms = zip(
            *((each.left, each.top, each.right, each.bottom) for each in inside), strict=True
        )
        return _whole(Detection(min(lefts), min(tops), max(rights), max(bottoms)))
    if choice == SUREST and len(inside) > 1:
        if any(each.score is None for each in inside):
            raise BoxError("its boxes have no score. Take the largest, or all together.")
        return _whole(max(inside, key=lambda each: each.score))
    return _whole(max(inside, key=lambda each: math.prod(each.size)))


def _inside(found: Detection, size: tuple[int, int]) -> Detection:
    """Without what hangs over the border."""
    numbers = (found.left, found.top, found.right, found.bottom)
    if not all(map(math.isfinite, numbers)):
        raise BoxError(f"its box ({found}) is not finite. Look at what the detector gives.")
    if min(found.size) < 1:
        raise BoxError(
            f"its box ({found} as left, top, right, bottom) is empty or smaller than a pixel. Boxes are in pixels; if "
            f"the numbers are {SIZED}, say so."
        )
    width, height = size
    beyond = (-found.left, -found.top, found.right - width, found.bottom - height)
    slack = [_OVERHANG * side for side in found.size] * 2
    if found.picture not in (None, size) or any(far > most for far, most in zip(beyond, slack, strict=True)):
        of = "{} x {} pixels".format(*found.picture) if found.picture else "another size"
        raise BoxError(
            f"its box ({found}) is of a picture of {of}, and it is {width} x {height} pixels. Give the detector what "
            f"Dataset to Images gives, unscaled; if the numbers are {SIZED}, say so."
        )
    clipped = (max(0.0, found.left), max(0.0, found.top), min(width, found.right), min(height, found.bottom))
    return Detection(*clipped, found.score)


def _whole(found: Detection) -> Box:
    return Box(math.floor(found.left), math.floor(found.top), math.ceil(found.right), math.ceil(found.bottom))


def _read(value: Any, form: str) -> Iterable[Detection]:
    """Every box in a value, however deep."""
    value = _plain(value)
    if value is None:
        return
    if hasattr(value, "bbox"):  # before lists and mappings: SEG is a tuple, Face a dict
        yield from _of_object(value)
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, form)
    elif _is_segs(value):
        (height, width), segments = value
        for segment in segments:
            yield from (replace(each, picture=(int(width), int(height))) for each in _of_object(segment))
    elif isinstance(value, list | tuple) and _is_numbers(value):
        yield _of_numbers(value, form)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _read(each, form)
    else:
        raise _none(value)


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, JSON as what it says."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _none(value) from error
    return value


def _is_segs(value: Any) -> bool:
    """Impact Pack's SEGS: ((height, width), [SEG, …])."""
    if not (isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], list)):
        return False
    return _are_numbers(value[0], (2,)) and all(hasattr(segment, "bbox") for segment in value[1])


def _is_numbers(value: Any) -> bool:
    return _are_numbers(value, (4, 5, 6))


def _are_numbers(value: Any, counts: tuple[int, ...]) -> bool:
    if not isinstance(value, list | tuple) or len(value) not in counts:
        return False
    return all(isinstance(_number(each), Real) and not isinstance(each, bool) for each in value)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor | np.ndarray) and value.ndim == 0 else value


def _of_numbers(value: Sequence[Any], form: str, score: float | None = None) -> Detection:
    """Four numbers; a fifth is the score, a sixth the class (as YOLO's rows have them)."""
    if form == AUTO:
        raise BoxError(
            f"a box is {_shown(value)}, numbers without names. Say in box_format whether they are {CORNERS} or {SIZED}."
        )
    first, second, third, fourth, *more = (float(_number(each)) for each in value)
    third, fourth = (third, fourth) if form == CORNERS else (first + third, second + fourth)
    return Detection(first, second, third, fourth, more[0] if more else score)


def _of_object(value: Any) -> Iterable[Detection]:
    numbers = _plain(value.bbox)
    if not _are_numbers(numbers, (4,)):
        raise _none(numbers)
    score = next((found for name in _SCORES if (found := getattr(value, name, None)) is not None), None)
    yield _of_numbers(numbers, CORNERS, _as_score(score))


def _of_mapping(value: Mapping[str, Any], form: str) -> Iterable[Detection]:
    score = _as_score(next((value[name] for name in _SCORES if name in value), None))
    for keys, kind in [(keys, CORNERS) for keys in _CORNER_KEYS] + [(keys, SIZED) for keys in _SIZED_KEYS]:
        if all(key in value for key in keys):
            numbers = [_number(value[key]) for key in keys]
            if not _are_numbers(numbers, (4,)):
                raise _none(value)
            yield _of_numbers(numbers, kind, score)
            return
    for key in (*_NAMED_FORMS, *_ONE, *_SEVERAL):
        if key in value:
            for each in _read(value[key], _NAMED_FORMS.get(key, form)):
                yield replace(each, score=score) if each.score is None else each
            return
    raise _none(value)


def _as_score(value: Any) -> float | None:
    """The first of several: some nodes give a list of one."""
    value = _plain(value) if not isinstance(value, str) else None
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _none(value: Any) -> BoxError:
    return BoxError(
        f"{_shown(value)} is no box. Boxes are four numbers ({CORNERS} or {SIZED}), mappings with such names, SEGS, "
        "tensors or arrays of four columns, or JSON of these."
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}…" if len(text) > 60 else text
