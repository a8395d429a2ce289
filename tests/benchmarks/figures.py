"""The figures of the likeness benchmark from its pictures: of one trained character, and of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isengard.sota.demo_base import people
from isengard.tests.benchmarks import likeness, probe, prompts
from isengard.tests.benchmarks.embedding import embed
from isengard.tests.benchmarks.likeness_job import Trained


@dataclass(frozen=True)
class Measured:
    """The figures of one trained character; see likeness.py and probe.py. colours_right: of hair and skin; bleed: how
    much pictures without the trigger change, by the kind of prompt, where 1 is another seed; seconds: of encoding and
    training. Diversity well above base_diversity is no merit: the character is another from picture to picture.
    """

    likeness: likeness.Likeness
    colours_right: float
    adherence: float
    diversity: float
    base_diversity: float
    bleed: dict[str, float]
    seconds: float

    @property
    def mean_bleed(self) -> float:
        return float(np.mean(list(self.bleed.values())))


def measure(trained: Trained, base: Trained, spread: np.ndarray, identity: people.Identity) -> Measured:
    """Of a character's pictures, beside what the base draws for the same prompts and seeds; spread: see `spread`."""
    generated, before, truth = _embedded(trained.pictures), _embedded(base.pictures), embed(_real(identity))
    return Measured(
        likeness=likeness.likeness(generated, before, truth),
        colours_right=colours_right(trained.pictures, identity),
        adherence=adherence(trained.pictures),
        diversity=likeness.diversity(generated, truth),
        base_diversity=likeness.diversity(before, truth),
        bleed=bleed(_embedded(trained.bare), _embedded(base.bare), spread),
        seconds=trained.seconds,
    )


def adherence(pictures: np.ndarray) -> float:
    """Share of the prompts' words, background and direction, that the pictures P,S,H,W,3 show."""
    prompted = prompts.looks()[1]
    right = [
        [found.background == look.background, found.facing == look.facing]
        for row, look in zip(pictures, prompted, strict=True)
        for found in map(probe.attributes, row)
    ]
    return float(np.mean(right))


def colours_right(pictures: np.ndarray, identity: people.Identity) -> float:
    """Share of the pictures' hair and skin colours that are the character's: the embedding hardly sees colour."""
    right = []
    for picture in pictures.reshape(-1, *pictures.shape[2:]):
        found = probe.attributes(picture)
        right.append(found.skin == identity.skin)
        if identity.hair:
            right.append(found.hair == identity.hair)
    return float(np.mean(right))


def bare_prompts() -> list[str]:
    return [text for _, text in prompts.without_trigger()]


def spread(pictures: np.ndarray) -> np.ndarray:
    """How much the base's pictures P,S,H,W,3 of `bare_prompts` differ between seeds, for each prompt: P."""
    return likeness.between_seeds(_embedded(pictures))


def bleed(with_lora: np.ndarray, without: np.ndarray, spread: np.ndarray) -> dict[str, float]:
    """How much pictures of other people (both P,S,D) change, by the kind of prompt; 0: not at all, 1: as if another
    seed had been drawn. Each kind has its own measure of that: the less a prompt says, the more seeds differ."""
    changed = likeness.changed(with_lora, without)
    kinds = np.array([kind for kind, _ in prompts.without_trigger()])
    return {
        str(kind): float(changed[kinds == kind].sum() / spread[kinds == kind].sum()) for kind in dict.fromkeys(kinds)
    }


def _real(identity: people.Identity) -> list[np.ndarray]:
    return list(prompts.real_pictures(identity))


def _embedded(pictures: np.ndarray) -> np.ndarray:
    """P,S,H,W,3 -> P,S,1280."""
    count, seeds = pictures.shape[:2]
    return embed(list(pictures.reshape(-1, *pictures.shape[2:]))).reshape(count, seeds, -1)


def summary(rows: Sequence[Measured], base_adherence: float) -> dict[str, float]:
    """All characters together, by the names in likeness.json."""
    together = likeness.mean([row.likeness for row in rows])
    kinds = rows[0].bleed
    return {
        "likeness_mean": together.value,
        "likeness_mean_low": together.low,
        "likeness_mean_high": together.high,
        "likeness_worst": float(np.min([row.likeness.value for row in rows])),
        "colours_right": float(np.mean([row.colours_right for row in rows])),
        "adherence_vs_base": float(np.mean([row.adherence for row in rows])) / base_adherence,
        "diversity_vs_real": float(np.mean([row.diversity for row in rows])),
        "base_diversity_vs_real": float(np.mean([row.base_diversity for row in rows])),
        "bleed": float(np.mean([row.mean_bleed for row in rows])),
        "bleed_worst": float(np.max([row.mean_bleed for row in rows])),
    } | {f"bleed_{kind}": float(np.mean([row.bleed[kind] for row in rows])) for kind in kinds}


def beside_core(
    ours: Sequence[Measured], core_steps: Sequence[Measured], core_seconds: Sequence[Measured]
) -> dict[str, float]:
    """How far ours is ahead of ComfyUI's own trainer over the same characters; all in the same order."""
    return _beside("equal_steps", ours, core_steps) | _beside("equal_seconds", ours, core_seconds)


def _beside(name: str, ours: Sequence[Measured], core: Sequence[Measured]) -> dict[str, float]:
    lead = likeness.mean_lead([row.likeness for row in ours], [row.likeness for row in core])
    return {
        f"likeness_minus_core_{name}": lead.value,
        f"likeness_minus_core_{name}_low": lead.low,
        f"likeness_minus_core_{name}_high": lead.high,
        f"core_likeness_{name}": float(np.mean([row.likeness.value for row in core])),
        f"core_colours_right_{name}": float(np.mean([row.colours_right for row in core])),
        f"core_adherence_{name}": float(np.mean([row.adherence for row in core])),
        f"core_diversity_{name}": float(np.mean([row.diversity for row in core])),
        f"core_bleed_{name}": float(np.mean([row.mean_bleed for row in core])),
        f"core_seconds_vs_ours_{name}": _seconds(core) / _seconds(ours),
    }


def _seconds(rows: Sequence[Measured]) -> float:
    return float(np.sum([row.seconds for row in rows]))


HEADER = f"{'':30} likeness  95 % interval   colours  adherence  diversity  bleed  seconds"


def line(name: str, row: Measured) -> str:
    """One row of the table under HEADER."""
    span = f"{row.likeness.low:.2f} … {row.likeness.high:.2f}"
    shares = f"{row.colours_right:7.2f}  {row.adherence:9.2f}  {row.diversity:9.2f}  {row.mean_bleed:5.2f}"
    return f"{name:30} {row.likeness.value:8.2f}  {span:14}  {shares}  {row.seconds:7.0f}"
