"""How well characters are sampled and chosen, as numbers: `make bench-sampling`.

Trains held-out identities of the demo base through the graph on a real ComfyUI, with checkpoints, and measures: scenes
of two of them against both LoRAs stacked (whose picture each region is), and how long scenes take; grids against single
prompts; what Pick Best chooses against the best checkpoint by held-out likeness; and how well identities tell people
apart. Writes build/bench/sampling.json and contact sheets. LoRAs and judgements are kept in build/bench/sampling/: a
run that was stopped goes on with the next one. Delete that folder after the trainer was changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

if "isengard" not in sys.modules:  # run as a script: give the pack the name that the tests give it
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.tests import graph  # noqa: E402
from isengard.tests.benchmarks import (  # noqa: E402
    bench_likeness,
    identity_figures,
    likeness,
    likeness_job,
    pick_job,
    prompts,
    sampling_time,
    scene_figures,
    scene_job,
    scene_layouts,
)
from isengard.tests.benchmarks.embedding import embed  # noqa: E402
from isengard.tests.benchmarks.scene_job import Member  # noqa: E402
from isengard.tests.comfyui.server import Server  # noqa: E402

OUT = ROOT / "build" / "bench"
KEPT = OUT / "sampling"
TRIGGERS = ("zorvik", "brista", "quell", "ombar", "tessil", "varn", "lumet", "dakri")
PARTS = ("identity", "pick", "scene", "time", "grid")
GRID_REPETITIONS = 3


@dataclass(frozen=True)
class Trained:
    """A member with the LoRA of its last step, every checkpoint by step, and what was picked of them."""

    member: Member
    checkpoints: dict[int, Path]
    picked: pick_job.Picked


def bench(server: Server, options: argparse.Namespace, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Every figure of the parts that are asked for, by its name in sampling.json."""
    found: dict[str, float] = {}
    if "identity" in options.only:
        found |= identity_figures.measured()
        identity_figures.tell(found, tell)
    if set(options.only) == {"identity"}:
        return found
    trained = train_all(server, options, tell)
    members = [each.member for each in trained]
    scene_job.write_library(server.base, members)
    base = likeness_job.sampled(server.url, prompts.with_trigger())
    if "scene" in options.only:
        found |= scenes(server, members, scene_figures.scales(members, base), options.layouts, tell)
    if "time" in options.only:
        found |= sampling_time.measured(server.url, members, options.repetitions, tell)
    if "grid" in options.only:
        found |= grid_overhead(server, trained[0], tell)
    if "pick" in options.only:
        found |= regrets(server, trained, tell)
    return found


def train_all(server: Server, options: argparse.Namespace, tell: Callable[[str], None]) -> list[Trained]:
    """Of people on whom nothing was chosen."""
    pick_job.write_others(server.base / "input")
    who = bench_likeness.measured_people()[: options.identities]
    return [train(server, Member(each, trigger, KEPT / trigger / f"step_{options.steps:06}.safetensors"), options, tell)
            for each, trigger in zip(who, TRIGGERS, strict=False)]  # fmt: skip


def train(server: Server, member: Member, options: argparse.Namespace, tell: Callable[[str], None]) -> Trained:
    """Kept on disk."""
    folder, chosen = member.lora.parent, member.lora.parent / "picked.json"
    if not chosen.exists():
        likeness_job.write_dataset(server.base / "input" / member.trigger, member.identity, trigger=member.trigger)
        graph.forget_runs(server)
        prompt = pick_job.picking_graph(member.trigger, member.trigger, options.steps, options.learning_rate)
        picked = pick_job.picked(server, prompt)
        folder.mkdir(parents=True, exist_ok=True)
        for file in pick_job.checkpoints(server).values():
            shutil.copy(file, folder)
        chosen.write_text(json.dumps(vars(picked)), encoding="utf-8")
    files = {int(file.stem.split("_")[1]): file for file in sorted(folder.glob("step_*.safetensors"))}
    picked = pick_job.Picked(**json.loads(chosen.read_text(encoding="utf-8")))
    tell(f"{member.trigger}: picked step {picked.step} @ {picked.strength:g} of {', '.join(map(str, files))}")
    return Trained(member, files, picked)


