"""Reads registry.yml: the model families that the pack knows, how to train them, and how to caption for them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..trainers import setting
from ..trainers.config import TrainConfig
from ..trainers.lora_file import BaseModel

FILE = Path(__file__).with_name("registry.yml")
BUDGETS = ("draft", "standard", "thorough")
DEMO_BASE = "demo_base"
TAGS, SENTENCES, EITHER = "tags", "sentences", "either"
CAPTION_STYLES = (TAGS, SENTENCES, EITHER)
NO_REFERENCES, REFERENCE_LATENTS, QWEN_EDIT = "none", "reference_latents", "qwen_edit"
KONTEXT, MEGAPIXEL = "kontext", "megapixel"
_LARGEST_DEMO_BASE = 50e6  # parameters; the smallest Stable Diffusion 3 has two thousand millions


class UnknownFamily(ValueError):
    """A model of which no settings are known; the message says what to do."""


@dataclass(frozen=True)
class CaptionPolicy:
    """How captions for a family are written.

    style: one of CAPTION_STYLES. tokens: how long they are at most, as the text encoder counts, with start, end and
    what ComfyUI writes around them. name, leave_out: for people: what a character's captions say, and what they leave
    to the trigger. source: of all this. Raises ConfigError for what cannot be.
    """

    style: str = setting.choice(TAGS, CAPTION_STYLES)
    tokens: int = setting.whole(77, 1, 1_000_000)
    name: str = setting.text()
    leave_out: str = setting.text()
    source: str = setting.text()

    def __post_init__(self):
        setting.check(self)
        empty = [what for what in ("name", "leave_out", "source") if not getattr(self, what).strip()]
        if empty:
            raise setting.ConfigError(f"the caption policy has no {', '.join(empty)}. Write in words what they are.")


@dataclass(frozen=True)
class ReferencePolicy:
    """How models of a family are shown pictures beside the prompt.

    mechanism: NO_REFERENCES, REFERENCE_LATENTS (each picture's latent is appended to the conditioning) or QWEN_EDIT
    (that, and the text encoder sees the pictures). scaling: before the latent, to the nearest of Flux.1 Kontext's sizes
    (KONTEXT) or to about 1024 x 1024 pixels in all, of the same proportions (MEGAPIXEL), with sides that are multiples
    of `multiple` pixels. most: pictures at once. models: for people: those of the family that were trained for it.
    source: of all this. Raises ConfigError for what cannot be.
    """

    mechanism: str = setting.choice(NO_REFERENCES, (NO_REFERENCES, REFERENCE_LATENTS, QWEN_EDIT))
    scaling: str = setting.choice(MEGAPIXEL, (KONTEXT, MEGAPIXEL))
    multiple: int = setting.whole(16, 1, 256)
    most: int = setting.whole(10, 1, 100)
    models: str = setting.text()
    source: str = setting.text()

    def __post_init__(self):
        setting.check(self)
        needed = ("source",) if self.mechanism == NO_REFERENCES else ("models", "source")
        empty = [what for what in needed if not getattr(self, what).strip()]
        if empty:
            raise setting.ConfigError(f"the references have no {', '.join(empty)}. Write in words what they are.")


@dataclass(frozen=True)
class Family:
    """A model family. comfyui: classes by which ComfyUI knows it. base: how a LoRA file names it. presets: by budget.
    source: of the settings; measured: whether they were measured with this trainer. captions: how to write them.
    references: how it is shown pictures."""

    key: str
    name: str
    comfyui: tuple[str, ...]
    base: BaseModel
    presets: Mapping[str, TrainConfig]
    source: str
    measured: bool
    captions: CaptionPolicy
    references: ReferencePolicy


Policy = TypeVar("Policy", CaptionPolicy, ReferencePolicy)


@functools.cache
def families() -> dict[str, Family]:
    """Every family by its key, in the file's order. Raises ConfigError for settings that cannot be used."""
    return {key: _family(key, entry) for key, entry in yaml.safe_load(FILE.read_text(encoding="utf-8")).items()}


def family_of(classes: Sequence[str], parameters: int) -> Family:
    """The family of a model by its class in ComfyUI and those it is made from, and its size.

    Raises UnknownFamily where none of them is known.
    """
    for name in classes:
        for family in families().values():
            if name in family.comfyui:
                small = family.key == "sd3" and parameters < _LARGEST_DEMO_BASE
                return families()[DEMO_BASE] if small else family
    raise UnknownFamily(
        f"no settings are known for a model of the class {classes[0]}. Choose a family whose settings suit it, or set "
        "everything with the settings nodes."
    )


def _family(key: str, entry: Mapping[str, Any]) -> Family:
    presets = {budget: TrainConfig.from_mapping(_over(entry["base"], entry[budget])) for budget in BUDGETS}
    return Family(
        key,
        entry["name"],
        tuple(entry["comfyui"]),
        BaseModel(**entry["file"]),
        presets,
        entry["source"],
        entry["measured"],
        _policy(key, "captions", CaptionPolicy, entry),
        _policy(key, "references", ReferencePolicy, entry),
    )


def _policy(key: str, name: str, kind: type[Policy], entry: Mapping[str, Any]) -> Policy:
    try:
        return kind(**entry.get(name))
    except (TypeError, setting.ConfigError) as error:
        raise setting.ConfigError(f"{name} of {key} in registry.yml cannot be read ({error}). Mend them.") from error


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them, group by group."""
    both = {
        name: {**below[name], **above[name]} for name in below.keys() & above.keys() if isinstance(above[name], dict)
    }
    return {**below, **above, **both}
