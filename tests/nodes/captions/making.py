"""Data sets of captions alone; their pictures are not looked at."""

from __future__ import annotations

from pathlib import Path

from isengard.nodes.dataset.records import Dataset, Origin, Sample

MIRA = [
    path.read_text(encoding="utf-8").strip()
    for path in sorted((Path(__file__).parents[3] / "sota" / "sample_character" / "mira").glob("*.txt"))
]

# as a captioner writes; {} is where a leak goes
SENTENCES = [
    "A photo of mira, a woman {}, laughing in a park. She wears a red coat.",
    "mira is a woman {} who sits on a bench, reading a newspaper.",
    "In this picture mira woman {} stands beside a bicycle at night.",
    "A close view of mira, a woman {} with a serious expression.",
    "mira, a woman {}, drinks coffee behind a window while it rains.",
    "The woman mira {} runs along a beach, wearing a blue swimsuit.",
    "mira, a woman {}, holds an umbrella; the street is empty.",
    "Seen from above, mira, a woman {}, sleeps on a green sofa.",
    "mira, a woman {}, looks over her shoulder in a library.",
    "A drawing of mira, a woman {}, riding a horse through snow.",
]


def sample(name: str, *captions: str, **more) -> Sample:
    return Sample(name, Path(name), (8, 8), captions, Origin(name, name), **more)


def dataset_of(*captions: str | tuple[str, ...]) -> Dataset:
    """A picture for each: 1.png, 2.png, …; of a tuple, with several captions, or none."""
    several = (each if isinstance(each, tuple) else (each,) for each in captions)
    return Dataset("hero", tuple(sample(f"{number}.png", *each) for number, each in enumerate(several, 1)))


def captions_of(dataset: Dataset) -> list[str]:
    """Of pictures with one caption each."""
    return [caption for each in dataset.samples for caption in each.captions]
