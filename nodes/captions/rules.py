"""Rules to edit captions by, one a line, and what each does to a caption."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import editing, regexes
from .words import BREAK, bare, has, tags_of

_LONGEST_TEXT, _MOST_RULES = 20_000, 200
_ARROW = "=>"
_LINE_END = re.compile(r"\r\n|\r|\n")
_BY_BREAK = re.compile(rf"(\b{BREAK}\b)")
_UNDERSCORED = re.compile(r"[^\s,，、]*_[^\s,，、]*")


class RulesError(ValueError):
    """Rules that cannot be read or applied; the message names the line."""


@dataclass(frozen=True)
class Add:
    """Tags that are not there yet, also not as words of a tag or a sentence, are added at the end, or first."""

    tags: tuple[str, ...]
    first: bool = False

    def edit(self, caption: str) -> str:
        missing = [tag for tag in self.tags if not has(caption, tag)]
        parts = [*missing, caption] if self.first else [_without_full_stop(caption, missing), *missing]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Remove:
    """Phrases are taken out: as whole tags, and as whole words of sentences; inside_tags: of tags too."""

    phrases: tuple[str, ...]
    inside_tags: bool = False

    def edit(self, caption: str) -> str:
        for phrase in self.phrases:
            while found := editing.spans(caption, phrase, self.inside_tags):  # what is left may say it again
                caption = editing.without(caption, found)
        return caption


@dataclass(frozen=True)
class Replace:
    """A phrase becomes another one: as a whole tag, and as whole words of sentences; inside_tags: of tags too."""

    old: str
    new: str
    inside_tags: bool = False

    def edit(self, caption: str) -> str:
        return editing.replaced(caption, self.old, self.new, self.inside_tags)


@dataclass(frozen=True)
class Move:
    """Tags that are there come first, or last, in this order."""

    tags: tuple[str, ...]
    first: bool

    def edit(self, caption: str) -> str:
        parts, wanted = tags_of(caption), [bare(tag) for tag in self.tags]
        moved = [part for tag in wanted for part in parts if bare(part) == tag]
        others = [part for part in parts if bare(part) not in wanted]
        return ", ".join([*moved, *others] if self.first else [*others, *moved]) if moved else caption


@dataclass(frozen=True)
class Sort:
    """Tags come in the alphabet's order; BREAK stays where it is, and tags on their side of it."""

    def edit(self, caption: str) -> str:
        runs: list[list[str]] = [[]]
        for part in tags_of(caption):
            runs += [[part], []] if part == BREAK else []
            if part != BREAK:
                runs[-1].append(part)
        return ", ".join(part for run in runs for part in sorted(run, key=lambda part: (bare(part), part)))


@dataclass(frozen=True)
class Once:
    """Of tags that are there several times, whatever their emphasis, capitals or underscores, the first stays."""

    def edit(self, caption: str) -> str:
        return editing.once(caption)


@dataclass(frozen=True)
class Lowercase:
    """Small letters, but for BREAK."""

    def edit(self, caption: str) -> str:
        return "".join(piece if piece == BREAK else piece.lower() for piece in _BY_BREAK.split(caption))


@dataclass(frozen=True)
class Spaces:
    """Underscores between words become spaces; a face such as ^_^ stays."""

    def edit(self, caption: str) -> str:
        return _UNDERSCORED.sub(lambda found: _spaced(found[0]), caption)


@dataclass(frozen=True)
class Regex:
    """What a regular expression (RE2's) finds becomes something else; \\1 is its first group."""

    pattern: str
    replacement: str


Rule = Add | Remove | Replace | Move | Sort | Once | Lowercase | Spaces | Regex


@dataclass(frozen=True)
class Line:
    """A rule with the number and the text of its line."""

    number: int
    text: str
    rule: Rule


def parsed(text: str) -> tuple[Line, ...]:
    """The rules of a text, a line each; empty lines and lines that begin with # are none.

    Raises RulesError with the number of the line that cannot be read.
    """
    if len(text) > _LONGEST_TEXT:
        raise RulesError(f"the rules have {len(text)} characters; at most {_LONGEST_TEXT} are read. Shorten them.")
    lines = ((number, line.strip()) for number, line in enumerate(_LINE_END.split(text), 1))
    found = tuple(Line(number, line, _rule(number, line)) for number, line in lines if line and line[0] != "#")
    if len(found) > _MOST_RULES:
        raise RulesError(f"there are {len(found)} rules; at most {_MOST_RULES} are applied. Use several nodes.")
    return found


