"""Everything that decides a training run, as one frozen value that is checked when it is made."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import yaml

TIMESTEP_SAMPLINGS = ("uniform", "logit_normal", "shifted")
TARGETS = ("attention", "attention_mlp", "all_linear", "text")
LR_SCHEDULES = ("constant", "cosine", "linear")


class ConfigError(ValueError):
    """A training setting that cannot be used; the message says what was got and what to do."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one LoRA training run.

    steps: optimizer steps.
    learning_rate: peak of the schedule.
    rank, alpha: of the low-rank product; its output is scaled by alpha / rank (LoRA, arXiv 2106.09685, 4.1).
    batch_size: pictures a step.
    resolution: side in pixels that pictures are scaled and cropped to; a multiple of 8.
    seed: decides initialisation, order, noise and timesteps; the same seed gives the same LoRA.
    timestep_sampling: density of the position in the noise schedule.
    targets: the layers that are given an adapter, never norms or biases; text: those that the text alone passes.
    lr_schedule, warmup_steps: linear warm-up, then the schedule over the steps that are left.
    weight_decay: AdamW's, on the adapter weights.
    max_grad_norm: gradients are scaled down to this norm; 0 turns clipping off.
    prior_loss_weight: of the loss that holds other people as the base draws them (`loop.prior_loss`); 0 turns it off.
    trigger: the character's word in the captions. class_noun: what stands there for anyone else, "" for nothing.

    Raises ConfigError where a value is out of its range.
    """

    steps: int = 1000
    learning_rate: float = 1e-4
    rank: int = 16
    alpha: float = 16.0
    batch_size: int = 1
    resolution: int = 512
    seed: int = 0
    timestep_sampling: str = "logit_normal"
    targets: str = "attention_mlp"
    lr_schedule: str = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    prior_loss_weight: float = 0.0
    trigger: str = ""
    class_noun: str = ""

    def __post_init__(self):
        for name, low, high in _RANGES:
            _check_range(name, getattr(self, name), low, high)
        for name, choices in _CHOICES:
            _check_choice(name, getattr(self, name), choices)
        for name in ("trigger", "class_noun"):
            _check_text(name, getattr(self, name))
        if self.resolution % 8:
            nearest = max(64, round(self.resolution / 8) * 8)
            raise ConfigError(f"resolution is {self.resolution}; it must be a multiple of 8. The nearest is {nearest}.")
        if self.prior_loss_weight and not self.trigger.strip():
            raise ConfigError(
                f"prior_loss_weight is {self.prior_loss_weight:g} and trigger is empty; other people are told apart by "
                "it. Set trigger to the character's word in the captions, or prior_loss_weight to 0."
            )
        if self.warmup_steps >= self.steps:
            raise ConfigError(
                f"warmup_steps is {self.warmup_steps} and steps is {self.steps}; warm-up must end before the last "
                "step. Lower warmup_steps or raise steps."
            )

    def to_yaml(self) -> str:
        """The config as YAML, one setting a line; `from_yaml` gives back an equal value."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> TrainConfig:
        """Read what `to_yaml` wrote. Raises ConfigError for text that is no mapping, or has an unknown setting."""
        values = _parse_mapping(text)
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(str(name) for name in set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {', '.join(unknown)}. The settings are: {', '.join(known)}.")
        return cls(**values)


# name, smallest, largest; whole numbers where both ends are int
_RANGES = (
    ("steps", 1, 1_000_000),
    ("learning_rate", 0.0, 10.0),
    ("rank", 1, 1024),
    ("alpha", 1e-6, 1e6),
    ("batch_size", 1, 1024),
    ("resolution", 64, 8192),
    ("seed", 0, 2**64 - 1),
    ("warmup_steps", 0, 1_000_000),
    ("weight_decay", 0.0, 10.0),
    ("max_grad_norm", 0.0, 1e6),
    ("prior_loss_weight", 0.0, 1e3),
)

_CHOICES = (
    ("timestep_sampling", TIMESTEP_SAMPLINGS),
    ("targets", TARGETS),
    ("lr_schedule", LR_SCHEDULES),
)


def _check_range(name: str, value, low, high) -> None:
    whole = isinstance(low, int)
    kind, expected = (int, "a whole number") if whole else ((int, float), "a number")
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ConfigError(f"{name} is {value!r}; it must be {expected} from {low:g} to {high:g}.")
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{name} is {value!r}; it must be {expected} from {low:g} to {high:g}. Set it in that range.")


def _check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def _check_text(name: str, value) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; it must be text.")


def _parse_mapping(text: str) -> dict:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the config is not valid YAML ({error}). Write one 'name: value' a line.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the config holds a {type(values).__name__}; it must be a mapping of names to values.")
    return values
