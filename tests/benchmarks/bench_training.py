"""How fast, how light and how well this trainer trains, beside ComfyUI's own: `make bench-training`.

Both train in the same server, in turns, on the same base, pictures, batch and rank. Prints a table and writes
build/bench/training.json: where a figure's name ends in _demo it is the demo base's, otherwise the worst of all cases.
Ratios are ours over theirs, medians of several repetitions. Let it have the machine for itself: PyTorch's threads spin
while they wait for each other, and one busy program more makes either trainer several times slower.
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
import threading
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.sota.demo_base import drawing, people  # noqa: E402
from isengard.tests import graph  # noqa: E402
from isengard.tests.benchmarks import likeness_job, prompts, training_job  # noqa: E402
from isengard.tests.benchmarks.training_job import CASES, LEARNING, Case  # noqa: E402
from isengard.tests.comfyui.installation import checkpoint, installation  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402
from isengard.tests.graph import forget_runs  # noqa: E402
from isengard.workflows.client import NodeFailed  # noqa: E402

OUT = ROOT / "build" / "bench" / "training.json"
STEPS = {"demo base": 24, "SD 1.5 shape": 6}  # of a timed run
LEARNING_STEPS, LEARNING_SEEDS = 300, 5
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)  # both trainers get their best on a person who is not measured
MEASURED, SWEPT = 4, 14  # places of those people in held_out.yaml
SETUP_PICTURES = 200
POLL_SECONDS = 0.01


def main() -> None:
    options = parser().parse_args()
    found: dict[str, float | str] = {}
    with Server() as server:
        found |= likeness_job.system(server.url) | speed(server, options.repetitions)
        write(found)  # and after each part, since all of them take more than an hour
        if options.learning:
            found |= learning(server)
            write(found)
    found |= memory(options.repetitions)
    write(found)
    found |= in_process(options.repetitions)
    write(found)
    for name, value in found.items():
        print(f"{name:36} {value:.3g}" if isinstance(value, float) else f"{name:36} {value}")


def data_set(server: Server, case: Case) -> str:
    """The folder below input/ with a person's pictures, as large as they are trained: core does not resize them."""
    folder = f"bench_training_{case.resolution}"
    likeness_job.write_dataset(server.base / "input" / folder, people.held_out()[MEASURED], case.resolution)
    return folder