def _rule(number: int, line: str) -> Rule:
    verb, _, rest = line.partition(":")
    name = " ".join(verb.lower().split())
    if name not in _VERBS:
        raise RulesError(f"line {number}: '{_short(line)}' is no rule. A rule is one of:\n{_known()}")
    try:
        return _VERBS[name].read(rest.strip())
    except RulesError as error:
        raise RulesError(f"line {number}: '{_short(line)}': {error} Write it as '{_VERBS[name].example}'.") from error


def _phrases(rest: str) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for tag in tags_of(rest):
        found.setdefault(bare(tag), tag)
    if not found:
        raise RulesError("it does not say what.")
    return tuple(found.values())


def _pair(rest: str, commas: bool = False) -> tuple[str, str]:
    old, arrow, new = (part.strip() for part in rest.partition(_ARROW))
    if not arrow or not old:
        raise RulesError(f"it has to say what becomes what, with {_ARROW} between them.")
    if not commas and len(tags_of(old)) > 1:
        raise RulesError("one tag or phrase is replaced at a time; give each a line.")
    return old, new


def _alone(rule: Rule) -> Callable[[str], Rule]:
    def read(rest: str) -> Rule:
        if rest:
            raise RulesError("nothing follows it.")
        return rule

    return read


@dataclass(frozen=True)
class _Verb:
    """How a kind of rule is written, and how what follows its colon is read. Raises RulesError."""

    example: str
    read: Callable[[str], Rule]


_VERBS = {
    "add": _Verb("add: smiling, outdoors", lambda rest: Add(_phrases(rest))),
    "add first": _Verb("add first: zorvik man", lambda rest: Add(_phrases(rest), first=True)),
    "remove": _Verb("remove: blue hair", lambda rest: Remove(_phrases(rest))),
    "remove words": _Verb("remove words: blue", lambda rest: Remove(_phrases(rest), inside_tags=True)),
    "replace": _Verb("replace: grin => smile", lambda rest: Replace(*_pair(rest))),
    "replace words": _Verb("replace words: mira => zorvik", lambda rest: Replace(*_pair(rest), inside_tags=True)),
    "first": _Verb("first: zorvik man, smiling", lambda rest: Move(_phrases(rest), first=True)),
    "last": _Verb("last: white background", lambda rest: Move(_phrases(rest), first=False)),
    "sort": _Verb("sort", _alone(Sort())),
    "once": _Verb("once", _alone(Once())),
    "lowercase": _Verb("lowercase", _alone(Lowercase())),
    "spaces": _Verb("spaces", _alone(Spaces())),
    "regex": _Verb(r"regex: (\w+) shirt => \1 coat", lambda rest: Regex(*_pair(rest, commas=True))),
}
EXAMPLES = tuple(verb.example for verb in _VERBS.values())  # one line for each kind of rule


def _known() -> str:
    return "\n".join(f"  {example}" for example in EXAMPLES)


def _short(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:60]}…"


def _without_full_stop(caption: str, more: Sequence[str]) -> str:
    return caption.rstrip(" .,") if more and caption.endswith((".", ",")) else caption


def _spaced(text: str) -> str:
    return text.replace("_", " ") if any(len(piece) > 1 for piece in text.split("_")) else text


def edited(line: Line, captions: Sequence[str]) -> list[str]:
    """The captions after one rule, in order. Raises RulesError where a regular expression cannot be used, and for
    captions that become too long."""
    try:
        if not isinstance(line.rule, Regex):
            return [line.rule.edit(caption) for caption in captions]
        made = regexes.substituted(line.rule.pattern, line.rule.replacement, captions)
    except ValueError as error:
        raise RulesError(f"line {line.number}: {error}") from error
    return [
        " ".join(after.split()) if after != before else before for before, after in zip(captions, made, strict=True)
    ]
