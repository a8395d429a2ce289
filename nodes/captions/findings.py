"""What may be wrong with captions, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...sota.registry import CaptionPolicy
from ..dataset.records import Dataset
from .vocabulary import CLASS_NOUNS, COUNT_TAGS
from .words import Word, keys_of, places, says_something, tags_of, words_of

EMPTY, MISSING, MISSPELLED, COMPETING, DESCRIBED = "empty", "missing", "misspelled", "competing", "described"
OTHER, DOUBLED, LONG, REPEATED, STYLE = "other", "doubled", "long", "repeated", "style"
NAME, CONSTANT = "name", "constant"
KINDS = {  # worst first, with what a report calls them
    EMPTY: "No caption",
    MISSING: "Trigger missing",
    MISSPELLED: "Trigger misspelled",
    COMPETING: "Competes with the trigger",
    DESCRIBED: "Describes the character",
    OTHER: "Names another character",
    DOUBLED: "The same caption more than once",
    LONG: "Too long for the text encoder",
    REPEATED: "Tags doubled in a caption",
    STYLE: "Not as this model wants captions",
    NAME: "Perhaps a name",
    CONSTANT: "In nearly every caption, perhaps on purpose",
}
MENDED = frozenset({EMPTY, MISSING, MISSPELLED, COMPETING, REPEATED})  # by `mend`


class CheckError(ValueError):
    """A check that cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Finding:
    """Something that may be wrong. kind: of KINDS. pictures: the names of those it is about; none: the data set as a
    whole. phrase: the words it is about, if any. text: what is wrong and what to do."""

    kind: str
    pictures: tuple[str, ...]
    phrase: str
    text: str


@dataclass(frozen=True)
class Expected:
    """What captions are checked against.

    trigger, class_noun, name, description: of the character; each may be empty. others: names and triggers of other
    characters. policy: of the model family, where it is known. share: a phrase in so many of the captions competes
    with the trigger. Raises CheckError for a share that is none, and a trigger with a comma.
    """

    trigger: str = ""
    class_noun: str = ""
    name: str = ""
    description: str = ""
    others: tuple[str, ...] = ()
    policy: CaptionPolicy | None = None
    share: float = 0.8

    def __post_init__(self):
        if not (math.isfinite(self.share) and 0 < self.share <= 1):
            raise CheckError(f"share is {self.share}; it has to be above 0 and at most 1, such as 0.8.")
        if len(tags_of(self.trigger)) > 1:
            raise CheckError(f"the trigger is '{self.trigger}', and captions are parted at commas. Choose one without.")


@dataclass(frozen=True)
class Caption:
    """A caption that was read. picture: the name of its sample. own: the places in `words` of those that say who it is:
    the trigger, the class noun, and tags such as 1girl. weight: its part of all that training reads, which is shared
    among pictures alike, and among the captions of one."""

    picture: str
    text: str
    words: tuple[Word, ...] = field(repr=False)
    own: frozenset[int] = field(repr=False)
    weight: float


def read(dataset: Dataset, expected: Expected) -> list[Caption]:
    """All captions that say something, in the data set's order."""
    by_picture = {sample.name: list(filter(says_something, sample.captions)) for sample in dataset.samples}
    told = sum(map(bool, by_picture.values()))
    return [
        read_one(name, text, expected, 1 / (told * len(texts))) for name, texts in by_picture.items() for text in texts
    ]


def read_one(picture: str, text: str, expected: Expected, weight: float) -> Caption:
    """A caption, read as `read` does."""
    words = tuple(words_of(text))
    return Caption(picture, text, words, own_places(words, expected), weight)


def own_places(words: Sequence[Word], expected: Expected) -> frozenset[int]:
    """Where words say who it is: the trigger, the class noun (common ones where there is none), tags such as 1girl."""
    noun = keys_of(expected.class_noun)
    common = COUNT_TAGS | (CLASS_NOUNS if not noun else {noun[-1]})
    found = {place for place, word in enumerate(words) if word.key in common}
    for keys in (keys_of(expected.trigger), noun):
        found |= {place + step for place in places(words, keys) for step in range(len(keys))}
    return frozenset(found)


def named(pictures: Sequence[str], most: int = 5) -> str:
    """ "a.png, b.png and 3 more" """
    more = len(pictures) - most
    return ", ".join(pictures[:most]) + (f" and {more} more" if more > 0 else "")
