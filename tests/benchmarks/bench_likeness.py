"""How well a LoRA learns a character, as numbers: `make bench-likeness`.

Trains held-out identities of the demo base through the graph on a real ComfyUI, with our trainer and with ComfyUI's own
TrainLoraNode, and measures likeness, adherence, diversity and bleed (figures.py). ComfyUI's own first gets the best of
several learning rates, on characters that are not among those measured. Writes build/bench/likeness.json and contact
sheets. What was trained for a character is kept in build/bench/likeness/, so that a run that was stopped goes on with
the next one; all that is compared in seconds was timed one after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import platform
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.sota.demo_base import drawing, make, people  # noqa: E402
from isengard.tests.benchmarks import figures, likeness_job, probe, prompts  # noqa: E402
from isengard.tests.benchmarks.likeness_job import Trained  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402
from isengard.tests.graph import forget_runs  # noqa: E402

OUT = ROOT / "build" / "bench"
DEVELOPMENT = (0, 4, 5, 14)  # places in held_out.yaml: settings were chosen on these; 0 is Mira, the sample character
SWEPT = (4, 14)  # of them, those on which ComfyUI's own trainer gets its learning rate
OURS, CORE_STEPS, CORE_SECONDS = "ours", "core_equal_steps", "core_equal_seconds"
WHAT_IS_ASKED = ("tests/benchmarks/likeness_job.py", "tests/benchmarks/prompts.py")
SOURCES = ("nodes/**/*.py", "trainers/*.py", "sota/**/*.py", "sota/**/*.safetensors", *WHAT_IS_ASKED)
CORE_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
ACCURACY_PROMPTS = 40
ROUNDTRIP_PICTURES = 40
SPREAD_SEEDS = 8  # of the base, to see how much its pictures differ by themselves


def measured_people() -> list[people.Identity]:
    """The held-out people on whom nothing was chosen: new head shapes and known ones in turn."""
    everyone = [person for place, person in enumerate(people.held_out()) if place not in DEVELOPMENT]
    new = [person for person in everyone if person.head in people.unseen_heads()]
    known = [person for person in everyone if person not in new]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(new, known))
    return [person for person in in_turn if person is not None]


class Bench:
    """A server, what its base draws, and where trainings are kept."""

    def __init__(self, server: Server, sources: str):
        self.server, self.url = server, server.url
        self.system = likeness_job.system(server.url)
        self._sources = sources
        self.base = likeness_job.trained(server.url, {}, ["base", 0])
        self.spread = figures.spread(likeness_job.sampled(server.url, figures.bare_prompts(), SPREAD_SEEDS))

    def measure(self, trained: Trained, identity: people.Identity) -> figures.Measured:
        return figures.measure(trained, self.base, self.spread, identity)

    def kept(self, identity: people.Identity, *settings) -> Path:
        """Where pictures are kept: the name tells everything apart that decides them, our sources included."""
        digest = _digest([self._sources, repr((settings, self.system))])
        return OUT / "likeness" / f"{likeness_job.slug(identity)}-{digest[:12]}.npz"

    def folder(self, identity: people.Identity, role: str) -> str:
        """A data set of its own for each training, below input/: else ComfyUI would take pictures that were encoded
        for another, or a whole training, and the seconds would fall short."""
        place = f"likeness_{likeness_job.slug(identity)}_{role}"
        likeness_job.write_dataset(self.server.base / "input" / place, identity)
        return place

    def train_ours(self, identity: people.Identity, steps: int, learning_rate: float) -> Trained:
        forget_runs(self.server, encoded=True)
        graph = likeness_job.training_graph(self.folder(identity, OURS), steps, learning_rate, seed=0)
        return likeness_job.trained(self.url, graph, ["train", 1])

    def train_core(self, identity: people.Identity, role: str, steps: int, learning_rate: float) -> Trained:
        """What ComfyUI's own trainer makes of a character."""
        place = self.folder(identity, role)
        info = likeness_job.object_info(self.url)  # asked now, since it names the folders
        graph = likeness_job.core_training_graph(info, place, steps, learning_rate, seed=0)
        return likeness_job.trained(self.url, graph, ["trained", 0])


def sources() -> str:
    """A hash of every file of ours that decides what is trained and drawn; asked before the server reads them."""
    return _digest(path.read_bytes() for pattern in SOURCES for path in sorted(ROOT.glob(pattern)))


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
    return digest.hexdigest()


def bench(run: Bench, options: argparse.Namespace, tell: Callable[[str], None] = print) -> dict[str, float | str]:
    """Every figure, by its name in likeness.json."""
    identities = measured_people()[: options.identities]
    tell(figures.HEADER)
    rates = core_rates(run, options.steps, options.core_learning_rates, tell) if options.core else {}
    rate = best(rates) if rates else None
    rows: dict[str, list[figures.Measured]] = {OURS: [], CORE_STEPS: [], CORE_SECONDS: []}
    for identity in identities:
        trained = train_all(run, identity, options.steps, options.learning_rate, rate)
        sheet(identity, run.base, trained)
        for name, each in trained.items():
            rows[name].append(run.measure(each, identity))
            tell(figures.line(likeness_job.slug(identity) if name == OURS else f"  {name}", rows[name][-1]))
    accuracy, picture = base_accuracy(run.url)
    save(picture, OUT / "likeness" / "base.png")
    of_base = accuracy | {"vae_psnr_db": autoencoder_psnr(run.server)}
    return report(rows, figures.adherence(run.base.pictures), rates, options, of_base) | run.system


