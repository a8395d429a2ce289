"""Rules applied to a data set, and what came of it in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..dataset.records import Dataset, Sample
from . import rules
from .editing import LONGEST, spans
from .rules import Line, RulesError
from .words import bare, tags_of

_MOST_SHOWN = 10  # pictures


@dataclass(frozen=True)
class Edited:
    """What rules made of a data set. changed: how many captions each rule changed, in order. without: names of pictures
    that lost their last caption."""

    dataset: Dataset
    before: Dataset
    lines: tuple[Line, ...]
    changed: tuple[int, ...]
    without: tuple[str, ...]


def edit(
    dataset: Dataset, text: str, only_with: str = "", progress: Callable[[int, int], None] = lambda done, of: None
) -> Edited:
    """The data set with its captions edited by the rules in `text`, one after the other.

    only_with: tags between commas; pictures that lack one of them, in their captions and tags, stay as they are. A
    picture without a caption has an empty one to begin with; what is empty in the end is no caption. progress: told
    (rules done, rules). Raises RulesError for rules that cannot be read or applied, and captions that are too long.
    """
    lines = rules.parsed(text)
    chosen = [sample for sample in dataset.samples if _has_all(sample, tags_of(only_with))]
    captions = [caption for sample in chosen for caption in _captions(sample)]
    _check_lengths(chosen)
    changed = []
    for done, line in enumerate(lines, 1):
        after = rules.edited(line, captions)
        changed.append(sum(old != new for old, new in zip(captions, after, strict=True)))
        captions = after
        progress(done, len(lines))
    samples = _with(dataset.samples, chosen, captions)
    lost = (new.name for old, new in zip(dataset.samples, samples, strict=True) if old.captions and not new.captions)
    return Edited(dataset.of(samples), dataset, lines, tuple(changed), tuple(lost))


def _captions(sample: Sample) -> tuple[str, ...]:
    return sample.captions or ("",)


def _has_all(sample: Sample, tags: Sequence[str]) -> bool:
    own = {bare(tag) for tag in sample.tags}
    return all(bare(tag) in own or any(spans(caption, tag) for caption in sample.captions) for tag in tags)


def _check_lengths(samples: Sequence[Sample]) -> None:
    for sample in samples:
        longest = max(map(len, sample.captions), default=0)
        if longest > LONGEST:
            raise RulesError(
                f"the caption of {sample.name} has {longest} characters; at most {LONGEST} are edited. Look "
                "at what was loaded: that is no caption."
            )


def _with(samples: Sequence[Sample], chosen: Sequence[Sample], captions: Sequence[str]) -> list[Sample]:
    """captions: of the chosen samples, one after the other, as many as before."""
    left = iter(captions)
    by_name = {sample.name: tuple(filter(None, [next(left) for _ in _captions(sample)])) for sample in chosen}
    return [replace(sample, captions=by_name.get(sample.name, sample.captions)) for sample in samples]


def in_words(edited: Edited) -> str:
    """How many captions changed, by which rule, and the first of them before and after."""
    pairs = zip(edited.before.samples, edited.dataset.samples, strict=True)
    different = [(old, new) for old, new in pairs if old.captions != new.captions]
    parts = [f"{len(different)} of {len(edited.before.samples)} pictures have other captions now."]
    parts.append("\n".join(map(_line, edited.lines, edited.changed)))
    if edited.without:
        parts.append(f"Without a caption now: {', '.join(edited.without[:_MOST_SHOWN])}")
    parts += [_shown(old, new) for old, new in different[:_MOST_SHOWN]]
    if len(different) > _MOST_SHOWN:
        parts.append(f"… and {len(different) - _MOST_SHOWN} more")
    return "\n\n".join(filter(None, parts))


def _line(line: Line, changed: int) -> str:
    hint = " (within tags: remove words, replace words)" if _may_be_inside(line) and not changed else ""
    return f"line {line.number}, {line.text}: {changed or 'no'} caption{'' if changed == 1 else 's'} changed{hint}"


def _may_be_inside(line: Line) -> bool:
    return isinstance(line.rule, rules.Remove | rules.Replace) and not line.rule.inside_tags


def _shown(old: Sample, new: Sample) -> str:
    lines = [f"- {caption}" for caption in old.captions] + [f"+ {caption}" for caption in new.captions]
    return "\n".join([old.name, *lines])
