"""How well a LoRA learns a character, as numbers: `make bench-likeness`.

Trains held-out identities of the demo base through the graph on a real ComfyUI, with our trainer and with ComfyUI's own
TrainLoraNode, and measures likeness, adherence, diversity and bleed (likeness.py, probe.py). Writes
build/bench/likeness.json and contact sheets; what was measured already is kept in build/bench/likeness/, so that a run
that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.sota.demo_base import checkpoint_file, make, people  # noqa: E402
from isengard.tests.benchmarks import likeness, likeness_job, probe  # noqa: E402
from isengard.tests.benchmarks.embedding import embed  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402

OUT = ROOT / "build" / "bench"
ORDER = (0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16, 7, 17, 8, 18, 9, 19)  # new head shapes and known ones in turn
ACCURACY_PROMPTS = 40
ROUNDTRIP_PICTURES = 40


@dataclass(frozen=True)
class Job:
    """One training to measure. trainer: "ours", or "core" for ComfyUI's own."""

    trainer: str
    identity: people.Identity
    steps: int
    learning_rate: float
    seed: int = 0

    @property
    def key(self) -> str:
        """Tells jobs, and weights of the base, apart."""
        weights = checkpoint_file.WEIGHTS.stat()
        text = json.dumps([dataclasses.astuple(self), weights.st_size, int(weights.st_mtime), likeness_job.SAMPLER])
        return f"{self.trainer}-{likeness_job.slug(self.identity)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Measured:
    """The figures of one trained character; see likeness.py and probe.py."""

    likeness: likeness.Likeness
    identity: float
    adherence: float
    diversity: float
    bleed: float
    seconds: float


def run_job(server: Server, job: Job) -> likeness_job.Trained:
    """The job's pictures: from disk where it was done before."""
    kept = OUT / "likeness" / f"{job.key}.npz"
    if not kept.exists():
        folder = f"likeness_{likeness_job.slug(job.identity)}"
        likeness_job.write_dataset(server.base / "input" / folder, job.identity)
        settings = (folder, job.steps, job.learning_rate, job.seed)
        if job.trainer == "ours":
            graph, model = likeness_job.training_graph(*settings), ["train", 1]
        else:
            info = likeness_job.object_info(server.url)  # asked now, since it names the folders
            graph, model = likeness_job.core_training_graph(info, *settings), ["trained", 0]
        trained = likeness_job.trained(server.url, graph, model)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, **dataclasses.asdict(trained))
    with np.load(kept) as saved:
        return likeness_job.Trained(saved["pictures"], saved["bare"], float(saved["seconds"]))


def measure(trained: likeness_job.Trained, base: likeness_job.Trained, identity: people.Identity) -> Measured:
    real = likeness_job.real_pictures(identity)
    generated, before, truth = _embedded(trained.pictures), _embedded(base.pictures), embed(real)
    return Measured(
        likeness=likeness.likeness(generated, before, truth),
        identity=colours(trained.pictures, identity),
        adherence=adherence(trained.pictures),
        diversity=likeness.diversity(generated, truth),
        bleed=likeness.bleed(_embedded(trained.bare), _embedded(base.bare)),
        seconds=trained.seconds,
    )


def adherence(pictures: np.ndarray) -> float:
    """Share of the prompts' words, background and direction, that the pictures P,S,H,W,3 show."""
    prompted = likeness_job.looks()[1]
    right = [
        [found.background == look.background, found.facing == look.facing]
        for row, look in zip(pictures, prompted, strict=True)
        for found in map(probe.attributes, row)
    ]
    return float(np.mean(right))


def colours(pictures: np.ndarray, identity: people.Identity) -> float:
    """Share of the pictures' hair and skin colours that are the character's: the embedding hardly sees colour."""
    right = []
    for picture in pictures.reshape(-1, *pictures.shape[2:]):
        found = probe.attributes(picture)
        right.append(found.skin == identity.skin)
        if identity.hair:
            right.append(found.hair == identity.hair)
    return float(np.mean(right))


def _embedded(pictures: np.ndarray) -> np.ndarray:
    """P,S,H,W,3 -> P,S,1280."""
    prompts, seeds = pictures.shape[:2]
    return embed(list(pictures.reshape(-1, *pictures.shape[2:]))).reshape(prompts, seeds, -1)


