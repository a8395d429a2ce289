"""Samples for the tests of the overview room, of plain pictures in memory."""

from __future__ import annotations

import torch

from isengard.nodes.dataset.records import Dataset, Origin, Sample


def sample(name: str = "a.png", size=(64, 48), captions=("mira, red",), colour=(1.0, 0.0, 0.0), **more) -> Sample:
    """A picture of one colour, width and height in pixels."""
    width, height = size
    image = torch.tensor(colour).expand(1, height, width, 3)
    return Sample(name, image, size, tuple(captions), Origin(name, name), **more)


def dataset(*samples: Sample, name: str = "hero") -> Dataset:
    return Dataset(name, samples)


def captioned(*captions: str) -> Dataset:
    """A picture for each caption, named 1, 2, …"""
    return dataset(*(sample(str(number), captions=[text]) for number, text in enumerate(captions, 1)))