def report(
    rows: dict[str, list[figures.Measured]],
    base_adherence: float,
    core_rates: dict[float, float],
    options: argparse.Namespace,
    of_base: dict[str, float],
) -> dict[str, float]:
    """The figures of likeness.json. core_rates: ComfyUI's own trainer's likeness by learning rate, empty without it."""
    found = figures.summary(rows[OURS], base_adherence)
    if core_rates:
        found |= figures.beside_core(rows[OURS], rows[CORE_STEPS], rows[CORE_SECONDS])
        found["core_learning_rate"] = best(core_rates)
        found |= {f"core_likeness_at_{rate:g}": likeness for rate, likeness in core_rates.items()}
    settings = {"train_steps": options.steps, "learning_rate": options.learning_rate, "identities": len(rows[OURS])}
    return found | settings | of_base


def best(core_rates: dict[float, float]) -> float:
    return max(core_rates, key=core_rates.__getitem__)


def core_rates(run: Bench, steps: int, rates: Sequence[float], tell: Callable[[str], None]) -> dict[float, float]:
    """Mean likeness on development characters that ComfyUI's own trainer gets at each learning rate."""
    found = {}
    for rate in rates:
        likeness = []
        for identity in (people.held_out()[place] for place in SWEPT):
            file = run.kept(identity, "core", steps, rate)
            role = f"core_{rate:g}"
            (trained,) = once(file, lambda who=identity, role=role, rate=rate: {
                "core": run.train_core(who, role, steps, rate)
            }).values()  # fmt: skip
            measured = run.measure(trained, identity)
            tell(figures.line(f"{likeness_job.slug(identity)} {role}", measured))
            likeness.append(measured.likeness.value)
        found[rate] = float(np.mean(likeness))
    return found


def train_all(
    run: Bench, identity: people.Identity, steps: int, learning_rate: float, core_rate: float | None
) -> dict[str, Trained]:
    """A character's LoRAs: ours and, where a rate is given, those of ComfyUI's own trainer, right after it."""

    def train() -> dict[str, Trained]:
        ours = run.train_ours(identity, steps, learning_rate)
        if core_rate is None:
            return {OURS: ours}
        core = run.train_core(identity, CORE_STEPS, steps, core_rate)
        seconds_a_step = (core.seconds - core.encoding) / steps
        as_long = max(1, round((ours.seconds - core.encoding) / seconds_a_step))
        return {OURS: ours, CORE_STEPS: core, CORE_SECONDS: run.train_core(identity, CORE_SECONDS, as_long, core_rate)}

    return once(run.kept(identity, steps, learning_rate, core_rate), train)


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
        return {name: _trained({key: saved[f"{name}/{key}"] for key in _KEPT}) for name in names}


_KEPT = [field.name for field in dataclasses.fields(Trained)]


def _trained(values: dict[str, np.ndarray]) -> Trained:
    return Trained(**{name: value if value.ndim else float(value) for name, value in values.items()})


def base_accuracy(url: str, count: int = ACCURACY_PROMPTS) -> tuple[dict[str, float], np.ndarray]:
    """Share of hair, skin, background and direction that the base draws as asked, for held-out combinations; and ten
    of them as a picture, what was asked for above."""
    generator = np.random.default_rng(11)
    who = [person for person in people.held_out() if person.head not in people.unseen_heads() and person.hair]
    asked = [(who[n % len(who)], people.level(people.random_look(generator))) for n in range(count)]
    texts = [people.caption(prompts.NOUN, look, identity) for identity, look in asked]
    drawn = likeness_job.sampled(url, texts)
    truth = [drawing.pixels(identity, look) for identity, look in asked]
    right = [
        probe.right(picture, identity, look)
        for (identity, look), row in zip(asked, drawn, strict=True)
        for picture in row
    ]
    shares = {f"{name}_accuracy": float(np.mean([each[name] for each in right])) for name in right[0]}
    mean, worst = float(np.mean(list(shares.values()))), min(shares.values())
    found = {"attribute_accuracy": mean, "attribute_accuracy_worst": worst} | shares
    return found, rows_of([truth[:10], list(drawn[:10, 0])])


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
    picture = rows_of([*(row[:, 0] for row in rows), prompts.real_pictures(identity), *below])
    save(picture, OUT / "likeness" / f"{likeness_job.slug(identity)}.png")


def rows_of(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    return np.concatenate([np.concatenate(list(row), 1) for row in rows])


def save(picture: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def write(found: dict[str, float | str], file: Path) -> None:
    """As one flat JSON object, with the machine it was measured on."""
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(found | machine, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, choices=range(1, len(measured_people()) + 1), default=8, metavar="N")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument(
        "--no-core", dest="core", action="store_false", help="leave ComfyUI's own trainer out (likeness_ours.json)"
    )
    parser.add_argument("--core-learning-rates", type=float, nargs="+", default=CORE_RATES, metavar="RATE")
    return parser


def main() -> None:
    options = parser().parse_args()
    before = sources()
    with Server(checkpoints=()) as server:
        found = bench(Bench(server, before), options)
    write(found, OUT / ("likeness.json" if options.core else "likeness_ours.json"))
    for name, value in found.items():
        print(f"{name:36} {value:.3f}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
