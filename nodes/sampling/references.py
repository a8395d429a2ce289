"""Which pictures of a data set stand for a prompt, and how a model is shown them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from ...sota import registry
from ...sota.registry import NO_REFERENCES, QWEN_EDIT, REFERENCE_LATENTS, ReferencePolicy
from ..dataset.records import Dataset, Sample

AUTO, LATENTS, EDIT = "auto (by family)", "reference latents", "qwen edit"
METHODS = {AUTO: "", LATENTS: REFERENCE_LATENTS, EDIT: QWEN_EDIT}
MOST = 10  # pictures
_MEGAPIXEL = 1024 * 1024  # pixels


class ReferencesError(ValueError):
    """Pictures that a model cannot be shown; the message says why and what to do."""


def nearest(prompt: str, captions: Sequence[str]) -> int:
    """The place of the caption that shares the most with a prompt (see `ranked`)."""
    return ranked(prompt, captions)[0]


def ranked(prompt: str, captions: Sequence[str]) -> list[int]:
    """The places of all captions, first that which shares the most with a prompt: of their phrases (what stands
    between commas), then of their words, as shares of all in either (Jaccard index); alike ones in their order."""
    wanted = _phrases(prompt), _words(prompt)

    def alike(place: int) -> tuple[float, float]:
        return _shared(wanted[0], _phrases(captions[place])), _shared(wanted[1], _words(captions[place]))

    return sorted(range(len(captions)), key=alike, reverse=True)


def _phrases(text: str) -> set[str]:
    return {phrase.strip().lower() for phrase in text.split(",")}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _shared(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def chosen(prompt: str, dataset: Dataset, count: int) -> tuple[Sample, ...]:
    """At most `count` pictures, those with the nearest captions first. Raises ReferencesError where there are none."""
    if not dataset.samples:
        raise ReferencesError(
            f"there are no pictures of {dataset.name}. Add some with Save Character, or connect a data set to pictures."
        )
    captions = [sample.caption for sample in dataset.samples]
    return tuple(dataset.samples[place] for place in ranked(prompt, captions)[:count])


def policy_for(method: str, classes: Sequence[str], parameters: int) -> ReferencePolicy:
    """How a model is shown pictures. method: one of METHODS. classes, parameters: as `registry.family_of` takes them.

    A model of no known family can be shown them by a method that was chosen, with the defaults of ReferencePolicy.
    Raises ReferencesError where the family has no such method.
    """
    wanted = METHODS[method]
    try:
        family = registry.family_of(classes, parameters)
    except registry.UnknownFamily as error:
        if wanted:
            return ReferencePolicy(wanted, models=classes[0], source="chosen", most=3 if wanted == QWEN_EDIT else MOST)
        raise ReferencesError(
            f"it is not known whether a model of the class {classes[0]} takes pictures beside the prompt (known are: "
            f"{_taking()}). Choose a method, or use a LoRA (Apply Character)."
        ) from error
    policy = family.references
    if policy.mechanism == NO_REFERENCES:
        raise ReferencesError(
            f"{family.name} has no reference conditioning: use a LoRA (Apply Character). Families that have: "
            f"{_taking()}."
        )
    if wanted == QWEN_EDIT != policy.mechanism:
        raise ReferencesError(
            f"{family.name} is not shown pictures through its text encoder. Choose '{AUTO}' or '{LATENTS}'."
        )
    return dataclasses.replace(policy, mechanism=wanted) if wanted else policy


def _taking() -> str:
    """The families that take pictures, for people."""
    found = (family for family in registry.families().values() if family.references.mechanism != NO_REFERENCES)
    return ", ".join(f"{family.name} ({family.references.models})" for family in found)


def megapixel_size(width: int, height: int, multiple: int) -> tuple[int, int]:
    """Width and height of about 1024 x 1024 pixels of the same proportions, multiples of `multiple`."""
    scale = math.sqrt(_MEGAPIXEL / (width * height))
    return tuple(max(1, round(side * scale / multiple)) * multiple for side in (width, height))


def report(samples: Sequence[Sample], policy: ReferencePolicy) -> str:
    """What was used, for people: the mechanism, then a picture a line."""
    how = {
        REFERENCE_LATENTS: "as reference latents",
        QWEN_EDIT: "to the text encoder and as reference latents (Qwen edit)",
    }[policy.mechanism]
    number = f"{len(samples)} picture" + ("" if len(samples) == 1 else "s")
    lines = [f"{number} {how}. Trained for them: {policy.models}; other models are disturbed by them."]
    return "\n".join(lines + [_line(sample) for sample in samples])


def _line(sample: Sample) -> str:
    return sample.name + (f": {sample.caption}" if sample.caption else "")
