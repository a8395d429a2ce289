"""How fast, light and exact the data-set nodes are: `make bench-data`.

Prints a table and writes build/bench/data.json. Times against ComfyUI's own node are of both in one server, in turns,
medians of several repetitions. What is to be found is planted: copies of pictures, faults of captions, blurred pictures
and other people among a character's; each share is of pictures that no limit was set by.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.tests import graph, pictures  # noqa: E402
from isengard.tests.benchmarks import data_planted, likeness_job  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402
from isengard.tests.graph import DEFAULTS, node  # noqa: E402

OUT = ROOT / "build" / "bench" / "data.json"
COMPARED, COMPARED_SIDE = 2000, 256  # pictures beside core's node, and their pixels: core keeps them all in memory
FEW, MANY, SIDE = 2000, 20000, 1024


def main() -> None:
    options = parser().parse_args()
    found: dict[str, float | str] = dict(data_planted.found(options.planted))
    write(found)
    with tempfile.TemporaryDirectory() as folder:
        found |= growth(Path(folder), options.many, options.repetitions)
    write(found)
    with Server() as server:
        found |= likeness_job.system(server.url) | against_core(server, options.repetitions)
    write(found)
    for name, value in found.items():
        print(f"{name:36} {value:.3g}" if isinstance(value, float) else f"{name:36} {value}")


def against_core(server: Server, repetitions: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """How many times faster pictures are deduplicated (ours are read for it, core's are in memory already), and loaded
    and deduplicated."""
    rows = []
    draw_scenes(server.base / "input" / "bench_data", COMPARED, COMPARED_SIDE)
    for repetition in range(repetitions):
        folder = f"bench_data_{repetition}"  # of its own, or ComfyUI gives the last result
        linked(server.base / "input" / "bench_data", server.base / "input" / folder, COMPARED)
        rows.append((seconds(server, our_graph(folder)), seconds(server, core_graph(folder))))
        tell(f"load and deduplicate {COMPARED} pictures: {rows[-1][0]} s, core {rows[-1][1]} s")
    alone = statistics.median(core["once"] / ours["once"] for ours, core in rows)
    with_loading = statistics.median(sum(core.values()) / sum(ours.values()) for ours, core in rows)
    tell(f"times faster: deduplication alone {alone:.1f}, with loading {with_loading:.1f}")
    return {"dedupe_vs_core": alone, "load_and_dedupe_vs_core": with_loading}


def our_graph(folder: str) -> dict:
    loading = DEFAULTS["IsengardLoadDataset"] | {"folder": folder}
    return {
        "load": node("IsengardLoadDataset", "load", **loading),
        "once": node(
            "IsengardDeduplicateDataset", "once", dataset=["load", 0], **DEFAULTS["IsengardDeduplicateDataset"]
        ),
        "end": node("PreviewAny", "end", source=["once", 0]),
    }


def core_graph(folder: str) -> dict:
    return {
        "load": node("LoadImageDataSetFromFolder", "load", folder=folder),
        "once": node("ImageDeduplication", "once", images=["load", 0], similarity_threshold=0.95),
        "end": node("PreviewAny", "end", source=["once", 0]),
    }


def seconds(server: Server, prompt: dict) -> dict[str, float]:
    clock = likeness_job.Clock({"load": 0.0, "once": 0.0})
    graph.run(server, prompt, clock)
    return clock.seconds


def growth(folder: Path, many: int, repetitions: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Time a picture of 1 MP at 20,000 against 2,000, and the memory that 20,000 take: loaded, deduplicated, and looked
    through for poor ones, each time in a process of its own."""
    few = max(2, many * FEW // MANY)
    draw_scenes(folder / "many", many, SIDE)
    linked(folder / "many", folder / "few", few)
    short = [curated(folder / "few") for _ in range(repetitions)]
    long = curated(folder / "many")
    each = statistics.median(found["seconds"] for found in short) / few
    tell(f"a picture of 1 MP takes {1000 * each:.1f} ms of {few}, {1000 * long['seconds'] / many:.1f} ms of {many}")
    peaks = (long["peak_mb"], short[0]["peak_mb"], long["bare_mb"])
    tell("memory: {:.0f} MB of {many}, {:.0f} MB of {few}, {:.0f} MB of none".format(*peaks, many=many, few=few))
    return {"growth_20k_vs_2k": long["seconds"] / many / each, "peak_mb_20k": long["peak_mb"]}


def curated(folder: Path) -> dict[str, float]:
    script = Path(__file__).with_name("data_worker.py")
    command = [sys.executable, str(script), str(folder), str(data_planted.SIMILARITY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"curating {folder.name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def draw_scenes(folder: Path, count: int, side: int) -> None:
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(draw_scene, [folder] * count, range(count), [side] * count, chunksize=50):
            pass


def draw_scene(folder: Path, number: int, side: int) -> None:
    pictures.saved(pictures.scene(number, (side, side)), folder / f"{number:05}.jpg", quality=88)


def linked(source: Path, target: Path, count: int) -> None:
    """The first so many files again, without a copy."""
    target.mkdir()
    for file in sorted(source.iterdir())[:count]:
        os.link(file, target / file.name)


def write(found: dict[str, float | str]) -> None:
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    partial = OUT.with_suffix(".partial")
    partial.write_text(json.dumps(found | machine, indent=2) + "\n", encoding="utf-8")
    partial.replace(OUT)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--many", type=int, default=MANY, help="pictures of the large data set; the small has a tenth")
    parser.add_argument("--planted", type=int, default=1200, help="pictures that copies are planted among")
    return parser


if __name__ == "__main__":
    main()
