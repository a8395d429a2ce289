"""What the data-set nodes find of what was planted, and what they take out wrongly.

The limits of the nodes were set by other scenes, looks and people than these.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from isengard.nodes.captions.findings import KINDS
from isengard.nodes.curation import duplicates, identity, quality
from isengard.nodes.dataset import folder as folders
from isengard.nodes.dataset.records import Dataset, Origin, Sample
from isengard.sota.demo_base import people
from isengard.tests import pictures
from isengard.tests.benchmarks import data_captions as captions
from isengard.tests.benchmarks import embedding
from isengard.tests.graph import DEFAULTS

SIMILARITY = DEFAULTS["IsengardDeduplicateDataset"]["similarity"]
DEVIATIONS = DEFAULTS["IsengardDropOddOnesOut"]["deviations"]
SIDE, PEOPLE = 512, 20
SHARP, SETS, SET_SIZE, OTHERS, CAPTION_SETS = 160, 40, 20, 2, 60


def found(distinct: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    shares = {"leaks": caption_faults(tell), "blur": blur(tell), "identity": others(tell)}
    kinds = {f"planted_found_{name}": share for name, share in shares.items()}
    return copies(distinct, tell) | {"planted_found": min(shares.values())} | kinds


def originals(count: int) -> Iterator[tuple[str, Image.Image]]:
    """Different pictures: scenes, people in their looks, and photographs."""
    for name in pictures.PHOTOGRAPHS:
        yield f"{name}.png", pictures.photograph(name)
    for number in range(count // 2):
        yield f"scene{number}.png", pictures.scene(number, (SIDE, 400 if number % 2 else SIDE))
    for who, look in _looks(count - count // 2 - len(pictures.PHOTOGRAPHS)):
        yield f"person{who} look{look}.png", pictures.person(who, look, 384)


def _looks(count: int) -> Iterable[tuple[int, int]]:
    """People and looks; none that is another's drawing again, turned and scaled."""
    looks = {}
    numbers = itertools.count()
    while len(looks) < count:
        look, who = divmod(next(numbers), PEOPLE)
        looks.setdefault((who, people.level(pictures.drawn_look(who, look))), (who, look))
    return looks.values()


def copies(count: int, tell: Callable[[str], None]) -> dict[str, float]:
    generator, missed, planted = np.random.default_rng(11), Counter(), Counter()
    with tempfile.TemporaryDirectory() as place:
        for name, picture in originals(count):
            pictures.saved(picture, Path(place) / name)
            if generator.random() < 0.5:
                how, copy = pictures.random_copy(picture, generator)
                pictures.saved(copy, Path(place) / f"copy {how} {name}")
                planted[how] += 1
        loaded = folders.load(Path(place), "bench", folders.Options("a caption")).dataset
        kept, dropped = duplicates.deduplicated(loaded, SIMILARITY)
    names = {sample.name for sample in kept.samples}
    lost = {_original(sample.name) for sample in dropped.samples} - {_original(name) for name in names}
    for name in (sample.name for sample in loaded.samples if sample.name.startswith("copy ")):
        missed[name.split()[1]] += {name, _original(name)} <= names
    for how, number in planted.items():
        tell(f"copies, first {how:13} {number - missed[how]} of {number} found")
    tell(f"distinct pictures of which nothing stays: {len(lost)} of {count}")
    for sample in (each for each in dropped.samples if each.name in lost):
        tell(f"  {sample.name}: {sample.reason}")
    return {"duplicates_found": 1 - missed.total() / planted.total(), "distinct_dropped": len(lost) / count}


def _original(name: str) -> str:
    return name.split(" ", 2)[2] if name.startswith("copy ") else name


def blur(tell: Callable[[str], None]) -> float:
    """Of pictures that are blurred by 3 to 8 pixels, or smeared by 12 to 30, at about 512."""
    generator, missed, wrong = np.random.default_rng(12), 0, 0
    for number in range(SHARP):
        picture = pictures.scene(number, (SIDE, SIDE)) if number % 2 else pictures.person(number % 20, number, SIDE)
        soft = (
            pictures.blurred(picture, float(generator.uniform(3, 8)))
            if generator.random() < 0.7
            else pictures.smeared(picture, int(generator.integers(12, 30)))
        )
        missed += not _is_blurred(soft)
        wrong += _is_blurred(picture)
    tell(f"blurred pictures: {SHARP - missed} of {SHARP} found; {wrong} of {SHARP} sharp ones taken out")
    return 1 - missed / SHARP


def _is_blurred(picture: Image.Image) -> bool:
    _, dropped = quality.sorted_out(Dataset("x", (_in_memory("x", picture),)), quality.Limits())
    return any("blurred" in sample.reason for sample in dropped.samples)


def others(tell: Callable[[str], None]) -> float:
    """Of pictures of another person among a character's, by EfficientNet's vectors."""
    generator, missed, wrong = np.random.default_rng(13), 0, 0
    for number in range(SETS):
        who = number % len(people.held_out())
        odd = [int(each) for each in generator.choice([n for n in range(20) if n != who], OTHERS, replace=False)]
        looks = [int(look) for look in generator.integers(1000, 9000, SET_SIZE)]
        shown = [pictures.person(who, look, 224) for look in looks[OTHERS:]]
        shown += [pictures.person(other, look, 224) for other, look in zip(odd, looks[:OTHERS], strict=True)]
        samples = Dataset("x", tuple(_in_memory(f"{n}", each) for n, each in enumerate(shown)))
        vectors = torch.from_numpy(embedding.embed([np.asarray(each) for each in shown]))
        _, dropped = identity.without_others(samples, vectors, DEVIATIONS)
        out = {int(sample.name) for sample in dropped.samples}
        planted = set(range(SET_SIZE - OTHERS, SET_SIZE))
        missed += len(planted - out)
        wrong += len(out - planted)
    count, rest = SETS * OTHERS, SETS * (SET_SIZE - OTHERS)
    tell(f"other people: {count - missed} of {count} found; {wrong} of {rest} of the character's taken out")
    return 1 - missed / count


def caption_faults(tell: Callable[[str], None]) -> float:
    """Of faults planted in captions, one of each kind in each data set; tags and sentences in turns."""
    generator, planted, told, wrong = np.random.default_rng(14), Counter(), Counter(), Counter()
    for number in range(CAPTION_SETS):
        faulty = captions.planted(number, generator)
        wrong.update(each.kind for each in captions.findings(faulty.clean, faulty))
        findings = captions.findings(faulty.dataset, faulty)
        for kind, is_found in faulty.checks.items():
            planted[kind] += 1
            told[kind] += any(finding.kind == kind and is_found(finding) for finding in findings)
    for kind, count in planted.items():
        tell(f"captions, {KINDS[kind]:28} {told[kind]} of {count} found")
    tell(f"findings in {CAPTION_SETS} data sets without faults: {dict(wrong)}")
    return told.total() / planted.total()


def _in_memory(name: str, picture: Image.Image) -> Sample:
    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 255)[None]
    return Sample(name, pixels, picture.size, ("a caption",), Origin("bench", name))
