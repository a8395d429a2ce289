"""Pictures scored against a character: a table, numbers on the pictures, and which to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from ..lettering import Lettering
from ..style import GREEN, GREY, WARNING
from .adherence import Adherence
from .identity import Identity, IdentityError, Score, cut_out

ALL, SAME, AT_LEAST = "all", "the character's", "at least …"
KEPT = (ALL, SAME, AT_LEAST)


@dataclass(frozen=True)
class Scored:
    """Pictures with their scores, in the same order. diversity: how far they are apart, where 1 is as far as the
    references; None where there are not two of each. adherences: None where there are no prompts."""

    scores: tuple[Score, ...]
    diversity: float | None
    adherences: tuple[Adherence, ...] | None = None

    @property
    def pairs(self) -> list[tuple[Score, Adherence | None]]:
        return list(zip(self.scores, self.adherences or [None] * len(self.scores), strict=True))


def regions(pictures: Tensor, masks: Tensor | None) -> list[Tensor]:
    """What is looked at of B,H,W,3: each 1,h,w,3. masks: B,H,W, or 1,H,W for all. Raises IdentityError."""
    each = [picture[None] for picture in pictures]
    if masks is None:
        return each
    masks = masks[None] if masks.dim() == 2 else masks
    if len(masks) not in (1, len(pictures)):
        raise IdentityError(
            f"there are {len(masks)} masks for {len(pictures)} pictures. Connect one for all, or one for each."
        )
    return [cut_out(picture, masks[place % len(masks)]) for place, picture in enumerate(each)]


def scored(identity: Identity, vectors: Tensor, adherences: tuple[Adherence, ...] | None = None) -> Scored:
    """By the pictures' vectors N,d of unit length."""
    own, real = _spread(vectors), _spread(identity.references)
    diversity = own / real if own is not None and real else None
    return Scored(tuple(identity.scores(vectors)), diversity, adherences)


def _spread(vectors: Tensor) -> float | None:
    """Mean cosine distance of two different ones."""
    count = len(vectors)
    if count < 2:
        return None
    return 1 - ((vectors @ vectors.T).sum() - count).item() / (count * (count - 1))


def kept(found: Scored, which: str, at_least: float, least_adherence: float = 0.0) -> list[int]:
    """Places of the pictures to keep, of KEPT, with that adherence. Raises IdentityError where none is left, or what it
    would go by was not scored."""
    if which != ALL and any(score.value is None for score in found.scores):
        raise IdentityError(f"nothing is scored, so nothing can be chosen: {found.scores[0].reason}")
    if least_adherence and found.adherences is None:
        raise IdentityError(f"least_adherence is {least_adherence:g}, and there are no prompts. Write them, or set 0.")
    places = [
        place for place, (score, followed) in enumerate(found.pairs)
        if _is_kept(score, which, at_least) and (followed is None or followed.value >= least_adherence)
    ]  # fmt: skip
    if not places:
        raise IdentityError(
            f"none of {len(found.scores)} pictures is kept ({which}); the best has {_best(found)}. Keep all, or lower "
            "at_least or least_adherence."
        )
    return places


def _is_kept(score: Score, which: str, at_least: float) -> bool:
    return which == ALL or (score.is_same if which == SAME else score.value >= at_least)


def _best(found: Scored) -> str:
    identities = [score.value for score in found.scores if score.value is not None]
    followed = [each.value for each in found.adherences or ()]
    parts = [f"{max(identities):.2f}"] if identities else []
    return ", ".join(parts + ([f"an adherence of {max(followed):.2f}"] if followed else []))


def table(identity: Identity, found: Scored, places: Sequence[int]) -> str:
    """For people: a line for each picture, the likest first; what is kept is marked."""
    order = sorted(range(len(found.scores)), key=lambda place: -(found.scores[place].value or 0.0))
    lines = [f"{identity.character}: {_in_short(found)}"]
    for place in order:
        score = found.scores[place]
        value = "unscored" if score.value is None else f"{score.value:5.2f}  {'same ' if score.is_same else 'other'}"
        line = f"{'*' if place in places else ' '} picture {place + 1:3}  {value}{_followed(found, place)}"
        lines.append(line.rstrip())
    if identity.calibration is None:
        lines.append(f"unscored: {identity.reason}")
    else:
        lines.append(
            f"0: as other people, 1: as {identity.character}'s own pictures; the same from "
            f"{identity.calibration.threshold:.2f} on. * kept"
        )
    if found.adherences is not None:
        lines.append("prompt: CLIPScore; another's: of the prompts here, that of another picture is likelier")
    return "\n".join(lines)


def _followed(found: Scored, place: int) -> str:
    if found.adherences is None:
        return ""
    followed = found.adherences[place]
    return f"  prompt {followed.value:4.2f}{'  another' * (followed.is_own is False)}"


def _in_short(found: Scored) -> str:
    values = [score.value for score in found.scores if score.value is not None]
    parts = [f"mean identity {sum(values) / len(values):.2f}"] if values else []
    if values:
        parts.append(f"{sum(bool(score.is_same) for score in found.scores)} of {len(found.scores)} are the character")
    if found.diversity is not None:
        parts.append(f"diversity {found.diversity:.2f} of the references'")
    if found.adherences is not None:
        parts.append(f"mean adherence {sum(each.value for each in found.adherences) / len(found.adherences):.2f}")
        own = [each.is_own for each in found.adherences if each.is_own is not None]
        parts += [f"{sum(own)} of {len(own)} show their own prompt best"] if own else []
    return ", ".join(parts) or "unscored"


def annotated(picture: Image.Image, score: Score, followed: Adherence | None = None) -> Image.Image:
    """With its score in a corner: green for the character's, red for other people's, grey where it is unscored; and
    below it how well it shows its prompt."""
    picture = picture.copy()
    letters = Lettering(max(11, min(picture.size) // 12), bold=True)
    known = GREY if score.value is None else GREEN if score.is_same else WARNING
    below = _label(picture, letters, 0, "unscored" if score.value is None else f"{score.value:.2f}", known)
    if followed is not None:
        missed = WARNING if followed.is_own is False else GREY
        _label(picture, letters, below, f"prompt {followed.value:.2f}", missed)
    return picture


def _label(picture: Image.Image, letters: Lettering, top: int, text: str, colour: str) -> int:
    """Written at the left; where it ends below."""
    gap = max(3, round(letters.size / 3))
    right, bottom = round(letters.width(text)) + 2 * gap, top + letters.line + gap
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, top, right, bottom), fill=colour)
    letters.write(pen, (gap, top + gap // 2), text, "#ffffff")
    return bottom


def described(identity: Identity) -> str:
    """For people: who is known how well."""
    head = f"{identity.character} by {identity.encoder.name}: {len(identity.references)} references"
    found = identity.calibration
    if found is None:
        return f"{head}. Unscored: {identity.reason}"
    return (
        f"{head}, {found.impostors} pictures of other people.\n"
        f"Told apart in {found.auc:.1%} of pairs (AUC {found.auc:.3f}); the same person from {found.threshold:.2f} on, "
        f"where 0 is as other people and 1 as {identity.character}'s own pictures."
    )
