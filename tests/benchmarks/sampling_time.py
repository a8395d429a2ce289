"""What a scene costs beside plain sampling: figures of `make bench-sampling`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from isengard.sota.demo_base import people
from isengard.tests.benchmarks import scene_job
from isengard.tests.benchmarks.scene_job import Member
from isengard.tests.benchmarks.scene_layouts import Layout, Place

_BOXES = {  # left and top of regions of 128 x 128, by the canvas; "free": the regions leave some of it
    "2": ((256, 128), ((0, 0), (128, 0))),
    "4": ((256, 256), ((0, 0), (128, 0), (0, 128), (128, 128))),
    "2_free": ((256, 256), ((0, 0), (128, 128))),
    "4_free": ((384, 256), ((0, 0), (128, 0), (0, 128), (256, 128))),
}


def layouts() -> dict[str, Layout]:
    look = people.level(people.random_look(np.random.default_rng(3)))
    return {
        name: Layout(*canvas, tuple(Place(*corner, 128, 128, who, look) for who, corner in enumerate(corners)),
                     look.background)
        for name, (canvas, corners) in _BOXES.items()
    }  # fmt: skip


def measured(
    url: str, members: Sequence[Member], repetitions: int, tell: Callable[[str], None] = print
) -> dict[str, float]:
    """scene_time_N: the sampler's seconds for a scene of N over those for a plain picture of that size, medians of
    pictures that were drawn in turn. The first of each is not counted."""
    found = {}
    for name, layout in layouts().items():
        plain, scene = [], []
        for seed in range(repetitions + 1):
            plain.append(scene_job.drawn(url, scene_job.plain_graph(layout, seed))[1])
            scene.append(scene_job.drawn(url, scene_job.scene_graph(layout, members, seed))[1])
        found[f"scene_time_{name}"] = median(scene[1:]) / median(plain[1:])
        tell(f"scene of {name}: {median(scene[1:]):.2f} s, plain {median(plain[1:]):.2f} s")
    return found
