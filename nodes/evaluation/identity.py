"""Whether a picture shows a character, on a scale that its own reference pictures give.

An image encoder's cosines mean something else for every encoder and character. So references compared with each other
(genuine) and pictures of other people compared with them (impostors) give the scale: 0 is as other people, 1 as the
character's own pictures. Where the two do not separate, nothing is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FEWEST_REFERENCES, FEWEST_OTHERS = 3, 4
LEAST_AUC = 0.8  # of genuine against impostor pictures: a coin gives 0.5; below it one picture in four is misjudged
_LIKEST = 0.5  # of the references that a picture is compared with: views and clothes differ
_MARGIN = 0.05  # of a region's sides, around it
_GREY = 0.5  # outside a region

Progress = Callable[[int, int], None]


class IdentityError(ValueError):
    """Nobody can be told by what was given; the message says what to do."""


@dataclass(frozen=True)
class Encoder:
    """An image encoder. embed: 1,H,W,3 in 0..1 to 1,d."""

    name: str
    embed: Callable[[Tensor], Tensor]

    def vectors(self, pictures: Iterable[Tensor], of: int, progress: Progress = lambda done, of: None) -> Tensor:
        """N,d of unit length, of pictures 1,H,W,3 (their sizes may differ), of which there are so many."""
        found = []
        for done, picture in enumerate(pictures, 1):
            found.append(functional.normalize(self.embed(picture).float().cpu().flatten(1), dim=1))
            progress(done, of)
        return torch.cat(found) if found else torch.zeros(0, 1)


@dataclass(frozen=True)
class Calibration:
    """low, high: the similarities that are 0 and 1. threshold: on that scale, where as many own pictures fall below it
    as others above. auc: area under the ROC curve of genuine against impostor pictures, of which there are so many.
    """

    low: float
    high: float
    threshold: float
    auc: float
    genuine: int
    impostors: int


@dataclass(frozen=True)
class Score:
    """value: 0 as other people, 1 as the character's own pictures. is_same: at or above the threshold. Both are None
    where nothing can be scored, for the reason."""

    value: float | None
    is_same: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Identity:
    """A character as an encoder knows it. references: N,d of unit length; centre: d, what all people have in common.
    calibration: None where nothing can be scored, for the reason."""

    character: str
    encoder: Encoder
    references: Tensor
    centre: Tensor
    calibration: Calibration | None
    reason: str = ""

    def scores(self, vectors: Tensor) -> list[Score]:
        """Of vectors N,d of unit length, by this identity's encoder."""
        if self.calibration is None:
            return [Score(None, reason=self.reason) for _ in vectors]
        scale = self.calibration.high - self.calibration.low
        values = (similarities(vectors, self.references, self.centre) - self.calibration.low) / scale
        return [Score(value, value >= self.calibration.threshold) for value in values.tolist()]


def scores(identity: Identity, pictures: Sequence[Tensor], progress: Progress = lambda done, of: None) -> list[Score]:
    """Of pictures, each 1,H,W,3 in 0..1."""
    return identity.scores(identity.encoder.vectors(pictures, len(pictures), progress))


def similarities(vectors: Tensor, references: Tensor, centre: Tensor) -> Tensor:
    """N: the mean cosine of N,d with the likest half of M,d, without what all people have in common (d): features of
    ImageNet's and of language's kind have a large common part (Mu and Viswanath, arXiv 1702.01417, section 2)."""
    return _likest(functional.normalize(vectors - centre, dim=1) @ functional.normalize(references - centre, dim=1).T)


def _likest(cosines: Tensor) -> Tensor:
    count = max(1, round(_LIKEST * cosines.shape[1]))
    return cosines.topk(count, dim=1).values.mean(1)


def calibrated(character: str, encoder: Encoder, references: Tensor, others: Tensor) -> Identity:
    """An identity by vectors of unit length: N,d of the character and M,d of other people."""
    centre = others.mean(0) if len(others) else torch.zeros(references.shape[1:])
    calibration, reason = None, _too_few(character, len(references), len(others))
    if not reason:
        calibration = _calibration(references, others)
        reason = _not_apart(character, encoder.name, calibration)
    return Identity(character, encoder, references, centre, None if reason else calibration, reason)