def base_accuracy(url: str) -> float:
    """Share of hair, skin, background and direction that the base draws as asked, for held-out combinations."""
    generator = np.random.default_rng(11)
    who = [person for person in people.held_out() if person.head not in people.unseen_heads() and person.hair]
    asked = [(who[n % len(who)], people.level(people.random_look(generator))) for n in range(ACCURACY_PROMPTS)]
    texts = [people.caption(likeness_job.NOUN, look, identity) for identity, look in asked]
    drawn = likeness_job.sampled(url, texts)
    right = [
        list(probe.right(picture, identity, look).values())
        for (identity, look), row in zip(asked, drawn, strict=True)
        for picture in row
    ]
    return float(np.mean(right))


def autoencoder_psnr(server: Server) -> float:
    """dB, over pictures of held-out people."""
    originals = make.held_out_pictures()[:ROUNDTRIP_PICTURES]
    again = likeness_job.roundtrip(server.url, server.base, originals)
    error = np.square(originals.astype(float) / 255 - again.astype(float) / 255).mean()
    return float(-10 * np.log10(error))


def sheet(identity: people.Identity, base: likeness_job.Trained, trained: likeness_job.Trained, file: Path) -> None:
    """Three rows: the base, the LoRA, the real character, for the same prompts."""
    rows = [base.pictures[:, 0], trained.pictures[:, 0], likeness_job.real_pictures(identity)]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(file)


def bench(options: argparse.Namespace, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Every figure, by its name in likeness.json."""
    identities = [people.held_out()[index] for index in ORDER[: options.identities]]
    rows, lead_steps, lead_seconds = [], [], []
    with Server(checkpoints=()) as server:
        base = likeness_job.trained(server.url, {}, ["base", 0])
        tell(f"{'identity':24} likeness  95 % interval   colours  adherence  diversity  bleed  seconds")
        for identity in identities:
            trained = run_job(server, Job("ours", identity, options.steps, options.learning_rate))
            ours = measure(trained, base, identity)
            rows.append(ours)
            sheet(identity, base, trained, OUT / "likeness" / f"{likeness_job.slug(identity)}.png")
            tell(_line(likeness_job.slug(identity), ours))
            if options.core:
                for steps, leads in _core_runs(server, identity, options, trained.seconds, lead_steps, lead_seconds):
                    job = Job("core", identity, steps, options.core_learning_rate)
                    theirs = measure(run_job(server, job), base, identity)
                    leads.append(ours.likeness.value - theirs.likeness.value)
                    tell(_line(f"  core, {steps} steps", theirs))
        figures = summary(rows, adherence(base.pictures)) | {
            "train_steps": options.steps,
            "identities": len(identities),
            "vae_psnr_db": autoencoder_psnr(server),
            "attribute_accuracy": base_accuracy(server.url),
        }
    if options.core:
        figures["likeness_minus_core_equal_steps"] = float(np.mean(lead_steps))
        figures["likeness_minus_core_equal_seconds"] = float(np.mean(lead_seconds))
    return figures


def _core_runs(server, identity, options, seconds, lead_steps, lead_seconds):
    """ComfyUI's own trainer for as many steps, and for as many steps as it makes in our seconds."""
    probe_run = run_job(server, Job("core", identity, options.core_probe_steps, options.core_learning_rate))
    within = max(1, round(seconds / (probe_run.seconds / options.core_probe_steps)))
    yield options.steps, lead_steps
    yield within, lead_seconds


def summary(rows: list[Measured], base_adherence: float) -> dict[str, float]:
    values = [row.likeness.value for row in rows]
    return {
        "likeness_mean": float(np.mean(values)),
        "likeness_worst": float(np.min(values)),
        "colours_right": float(np.mean([row.identity for row in rows])),
        "adherence_vs_base": float(np.mean([row.adherence for row in rows])) / base_adherence,
        "diversity_vs_real": float(np.mean([row.diversity for row in rows])),
        "bleed": float(np.mean([row.bleed for row in rows])),
    }


def _line(name: str, row: Measured) -> str:
    span = f"{row.likeness.low:.2f} … {row.likeness.high:.2f}"
    shares = f"{row.identity:7.2f}  {row.adherence:9.2f}  {row.diversity:9.2f}  {row.bleed:5.2f}"
    return f"{name:24} {row.likeness.value:8.2f}  {span:14}  {shares}  {row.seconds:7.0f}"


def write(figures: dict[str, float], file: Path) -> None:
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures | machine, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--no-core", dest="core", action="store_false", help="leave ComfyUI's own trainer out")
    parser.add_argument("--core-learning-rate", type=float, default=1e-3)
    parser.add_argument("--core-probe-steps", type=int, default=40, help="to learn how long a step of core's takes")
    options = parser.parse_args()
    figures = bench(options)
    write(figures, OUT / "likeness.json")
    for name, value in figures.items():
        print(f"{name:36} {value:.3f}")


if __name__ == "__main__":
    main()
