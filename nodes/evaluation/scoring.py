"""Pictures scored against a character: a table, numbers on the pictures, and which to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from ..lettering import Lettering
from ..style import GREEN, GREY, WARNING
from .identity import Identity, IdentityError, Score, cut_out

ALL, SAME, AT_LEAST = "all", "the character's", "at least …"
KEPT = (ALL, SAME, AT_LEAST)


@dataclass(frozen=True)
class Scored:
    """Pictures with their scores, in the same order. diversity: how far they are apart, where 1 is as far as the
    references; None where there are not two of each."""

    scores: tuple[Score, ...]
    diversity: float | None


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


def scored(identity: Identity, vectors: Tensor) -> Scored:
    """By the pictures' vectors N,d of unit length."""
    own, real = _spread(vectors), _spread(identity.references)
    diversity = own / real if own is not None and real else None
    return Scored(tuple(identity.scores(vectors)), diversity)


def _spread(vectors: Tensor) -> float | None:
    """Mean cosine distance of two different ones."""
    count = len(vectors)
    if count < 2:
        return None
    return 1 - ((vectors @ vectors.T).sum() - count).item() / (count * (count - 1))


def kept(scores: Sequence[Score], which: str, at_least: float) -> list[int]:
    """Places of the pictures to keep, of KEPT. Raises IdentityError where none is left, or nothing is scored."""
    if which == ALL:
        return list(range(len(scores)))
    if any(score.value is None for score in scores):
        raise IdentityError(f"nothing is scored, so nothing can be chosen: {scores[0].reason}")
    places = [
        place for place, score in enumerate(scores)
        if (score.is_same if which == SAME else score.value >= at_least)
    ]  # fmt: skip
    if not places:
        best = max(score.value for score in scores)
        raise IdentityError(
            f"none of {len(scores)} pictures is kept ({which}); the best has {best:.2f}. Keep all, or lower at_least."
        )
    return places


def table(identity: Identity, found: Scored, places: Sequence[int]) -> str:
    """For people: a line for each picture, the likest first; what is kept is marked."""
    order = sorted(range(len(found.scores)), key=lambda place: -(found.scores[place].value or 0.0))
    lines = [f"{identity.character}: {_in_short(found)}"]
    for place in order:
        score = found.scores[place]
        value = "unscored" if score.value is None else f"{score.value:5.2f}  {'same' if score.is_same else 'other'}"
        lines.append(f"{'*' if place in places else ' '} picture {place + 1:3}  {value}")
    if identity.calibration is None:
        lines.append(f"unscored: {identity.reason}")
    else:
        lines.append(
            f"0: as other people, 1: as {identity.character}'s own pictures; the same from "
            f"{identity.calibration.threshold:.2f} on. * kept"
        )
    return "\n".join(lines)


def _in_short(found: Scored) -> str:
    values = [score.value for score in found.scores if score.value is not None]
    parts = [f"mean identity {sum(values) / len(values):.2f}"] if values else []
    if values:
        parts.append(f"{sum(bool(score.is_same) for score in found.scores)} of {len(found.scores)} are the character")
    if found.diversity is not None:
        parts.append(f"diversity {found.diversity:.2f} of the references'")
    return ", ".join(parts) or "unscored"


def annotated(picture: Image.Image, score: Score) -> Image.Image:
    """With its score in a corner: green for the character's, red for other people's, grey where it is unscored."""
    picture = picture.copy()
    letters = Lettering(max(11, min(picture.size) // 12), bold=True)
    text = "unscored" if score.value is None else f"{score.value:.2f}"
    gap = max(3, round(letters.size / 3))
    width, height = round(letters.width(text)) + 2 * gap, letters.line + gap
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width, height), fill=GREY if score.value is None else GREEN if score.is_same else WARNING)
    letters.write(pen, (gap, gap // 2), text, "#ffffff")
    return picture


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