def _too_few(character: str, references: int, others: int) -> str:
    if references < FEWEST_REFERENCES:
        return (
            f"{character} has {references} reference pictures, and {FEWEST_REFERENCES} are the least that can be "
            "compared with each other. Add some with Save Character, or connect a data set."
        )
    if others < FEWEST_OTHERS:
        return (
            f"there are {others} pictures of other people, and it takes {FEWEST_OTHERS}. Connect a data set of others, "
            "drawn or photographed in the same manner, or give other characters of the library references."
        )
    return ""


def _not_apart(character: str, encoder: str, calibration: Calibration) -> str:
    if calibration.auc >= LEAST_AUC and calibration.high > calibration.low:
        return ""
    return (
        f"{encoder} does not tell {character} from other people: one of {character}'s own pictures is the likelier "
        f"one in {calibration.auc:.0%} of pairs, where {LEAST_AUC:.0%} are the least. Use another encoder, or "
        "references in which the face is larger."
    )


def _calibration(references: Tensor, others: Tensor) -> Calibration:
    """Each picture is compared with those that it is not among."""
    own, foreign = _genuine(references, others.mean(0)), _impostors(references, others)
    low, high = foreign.mean().item(), own.mean().item()
    scale = high - low if high > low else 1.0
    threshold = (_equal_error(own, foreign) - low) / scale
    return Calibration(low, high, threshold, area_under_curve(own, foreign), len(own), len(foreign))


def _genuine(references: Tensor, centre: Tensor) -> Tensor:
    rows = range(len(references))
    return torch.cat([
        similarities(references[row : row + 1], references[[each for each in rows if each != row]], centre)
        for row in rows
    ])  # fmt: skip


def _impostors(references: Tensor, others: Tensor) -> Tensor:
    """Each with the centre of all but itself: else few others would lie around their own centre."""
    together = others.sum(0)
    return torch.cat([
        similarities(other[None], references, (together - other) / (len(others) - 1)) for other in others
    ])  # fmt: skip


def area_under_curve(genuine: Tensor, impostors: Tensor) -> float:
    """How often a genuine picture is more alike than an impostor's (Mann and Whitney's U over the number of pairs; ties
    count half): N and M similarities."""
    above = (genuine[:, None] > impostors).double() + 0.5 * (genuine[:, None] == impostors).double()
    return above.mean().item()


def _equal_error(genuine: Tensor, impostors: Tensor) -> float:
    """The similarity at which the two rates of errors are nearest to each other; between the two sides where they are
    apart."""
    levels = torch.cat([genuine, impostors]).sort().values
    middles = (levels[1:] + levels[:-1]) / 2
    missed = (genuine[None] < middles[:, None]).double().mean(1)
    passed = (impostors[None] >= middles[:, None]).double().mean(1)
    differences = (missed - passed).abs()
    best = middles[differences == differences.min()]
    return ((best.min() + best.max()) / 2).item()


def cut_out(picture: Tensor, mask: Tensor) -> Tensor:
    """What of a picture 1,H,W,3 lies in a mask H,W (of the same shape at any size), with a narrow margin; the rest of
    that part is grey. Raises IdentityError for an empty mask."""
    height, width = picture.shape[1:3]
    if mask.shape != (height, width):
        mask = functional.interpolate(mask[None, None].float(), (height, width), mode="bilinear")[0, 0]
    rows, columns = ((mask > 0.5).any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        raise IdentityError("the mask of a picture is empty. Paint where the character is (white), or disconnect it.")
    top, bottom = _with_margin(int(rows[0]), int(rows[-1]) + 1, height)
    left, right = _with_margin(int(columns[0]), int(columns[-1]) + 1, width)
    inside = mask[top:bottom, left:right, None].to(picture.dtype)
    return picture[:, top:bottom, left:right] * inside + _GREY * (1 - inside)


def _with_margin(start: int, end: int, of: int) -> tuple[int, int]:
    margin = round(_MARGIN * (end - start))
    return max(0, start - margin), min(of, end + margin)
