"""How well a LoRA learns a character, as numbers: `make bench-likeness`.

Trains held-out identities of the demo base through the graph on a real ComfyUI, with our trainer and with ComfyUI's own
TrainLoraNode, and measures likeness, adherence, diversity and bleed (figures.py). ComfyUI's own first gets the best of
several learning rates, on a character that is not among those measured. Writes build/bench/likeness.json and contact
sheets. What was trained for a character is kept in build/bench/likeness/, so that a run that was stopped goes on with
the next one; all that is compared in seconds was timed one after the other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.sota.demo_base import drawing, make, people  # noqa: E402
from isengard.tests.benchmarks import figures, likeness_job, probe, prompts  # noqa: E402
from isengard.tests.benchmarks.likeness_job import Trained  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402

OUT = ROOT / "build" / "bench"
DEVELOPMENT = (4, 5, 14)  # places in held_out.yaml: settings were chosen on these; the benchmark leaves them out
ORDER = (0, 10, 1, 11, 2, 12, 3, 13, 6, 15, 7, 16, 8, 17, 9, 18, 19)  # new head shapes and known ones in turn
OURS, CORE_STEPS, CORE_SECONDS = "ours", "core_equal_steps", "core_equal_seconds"
WHAT_IS_ASKED = ("tests/benchmarks/likeness_job.py", "tests/benchmarks/prompts.py")
SOURCES = ("nodes/**/*.py", "trainers/*.py", "sota/**/*.py", "sota/**/*.safetensors", *WHAT_IS_ASKED)
CORE_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
ACCURACY_PROMPTS = 40
ROUNDTRIP_PICTURES = 40


def bench(options: argparse.Namespace, tell: Callable[[str], None] = print) -> dict[str, float | str]:
    """Every figure, by its name in likeness.json."""
    identities = [people.held_out()[index] for index in ORDER[: options.identities]]
    with Server(checkpoints=()) as server:
        base = likeness_job.trained(server.url, {}, ["base", 0])
        found = {"comfyui": server.comfyui.version}
        tell(figures.HEADER)
        if options.core:
            found |= core_rates(server, base, options.steps, options.core_learning_rates, tell)
        rows: dict[str, list[figures.Measured]] = {OURS: [], CORE_STEPS: [], CORE_SECONDS: []}
        for identity in identities:
            trained = train_all(server, identity, options.steps, options.learning_rate, found.get("core_learning_rate"))
            sheet(identity, base, trained)
            for name, each in trained.items():
                rows[name].append(figures.measure(each, base, identity))
                tell(figures.line(likeness_job.slug(identity) if name == OURS else f"  {name}", rows[name][-1]))
        found |= figures.summary(rows[OURS], figures.adherence(base.pictures))
        if options.core:
            found |= figures.beside_core(rows[OURS], rows[CORE_STEPS], rows[CORE_SECONDS])
        found |= {"vae_psnr_db": autoencoder_psnr(server)} | base_accuracy(server.url)
    return found | {
        "train_steps": options.steps,
        "learning_rate": options.learning_rate,
        "identities": len(identities),
    }


def core_rates(
    server: Server, base: Trained, steps: int, rates: Sequence[float], tell: Callable[[str], None]
) -> dict[str, float]:
    """The learning rate at which ComfyUI's own trainer gets a development character most alike, and what each got."""
    identity = people.held_out()[DEVELOPMENT[0]]
    likeness = {}
    for rate in rates:
        file = kept_file(server, identity, "core", steps, rate)
        (trained,) = once(file, lambda rate=rate: {"core": core(server, identity, steps, rate)}).values()
        measured = figures.measure(trained, base, identity)
        tell(figures.line(f"{likeness_job.slug(identity)} core {rate:g}", measured))
        likeness[rate] = measured.likeness.value
    best = max(likeness, key=likeness.__getitem__)
    return {"core_learning_rate": best} | {f"core_likeness_at_{rate:g}": value for rate, value in likeness.items()}


def train_all(
    server: Server, identity: people.Identity, steps: int, learning_rate: float, core_rate: float | None
) -> dict[str, Trained]:
    """A character's LoRAs: ours and, where a rate is given, those of ComfyUI's own trainer, right after it."""

    def train() -> dict[str, Trained]:
        graph = likeness_job.training_graph(folder(server, identity, OURS), steps, learning_rate, seed=0)
        trained = {OURS: likeness_job.trained(server.url, graph, ["train", 1])}
        if core_rate is not None:
            trained[CORE_STEPS] = core(server, identity, steps, core_rate)
            as_long = max(1, round(steps * trained[OURS].seconds / trained[CORE_STEPS].seconds))
            trained[CORE_SECONDS] = core(server, identity, as_long, core_rate)
        return trained

    return once(kept_file(server, identity, steps, learning_rate, core_rate), train)


