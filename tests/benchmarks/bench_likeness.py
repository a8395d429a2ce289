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

from isengard.sota.demo_base import checkpoint_file, drawing, make, people  # noqa: E402
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

    def file(self, server: Server) -> Path:
        """Where its pictures are kept: the name tells everything apart that decides them, our sources included."""
        sources = [*sorted((ROOT / "trainers").glob("*.py")), ROOT / "tests" / "benchmarks" / "likeness_job.py"]
        digest = hashlib.sha256()
        for source in [*sources, checkpoint_file.WEIGHTS]:
            digest.update(source.read_bytes())
        digest.update(repr([self, likeness_job.looks(), server.comfyui.version, torch.__version__]).encode())
        return OUT / "likeness" / f"{self.trainer}-{likeness_job.slug(self.identity)}-{digest.hexdigest()[:12]}.npz"


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
    kept = job.file(server)
    if not kept.exists():
        # a folder of its own, or ComfyUI would take the encoded pictures of the job before and its seconds fall short
        folder = f"likeness_{job.trainer}_{job.steps}_{likeness_job.slug(job.identity)}"
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


def base_accuracy(url: str) -> dict[str, float]:
    """Share of hair, skin, background and direction that the base draws as asked, for held-out combinations."""
    generator = np.random.default_rng(11)
    who = [person for person in people.held_out() if person.head not in people.unseen_heads() and person.hair]
    asked = [(who[n % len(who)], people.level(people.random_look(generator))) for n in range(ACCURACY_PROMPTS)]
    texts = [people.caption(likeness_job.NOUN, look, identity) for identity, look in asked]
    drawn = likeness_job.sampled(url, texts)
    truth = [drawing.pixels(identity, look) for identity, look in asked]
    _save_rows([truth[:10], list(drawn[:10, 0])], OUT / "likeness" / "base.png")
    right = [
        probe.right(picture, identity, look)
        for (identity, look), row in zip(asked, drawn, strict=True)
        for picture in row
    ]
    shares = {f"{name}_accuracy": float(np.mean([each[name] for each in right])) for name in right[0]}
    return {"attribute_accuracy": float(np.mean(list(shares.values())))} | shares


def autoencoder_psnr(server: Server) -> float:
    """dB, over pictures of held-out people."""
    originals = make.held_out_pictures()[:ROUNDTRIP_PICTURES]
    again = likeness_job.roundtrip(server.url, server.base, originals)
    error = np.square(originals.astype(float) / 255 - again.astype(float) / 255).mean()
    return float(-10 * np.log10(error))


def sheet(identity: people.Identity, base: likeness_job.Trained, trained: likeness_job.Trained, file: Path) -> None:
    """Three rows: the base, the LoRA, the real character, for the same prompts."""
    _save_rows([base.pictures[:, 0], trained.pictures[:, 0], likeness_job.real_pictures(identity)], file)


def _save_rows(rows: list, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(file)


def bench(options: argparse.Namespace, tell: Callable[[str], None] = print) -> dict[str, float | str]:
    """Every figure, by its name in likeness.json."""
    identities = [people.held_out()[index] for index in ORDER[: options.identities]]
    ours, core_steps, core_seconds = [], [], []
    with Server(checkpoints=()) as server:
        base = likeness_job.trained(server.url, {}, ["base", 0])
        tell(f"{'identity':24} likeness  95 % interval   colours  adherence  diversity  bleed  seconds")
        for identity in identities:
            trained = run_job(server, Job("ours", identity, options.steps, options.learning_rate))
            ours.append(measure(trained, base, identity))
            sheet(identity, base, trained, OUT / "likeness" / f"{likeness_job.slug(identity)}.png")
            tell(_line(likeness_job.slug(identity), ours[-1]))
            if options.core:
                for rows, steps in ((core_steps, options.steps), (core_seconds, 0)):
                    steps = steps or round(options.steps * ours[-1].seconds / core_steps[-1].seconds)
                    job = Job("core", identity, max(1, steps), options.core_learning_rate)
                    rows.append(measure(run_job(server, job), base, identity))
                    tell(_line(f"  core, {job.steps} steps", rows[-1]))
        figures = summary(ours, adherence(base.pictures)) | {
            "train_steps": options.steps,
            "learning_rate": options.learning_rate,
            "identities": len(identities),
            "vae_psnr_db": autoencoder_psnr(server),
        }
        figures |= base_accuracy(server.url)
        figures["comfyui"] = server.comfyui.version
    if options.core:
        figures["core_learning_rate"] = options.core_learning_rate
        figures["likeness_minus_core_equal_steps"] = lead(ours, core_steps)
        figures["likeness_minus_core_equal_seconds"] = lead(ours, core_seconds)
        figures["core_seconds_share"] = float(
            np.sum([r.seconds for r in core_seconds]) / np.sum([r.seconds for r in ours])
        )
    return figures


def lead(ours: list[Measured], core: list[Measured]) -> float:
    """How far ours is ahead in likeness, on average over the same identities."""
    return float(np.mean([one.likeness.value - other.likeness.value for one, other in zip(ours, core, strict=True)]))


def summary(rows: list[Measured], base_adherence: float) -> dict[str, float]:
    values = [row.likeness.value for row in rows]
    return {
        "likeness_mean": float(np.mean(values)),
        "likeness_mean_low": float(np.mean([row.likeness.low for row in rows])),
        "likeness_mean_high": float(np.mean([row.likeness.high for row in rows])),
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


def write(figures: dict[str, float | str], file: Path) -> None:
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"} | versions
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures | machine, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--no-core", dest="core", action="store_false", help="leave ComfyUI's own trainer out")
    parser.add_argument("--core-learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    figures = bench(options)
    write(figures, OUT / "likeness.json")
    for name, value in figures.items():
        print(f"{name:36} {value:.3f}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
