"""Captions with faults planted in them, and the same captions without."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from isengard.nodes.captions import lint
from isengard.nodes.captions.findings import (
    COMPETING,
    DOUBLED,
    EMPTY,
    LONG,
    MISSING,
    MISSPELLED,
    OTHER,
    REPEATED,
    Expected,
    Finding,
)
from isengard.nodes.dataset.records import Dataset, Origin, Sample
from isengard.sota.demo_base import people

PICTURES, ROOM = 20, 75  # of a data set; tokens that fit, one a word here (a tokenizer's count is tested elsewhere)
OTHERS = ("Brannoc", "quenthil", "Ysolde Marr")


@dataclass(frozen=True)
class Planted:
    """clean: without faults. checks: by kind, whether a finding is about what was planted."""

    dataset: Dataset
    clean: Dataset
    expected: Expected
    checks: Mapping[str, Callable[[Finding], bool]]


def findings(dataset: Dataset, planted: Planted) -> tuple[Finding, ...]:
    return lint.check(dataset, planted.expected, lambda caption: (len(caption.split()), ROOM))


def planted(number: int, generator: np.random.Generator) -> Planted:
    """A data set's captions: of tags where the number is even, else of sentences. One fault of each kind; the phrase
    that competes with the trigger is in 18 of 20."""
    who = people.held_out()[number % len(people.held_out())]
    trigger, phrase = people.made_up_name(generator), people.identity_words(who)[0]
    style = _tags if number % 2 == 0 else _sentence
    looks = [people.random_look(generator) for _ in range(PICTURES)]
    clean = [style(trigger, people.look_words(look), "") for look in looks]
    faulty = [style(trigger, people.look_words(look), phrase if n >= 2 else "") for n, look in enumerate(looks)]
    missing, misspelled, empty, doubled, other, repeated, long = (int(n) for n in generator.permutation(PICTURES)[:7])
    copied = next(n for n in range(PICTURES) if n not in (missing, misspelled, empty, doubled, other, repeated, long))
    faulty[missing] = faulty[missing].replace(trigger, "someone")
    faulty[misspelled] = faulty[misspelled].replace(trigger, trigger[:-2] + trigger[-1] + trigger[-2])
    faulty[doubled] = faulty[copied]
    name = OTHERS[int(generator.integers(len(OTHERS)))]
    faulty[other] += f", beside {name}"
    faulty[repeated] += ", soft light, soft light"
    faulty[long] += " in a room full of old things" * 12
    faulty[empty] = " "
    return Planted(
        _dataset(faulty),
        _dataset(clean),
        Expected(trigger, "person", others=OTHERS),
        {
            COMPETING: lambda finding: phrase.split()[-1] in finding.phrase,
            OTHER: lambda finding: _name(other) in finding.pictures and name in finding.phrase,
            DOUBLED: lambda finding: {_name(doubled), _name(copied)} <= {*finding.pictures},
        }
        | {
            kind: lambda finding, place=place: _name(place) in finding.pictures
            for kind, place in (
                (MISSING, missing), (MISSPELLED, misspelled), (EMPTY, empty), (REPEATED, repeated), (LONG, long)
            )
        },
    )  # fmt: skip


def _tags(trigger: str, words: list[str], phrase: str) -> str:
    return ", ".join(filter(None, [trigger, "person", phrase, *words]))


def _sentence(trigger: str, words: list[str], phrase: str) -> str:
    about = f" with {phrase}" if phrase else ""
    return f"A drawing of {trigger}, a person{about}, who is {words[0]}, with {', '.join(words[1:])}."


def _dataset(captions: list[str]) -> Dataset:
    blank = Sample("", None, (1, 1), (), Origin("bench", ""))
    samples = (
        dataclasses.replace(blank, name=_name(n), captions=tuple(filter(str.strip, [caption])))
        for n, caption in enumerate(captions)
    )
    return Dataset("planted", tuple(samples))


def _name(number: int) -> str:
    return f"{number:02}.png"
