"""A data set from and to what other nodes give and take: lists of pictures, captions and masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from . import images
from .records import Dataset, Mask, Origin, Sample


class ListError(ValueError):
    """Lists that do not go together; the message says what to do."""


def dataset_of(
    name: str, pictures: Iterable[Tensor], captions: Sequence[str] = (), masks: Iterable[Tensor] = ()
) -> Dataset:
    """Of pictures and masks as ComfyUI has them: B,H,W,C and B,H,W (or H,W) float32 in 0..1, each a batch.

    captions: one for each picture, or one for all, or none; the same for masks. A fourth channel of a picture is left
    out. Raises ListError where the numbers or sizes do not go together.
    """
    each = [picture[None, ..., :3] for batch in pictures for picture in batch]
    if not each:
        raise ListError("there are no pictures. Connect a node that gives some.")
    texts = _for_each(list(captions), len(each), "captions") or [""] * len(each)
    covers = _for_each(list(_single(masks)), len(each), "masks") or [None] * len(each)
    made = (_sample(name, *parts) for parts in zip(range(1, len(each) + 1), each, texts, covers, strict=True))
    return Dataset(name, tuple(made))


def lists_of(dataset: Dataset) -> tuple[list[Tensor], list[str], list[Tensor]]:
    """Pictures (1,H,W,3), first captions, and masks (1,H,W; all ones where there is none), float32 in 0..1."""
    masks = (images.read_mask(sample) for sample in dataset.samples)
    return (
        [images.read(sample) for sample in dataset.samples],
        [sample.caption for sample in dataset.samples],
        [
            torch.ones(1, *sample.size[::-1]) if mask is None else mask[None]
            for sample, mask in zip(dataset.samples, masks, strict=True)
        ],
    )


def _single(masks: Iterable[Tensor]) -> Iterator[Tensor]:
    for batch in masks:
        yield from batch if batch.dim() == 3 else [batch]


def _for_each(found: list, count: int, what: str) -> list:
    if len(found) not in (0, 1, count):
        raise ListError(
            f"there are {count} pictures and {len(found)} {what}. Give one for each picture, or one for all."
        )
    return found * count if len(found) == 1 else found


def _sample(name: str, number: int, picture: Tensor, caption: str, mask: Tensor | None) -> Sample:
    height, width = picture.shape[1:3]
    if mask is not None and tuple(mask.shape) != (height, width):
        raise ListError(
            f"picture {number} is {width} x {height} pixels and its mask {mask.shape[1]} x {mask.shape[0]}. Scale the "
            "mask, or leave it out."
        )
    return Sample(
        name=f"{name} {number:04}",
        image=picture,
        size=(width, height),
        captions=tuple(filter(None, [" ".join(caption.split())])),
        origin=Origin(f"picture {number} of {name}", _hash(picture)),
        mask=None if mask is None else Mask(mask, _hash(mask)),
    )


def _hash(values: Tensor) -> str:
    shape = "x".join(map(str, values.shape))
    return hashlib.sha256(shape.encode() + values.detach().cpu().contiguous().float().numpy().tobytes()).hexdigest()