def scenes(
    server: Server, members: Sequence[Member], scales: Sequence[scene_figures.Scale], count: int,
    tell: Callable[[str], None],
) -> dict[str, float]:  # fmt: skip
    """Scenes and stacked LoRAs of the same layouts, words and seeds; and how much a scene changes outside of them."""
    rows: dict[str, list[scene_figures.Judged]] = {"scene": [], "stacked": []}
    outside, seeds_apart, shown = [], [], []
    for number, layout in enumerate(scene_layouts.layouts(count, len(members))):
        seed = 1000 + number
        pictures = {
            "scene": scene_job.drawn(server.url, scene_job.scene_graph(layout, members, seed))[0],
            "stacked": scene_job.drawn(server.url, scene_job.stacked_graph(layout, members, seed))[0],
        }
        for name, picture in pictures.items():
            rows[name] += scene_figures.judged(picture, layout, members, scales)
        base, other = (scene_job.drawn(server.url, scene_job.plain_graph(layout, each))[0] for each in (seed, seed + 1))
        difference = scene_figures.outside_difference(pictures["scene"], base, layout)
        if difference is not None:
            outside.append(difference)
            seeds_apart.append(scene_figures.outside_difference(other, base, layout))
        shown.append(pictures)
    save_sheets(shown)
    found = scene_figures.summary("scene", rows["scene"]) | scene_figures.summary("scene_stacked", rows["stacked"])
    found |= {"scene_outside": float(np.mean(outside)), "scene_outside_of_seeds": float(np.mean(seeds_apart))}
    tell("  ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


def save_sheets(shown: Sequence[dict[str, np.ndarray]]) -> None:
    """Scenes above, stacked LoRAs below."""
    for number, pictures in enumerate(shown[:20]):
        bench_likeness.save(np.concatenate(list(pictures.values())), KEPT / "scenes" / f"{number:02}.png")


def grid_overhead(server: Server, trained: Trained, tell: Callable[[str], None]) -> dict[str, float]:
    """48 cells, and the same pictures by 48 prompts of core's nodes: all seconds of each over those of the samplers
    alone; the grid's over those of samplers and decoders too. Medians."""
    names = copied(server, trained)[:4]
    texts = pick_job.grid_prompts(trained.member.trigger)
    grids, singles = [], []
    for _ in range(GRID_REPETITIONS):
        shutil.rmtree(server.base / "user" / "default" / "isengard" / "grids", ignore_errors=True)
        grids.append(pick_job.grid_seconds(server.url, names, texts).grids)
        singles.append(pick_job.prompts_seconds(server.url, names, texts))
        tell(f"grid of 48: {grids[-1]:.2f} s; 48 prompts: {singles[-1]}")
    grid, sampling = median(grids), median(each.sampling for each in singles)
    return {
        "grid_overhead": grid / sampling,
        "grid_over_sampling_and_decoding": grid / median(each.sampling + each.decoding for each in singles),
        "prompts_overhead": median(each.all for each in singles) / sampling,
    }


def copied(server: Server, trained: Trained) -> list[str]:
    """The checkpoints in ComfyUI's LoRA folder, by name."""
    names = []
    for step, file in trained.checkpoints.items():
        names.append(f"{trained.member.trigger}-{step}.safetensors")
        shutil.copy(file, server.base / "models" / "loras" / names[-1])
    return names


def regrets(server: Server, trained: Sequence[Trained], tell: Callable[[str], None]) -> dict[str, float]:
    """How far the held-out likeness of what was picked is below that of the best checkpoint and strength."""
    picked, last = [], []
    for each in trained:
        judged = judge(server, each)
        best = max(judged.values())
        picked.append(best - judged[each.picked.step, each.picked.strength])
        last.append(best - judged[max(each.checkpoints), 1.0])
        row = "  ".join(f"{step}@{strength:g} {value:.2f}" for (step, strength), value in judged.items())
        tell(f"{each.member.trigger}: regret {picked[-1]:.3f}, of the last {last[-1]:.3f};  {row}")
    return {
        "pick_regret_max": max(picked), "pick_regret_mean": float(np.mean(picked)),
        "last_regret_max": max(last), "last_regret_mean": float(np.mean(last)),
    }  # fmt: skip


def judge(server: Server, trained: Trained) -> dict[tuple[int, float], float]:
    """Held-out likeness by step and strength; kept on disk."""
    file = KEPT / trained.member.trigger / "judged.json"
    if not file.exists():
        texts = pick_job.judged_texts(trained.member.trigger)
        real = embed(list(prompts.real_pictures(trained.member.identity)))
        base = _vectors(likeness_job.sampled(server.url, texts))

        def likeness_of(name: str, strength: float) -> float:
            return likeness.likeness(_vectors(pick_job.drawn(server.url, name, strength, texts)), base, real).value

        rows = [
            (step, strength, likeness_of(name, strength))
            for (step, _), name in zip(trained.checkpoints.items(), copied(server, trained), strict=True)
            for strength in pick_job.STRENGTHS
        ]  # fmt: skip
        file.write_text(json.dumps(rows), encoding="utf-8")
    return {(step, strength): value for step, strength, value in json.loads(file.read_text(encoding="utf-8"))}


def _vectors(pictures: np.ndarray) -> np.ndarray:
    """P,S,H,W,3 -> P,S,1280."""
    return embed(list(pictures.reshape(-1, *pictures.shape[2:]))).reshape(*pictures.shape[:2], -1)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--identities", type=int, choices=range(4, len(TRIGGERS) + 1), default=8, metavar="N")
    parser.add_argument("--layouts", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--steps", type=int, default=pick_job.STEPS)
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    return parser


def main() -> None:
    options = parser().parse_args()
    with Server(checkpoints=()) as server:
        found = bench(server, options) | likeness_job.system(server.url)
    whole = set(options.only) == set(PARTS)
    bench_likeness.write(found, OUT / ("sampling.json" if whole else "sampling_parts.json"))
    for name, value in found.items():
        print(f"{name:36} {value:.3f}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
