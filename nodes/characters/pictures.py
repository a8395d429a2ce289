"""A character's reference pictures as a data set, and a data set's as references."""

from __future__ import annotations

from ..dataset import images
from ..dataset.records import Dataset, Origin, Sample
from .library import REFERENCES, Library, Stored
from .records import Character, Reference


def dataset_of(library: Library, character: Character) -> Dataset:
    """Raises UnreadableImage for a reference that is gone or no picture any more."""
    samples = (_sample(library, character.slug, reference) for reference in character.references)
    return Dataset(character.name, tuple(samples))


def _sample(library: Library, slug: str, reference: Reference) -> Sample:
    file = library.folder(slug) / REFERENCES / reference.file
    size = images.dimensions(images.unchanged(file, reference.sha256))
    captions = tuple(filter(None, [reference.caption]))
    return Sample(reference.file, file, size, captions, Origin(f"characters/{slug}/{reference.file}", reference.sha256))


def add(library: Library, slug: str, dataset: Dataset) -> Stored:
    """Keep a data set's pictures as references, with their first captions."""
    stored = library.get(slug)
    for sample in dataset.samples:
        data, ending = images.file_of(sample)
        name = sample.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        stored = library.add_reference(slug, f"{name}{ending}", data, sample.caption)
    return stored
