"""Something of every picture of a data set, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..dataset.records import Dataset, Sample

Found = TypeVar("Found")
Progress = Callable[[int, int], None]  # told how many of how many pictures are done

_AT_ONCE = min(8, os.cpu_count() or 1)  # pictures that are decoded; each may take some hundred megabytes


def of_each(dataset: Dataset, find: Callable[[Sample], Found], progress: Progress = lambda done, of: None) -> list:
    """What `find` gives for each sample, in order."""
    found: list[Found] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(dataset.samples), 4 * _AT_ONCE):  # an interrupt waits for no more than these
            found += pool.map(find, dataset.samples[start : start + 4 * _AT_ONCE])
            progress(len(found), len(dataset.samples))
    return found
