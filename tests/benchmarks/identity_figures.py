"""How well the Identity node's scores tell people apart: figures of `make bench-sampling`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from isengard.nodes.evaluation import identity, packages
from isengard.sota.demo_base import drawing, people

LOOKS, REFERENCES = 12, 6  # of each person; the rest are judged
OTHERS = 40  # pictures of people who are neither of those judged
_SEED = 23


def measured(name: str = packages.EFFICIENTNET) -> dict[str, float]:
    """Each of the held-out people is calibrated by references of its own and pictures of training people; then other
    looks of it and of all the others are scored. identity_auc: of all scores together, as one scale for everybody."""
    encoder, everyone = packages.encoder(name), people.held_out()
    generator = np.random.default_rng(_SEED)
    looks = torch.stack([_vectors(encoder, _portraits(who, generator)) for who in everyone])  # people, LOOKS, d
    strangers = [people.training_portrait(_SEED, index) for index in range(OTHERS)]
    others = _vectors(encoder, [drawing.pixels(each.identity, each.look) for each in strangers])
    known = [identity.calibrated("", encoder, own[:REFERENCES], others) for own in looks]
    own, foreign, right = [], [], []
    for place, who in enumerate(known):
        if who.calibration is None:
            continue
        for other, vectors in enumerate(looks[:, REFERENCES:]):
            scores = who.scores(vectors)
            (own if other == place else foreign).extend(score.value for score in scores)
            right.append((other == place, np.mean([score.is_same == (other == place) for score in scores])))
    return {
        "identity_auc": identity.area_under_curve(torch.tensor(own), torch.tensor(foreign)),
        "identity_scored": sum(who.calibration is not None for who in known) / len(known),
        "identity_own_kept": float(np.mean([share for mine, share in right if mine])),
        "identity_others_refused": float(np.mean([share for mine, share in right if not mine])),
    }


def _portraits(who: people.Identity, generator: np.random.Generator) -> list[np.ndarray]:
    return [drawing.pixels(who, people.random_look(generator)) for _ in range(LOOKS)]


def _vectors(encoder: identity.Encoder, pictures: list[np.ndarray]) -> torch.Tensor:
    tensors = (torch.from_numpy(picture.copy())[None].float() / 255 for picture in pictures)
    return encoder.vectors(tensors, len(pictures))


def tell(figures: dict[str, float], tell: Callable[[str], None] = print) -> None:
    tell("  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