def speed(server: Server, repetitions: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Ratios of seconds a step: to core at its defaults, and at whatever settings make it fastest.

    Core trains every matrix, norm and bias, ours the layers of the base's preset, and recomputes what that says.
    """
    info, default, fastest = likeness_job.object_info(server.url), {}, {}
    for case in CASES:
        rows = [seconds_a_step(server, info, case, repetition) for repetition in range(repetitions)]
        ours, core, *others = (statistics.median(column) for column in zip(*rows, strict=True))
        default[case], fastest[case] = ours / core, ours / min(core, *others)
        tell(f"{case.name:24} {ours:.3f} s a step, core {core:.3f} s, at its fastest {min(core, *others):.3f} s")
    return worst("step_vs_core_default", default) | worst("step_vs_core_fastest", fastest)


def seconds_a_step(server: Server, info: dict, case: Case, repetition: int) -> tuple[float, ...]:
    """Ours, core's at its defaults, and core's at each other setting, one after the other: medians over the steps.
    Infinite where core cannot train with a setting."""
    folder, steps = data_set(server, case), STEPS[case.name.partition(",")[0]]
    seed = 1000 + repetition  # of its own, or ComfyUI gives the last result
    ours = median_step(server.url, training_job.our_graph(case, folder, steps, seed))
    core = median_step(server.url, training_job.core_graph(info, case, folder, steps, seed))
    others = []
    for settings in training_job.core_variants(info):
        try:
            others.append(median_step(server.url, training_job.core_graph(info, case, folder, steps, seed, **settings)))
        except NodeFailed:
            others.append(float("inf"))
    return ours, core, *others


def median_step(url: str, prompt: dict) -> float:
    return statistics.median(training_job.steps_of(url, prompt)[1:])


def worst(name: str, ratios: dict[Case, float]) -> dict[str, float]:
    """The largest of all cases, and of the demo base's."""
    return {name: max(ratios.values()), f"{name}_demo": max(ratios[case] for case in ratios if case.is_demo)}


def learning(server: Server, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Of several seeds, how many end with a lower held-out loss than core's after equal steps, and equal seconds; core
    with the settings of the likeness benchmark, and each trainer at its best learning rate."""
    ours, core = (best_rate(server, trainer, tell) for trainer in (train_ours, train_core))
    files: dict[str, str] = {}
    for seed in range(LEARNING_SEEDS):
        files[f"ours {seed}"], our_clock = train_ours(server, MEASURED, LEARNING_STEPS, seed, ours)
        files[f"steps {seed}"], clock = train_core(server, MEASURED, LEARNING_STEPS, seed, core)
        for_training = our_clock.seconds["train"] - clock.seconds["encoded"]
        as_long = max(1, round(LEARNING_STEPS * for_training / clock.seconds["train"]))
        files[f"seconds {seed}"], _ = train_core(server, MEASURED, as_long, seed, core)
    losses = held_out_losses(MEASURED, files)
    for name, loss in losses.items():
        tell(f"held-out loss of {name:12} {loss:.4f}")
    seeds = range(LEARNING_SEEDS)
    wins = {
        f"heldout_wins_{kind}": float(sum(losses[f"ours {seed}"] < losses[f"{kind} {seed}"] for seed in seeds))
        for kind in ("steps", "seconds")
    }
    return wins | {"learning_rate": ours, "core_learning_rate": core}


def best_rate(server: Server, trainer: Callable, tell: Callable[[str], None]) -> float:
    """The learning rate with the lowest held-out loss of a person who is not measured."""
    files = {str(rate): trainer(server, SWEPT, LEARNING_STEPS, 0, rate)[0] for rate in RATES}
    losses = held_out_losses(SWEPT, files)
    for rate, loss in losses.items():
        tell(f"held-out loss at {rate:8} {loss:.4f} ({trainer.__name__})")
    return float(min(files, key=losses.__getitem__))


def train_ours(server: Server, person: int, steps: int, seed: int, rate: float) -> tuple[str, likeness_job.Clock]:
    """The file and how long its nodes took, encoding included."""
    forget_runs(server, encoded=True)
    return _trained(server, training_job.our_graph(LEARNING, _person(server, person, "ours"), steps, seed, rate))


def train_core(server: Server, person: int, steps: int, seed: int, rate: float) -> tuple[str, likeness_job.Clock]:
    """The same of core's."""
    place = _person(server, person, f"core_{steps}_{seed}_{rate:g}")
    info = likeness_job.object_info(server.url)  # asked now, since it names the folders
    settings = likeness_job.CORE_SETTINGS
    return _trained(server, training_job.core_graph(info, LEARNING, place, steps, seed, rate, **settings))


def _person(server: Server, person: int, role: str) -> str:
    """A data set of its own for each training, or ComfyUI would take pictures that were encoded for another."""
    place = f"bench_learning_{person}_{role}"
    likeness_job.write_dataset(server.base / "input" / place, people.held_out()[person])
    return place


def held_out_losses(person: int, files: dict[str, str]) -> dict[str, float]:
    """Of each LoRA file, and of the base without one."""
    with tempfile.TemporaryDirectory() as folder:
        _write_held_out(Path(folder), people.held_out()[person])
        return worker("held_out", folder=folder, files=files, resolution=LEARNING.resolution)


def memory(repetitions: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """The ratio of peak memory over the loaded model, each training in a server of its own: what one has used, the next
    does not ask for again."""
    ratios = {}
    for case in CASES:
        peaks = [[_peak(case, ours) for ours in (True, False)] for _ in range(repetitions)]
        ours, core = (statistics.median(column) for column in zip(*peaks, strict=True))
        ratios[case] = ours / core
        tell(f"{case.name:24} {ours / 2**20:.0f} MiB over the loaded model, core {core / 2**20:.0f} MiB")
    return {"peak_memory_vs_core_default": max(ratios.values())}


def in_process(repetitions: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """The step against its floor, the extra copy of the base, and the set-up with a full cache."""
    floors, copies = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            pictures = Path(temporary) / case.name
            likeness_job.write_dataset(pictures, people.held_out()[MEASURED], case.resolution)
            asked = {"checkpoint": _file(case), "folder": str(pictures), "batch_size": case.batch_size,
                     "resolution": case.resolution, "targets": case.preset.adapter.targets}  # fmt: skip
            steps = STEPS[case.name.partition(",")[0]]
            rows = [worker("floor", steps=steps, **asked) for _ in range(repetitions)]
            floors[case] = statistics.median(row["ours"] / row["floor"] for row in rows)
            copies[case] = worker("base_copy", **asked)["share"]
            tell(f"{case.name:24} step / floor {floors[case]:.3f}, copy of the base {copies[case]:.3f}")
        many = Path(temporary) / "many"
        _write_many(many)
        rows = [
            worker("setup", folder=str(many), cache=str(Path(temporary) / f"cache{n}"), resolution=128)
            for n in range(repetitions)
        ]
    return {
        "step_vs_floor": max(floors.values()),
        "base_copy_share": max(copies.values()),
        "warm_vs_cold_setup": statistics.median(row["warm"] / row["cold"] for row in rows),
    }


def worker(what: str, **options) -> dict[str, float]:
    """A measurement in a process of ComfyUI's own Python."""
    comfyui = installation()
    command = [comfyui.python, str(Path(__file__).with_name("training_worker.py")), str(comfyui.path), what]
    done = subprocess.run([*command, json.dumps(options)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def write(found: dict[str, float | str]) -> None:
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    partial = OUT.with_suffix(".partial")
    partial.write_text(json.dumps(found | machine, indent=2) + "\n", encoding="utf-8")
    partial.replace(OUT)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--no-learning", dest="learning", action="store_false", help="leave the held-out losses out")
    return parser


def _trained(server: Server, prompt: dict) -> tuple[str, likeness_job.Clock]:
    """The LoRA file that a training leaves, and how long its nodes took."""
    clock = likeness_job.Clock({"train": 0.0, "encoded": 0.0})
    graph.run(server, prompt, clock)
    places = (server.base / "output", server.base / "models" / "loras")
    files = [file for place in places for file in place.rglob("*.safetensors")]
    return str(max(files, key=lambda file: file.stat().st_mtime_ns)), clock


def _peak(case: Case, ours: bool) -> int:
    """Bytes by which the server's resident memory grows, at its highest, from the loaded model to the end."""
    with Server() as server:
        folder = data_set(server, case)
        graph.run(server, training_job.base_graph(case) | training_job.sampling_graph(case))
        process = psutil.Process(server.pid)
        before, steps = process.memory_info().rss, STEPS[case.name.partition(",")[0]]
        if ours:
            prompt = training_job.our_graph(case, folder, steps, seed=0)
        else:
            prompt = training_job.core_graph(likeness_job.object_info(server.url), case, folder, steps, seed=0)
        with Peak(process) as peak:
            graph.run(server, prompt)
        return peak.bytes - before


class Peak:
    """The highest resident memory of a process while this is open."""

    def __init__(self, process: psutil.Process):
        self.bytes, self._process, self._over = 0, process, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def _file(case: Case) -> str | None:
    return None if case.is_demo else str(checkpoint(case.checkpoint.removesuffix(".safetensors"), installation()))


def _write_held_out(folder: Path, person: people.Identity) -> None:
    """In the looks of the likeness benchmark's prompts."""
    for number, (look, caption) in enumerate(zip(prompts.looks()[1], prompts.with_trigger(), strict=True)):
        _write_picture(folder / f"{number:03}.png", drawing.pixels(person, look), caption)


def _write_many(folder: Path) -> None:
    """So many different pictures and captions."""
    folder.mkdir()
    generator, who = np.random.default_rng(0), people.held_out()
    for number in range(SETUP_PICTURES):
        person, look = who[number % len(who)], people.random_look(generator)
        caption = people.caption(f"number {number}", look, person)
        _write_picture(folder / f"{number:03}.png", drawing.pixels(person, look), caption)


def _write_picture(file: Path, pixels: np.ndarray, caption: str) -> None:
    Image.fromarray(pixels).save(file)
    file.with_suffix(".txt").write_text(caption, encoding="utf-8")


if __name__ == "__main__":
    main()