def core(server: Server, identity: people.Identity, steps: int, learning_rate: float) -> Trained:
    """What ComfyUI's own trainer makes of a character."""
    place = folder(server, identity, f"core_{steps}_{learning_rate:g}")
    info = likeness_job.object_info(server.url)  # asked now, since it names the folders
    graph = likeness_job.core_training_graph(info, place, steps, learning_rate, seed=0)
    return likeness_job.trained(server.url, graph, ["trained", 0])


def folder(server: Server, identity: people.Identity, name: str) -> str:
    """A data set of its own for each training, below input/: else ComfyUI would take pictures that were encoded for
    another, and the seconds would fall short."""
    place = f"likeness_{likeness_job.slug(identity)}_{name}"
    likeness_job.write_dataset(server.base / "input" / place, identity)
    return place


def kept_file(server: Server, identity: people.Identity, *settings) -> Path:
    """Where pictures are kept: the name tells everything apart that decides them, our sources included."""
    digest = hashlib.sha256()
    for source in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(source.read_bytes())
    digest.update(repr([settings, server.comfyui.version, torch.__version__]).encode())
    return OUT / "likeness" / f"{likeness_job.slug(identity)}-{digest.hexdigest()[:12]}.npz"


def once(file: Path, train: Callable[[], dict[str, Trained]]) -> dict[str, Trained]:
    """What was trained, from disk where it was done before."""
    if not file.exists():
        arrays = {f"{name}/{part}": value for name, each in train().items() for part, value in vars(each).items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"partial-{file.name}")
        np.savez_compressed(partial, **arrays)
        partial.replace(file)
    with np.load(file) as saved:
        names = dict.fromkeys(key.rpartition("/")[0] for key in saved)
        return {
            name: Trained(saved[f"{name}/pictures"], saved[f"{name}/bare"], float(saved[f"{name}/seconds"]))
            for name in names
        }


def base_accuracy(url: str, count: int = ACCURACY_PROMPTS) -> dict[str, float]:
    """Share of hair, skin, background and direction that the base draws as asked, for held-out combinations."""
    generator = np.random.default_rng(11)
    who = [person for person in people.held_out() if person.head not in people.unseen_heads() and person.hair]
    asked = [(who[n % len(who)], people.level(people.random_look(generator))) for n in range(count)]
    texts = [people.caption(prompts.NOUN, look, identity) for identity, look in asked]
    drawn = likeness_job.sampled(url, texts)
    truth = [drawing.pixels(identity, look) for identity, look in asked]
    save_rows([truth[:10], list(drawn[:10, 0])], OUT / "likeness" / "base.png")
    right = [
        probe.right(picture, identity, look)
        for (identity, look), row in zip(asked, drawn, strict=True)
        for picture in row
    ]
    shares = {f"{name}_accuracy": float(np.mean([each[name] for each in right])) for name in right[0]}
    mean, worst = float(np.mean(list(shares.values()))), min(shares.values())
    return {"attribute_accuracy": mean, "attribute_accuracy_worst": worst} | shares


def autoencoder_psnr(server: Server) -> float:
    """dB, over pictures of held-out people."""
    originals = make.held_out_pictures()[:ROUNDTRIP_PICTURES]
    again = likeness_job.roundtrip(server.url, server.base, originals)
    error = np.square(originals.astype(float) / 255 - again.astype(float) / 255).mean()
    return float(-10 * np.log10(error))


def sheet(identity: people.Identity, base: Trained, trained: dict[str, Trained]) -> None:
    """Rows: the base, each LoRA, the real character, for the same prompts; then other people, without and with ours."""
    rows = [base.pictures, *(each.pictures for each in trained.values())]
    below = [base.bare[:, 0], trained[OURS].bare[:, 0]]
    save_rows(
        [*(row[:, 0] for row in rows), prompts.real_pictures(identity), *below],
        OUT / "likeness" / f"{likeness_job.slug(identity)}.png",
    )


def save_rows(rows: Sequence[Sequence[np.ndarray]], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(file)


def write(found: dict[str, float | str], file: Path) -> None:
    """As one flat JSON object, with the machine it was measured on."""
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"} | versions
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(found | machine, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, choices=range(1, len(ORDER) + 1), default=8, metavar="N")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument(
        "--no-core", dest="core", action="store_false", help="leave ComfyUI's own trainer out (likeness_ours.json)"
    )
    parser.add_argument("--core-learning-rates", type=float, nargs="+", default=CORE_RATES, metavar="RATE")
    return parser


def main() -> None:
    options = parser().parse_args()
    found = bench(options)
    write(found, OUT / ("likeness.json" if options.core else "likeness_ours.json"))
    for name, value in found.items():
        print(f"{name:36} {value:.3f}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
