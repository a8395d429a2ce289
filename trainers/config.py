"""Everything that decides a training run, as one frozen value that is checked when it is made.

The settings stand in groups, one for each part of the trainer that uses them. Every group checks itself; what settings
of two groups have to agree on, `TrainConfig` checks.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from .setting import ConfigError, check, choice, flag, number, text, texts, whole

ADAPTERS = ("lora", "dora", "loha", "lokr", "oft")
TARGETS = ("attention", "attention_mlp", "all_linear", "all_layers", "text")
SCALINGS = ("standard", "rslora")
INITIALISATIONS = ("kaiming", "pissa")
LOSSES = ("mse", "huber", "smooth_l1")
WEIGHTINGS = ("none", "min_snr", "debiased")
TIMESTEP_SAMPLINGS = ("uniform", "logit_normal", "mode", "beta")
TIMESTEP_SHIFTS = ("none", "model", "fixed", "resolution")
LR_SCHEDULES = ("constant", "cosine", "linear", "restarts")
CROPS = ("square", "buckets")
CHECKPOINTINGS = ("none", "blocks", "every_second_block")
PRECISIONS = ("auto", "bf16", "fp32", "loaded")
AFTER_FINISH_NOW = ("keep", "go_on")


@dataclass(frozen=True)
class AdapterConfig:
    """What is trained beside the frozen layers.

    kind: lora (arXiv 2106.09685), dora (2402.09353), loha (2108.06098), lokr (2309.14859), oft (2306.07280).
    rank: of the low-rank product; of oft: the number of blocks. alpha: the output is scaled by alpha / rank, never
    trained; 0: as rank. scaling: rslora: alpha / sqrt(rank) (arXiv 2312.03732). initialisation: pissa: from the largest
    singular values of the frozen weight (arXiv 2404.02948). dropout: share left out in a step, of LoRA's and DoRA's
    inputs, of LoHa's and LoKr's outputs.
    targets: the layers that are given one, never norms or biases; all_layers: convolutions too; text: those that the
    words alone pass. include, exclude: regular expressions that a layer's path has to contain, or must not; ranks:
    "expression=rank", for the layers whose path contains the expression.
    """

    kind: str = choice("lora", ADAPTERS)
    rank: int = whole(16, 1, 1024)
    alpha: float = number(0.0, 0.0, 1e6)
    scaling: str = choice("standard", SCALINGS)
    initialisation: str = choice("kaiming", INITIALISATIONS)
    dropout: float = number(0.0, 0.0, 0.95)
    targets: str = choice("attention_mlp", TARGETS)
    include: tuple[str, ...] = texts()
    exclude: tuple[str, ...] = texts()
    ranks: tuple[str, ...] = texts()

    def __post_init__(self):
        check(self)
        for pattern in (*self.include, *self.exclude, *(pattern for pattern, _ in self.rank_patterns())):
            _check_pattern(pattern)
        if self.initialisation == "pissa" and self.kind != "lora":
            raise ConfigError(f"initialisation is pissa and kind is {self.kind}; it is there for kind lora alone.")
        if self.scaling == "rslora" and self.kind not in ("lora", "dora"):
            raise ConfigError(f"scaling is rslora and kind is {self.kind}; it is there for kinds lora and dora alone.")
        if self.kind == "oft" and (self.dropout or self.alpha):
            raise ConfigError("kind oft has no dropout and no alpha; set both to 0.")

    def rank_patterns(self) -> list[tuple[str, int]]:
        """`ranks` taken apart. Raises ConfigError for one that is not "expression=rank"."""
        return [_rank_pattern(each) for each in self.ranks]

    @property
    def scaled_by(self) -> float:
        return self.alpha or float(self.rank)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is asked of the network.

    loss, huber_delta: of `objective.errors`. weighting, snr_gamma: of `objective.weights`. timestep_sampling: density
    of the position in the noise schedule, with logit_mean and logit_std (0 and 1: "sigmoid" elsewhere), mode_scale,
    beta_a and beta_b (`timesteps`).
    timestep_shift: how positions are then moved towards the noise: as the model's own sampler does, by `shift`, or by
    the picture's size. noise_offset: deviation of the noise that a whole channel of a picture shares
    (crosslabs.org/blog/diffusion-with-offset-noise). background_weight: of what a mask leaves out. guidance: that the
    network is told (Flux, HunyuanVideo); 1: none, since the pictures to learn are not guided.
    """

    loss: str = choice("mse", LOSSES)
    huber_delta: float = number(0.1, 1e-6, 100.0)
    weighting: str = choice("none", WEIGHTINGS)
    snr_gamma: float = number(5.0, 1e-3, 1e3)
    timestep_sampling: str = choice("logit_normal", TIMESTEP_SAMPLINGS)
    timestep_shift: str = choice("none", TIMESTEP_SHIFTS)
    shift: float = number(3.0, 0.01, 100.0)
    logit_mean: float = number(0.0, -10.0, 10.0)
    logit_std: float = number(1.0, 0.01, 10.0)
    mode_scale: float = number(1.29, -1.0, 1.75)
    beta_a: float = number(1.0, 0.05, 50.0)
    beta_b: float = number(1.0, 0.05, 50.0)
    noise_offset: float = number(0.0, 0.0, 1.0)
    background_weight: float = number(0.1, 0.0, 1.0)
    guidance: float = number(1.0, 0.0, 100.0)

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class OptimizerConfig:
    """How the adapters' weights move.

    learning_rate: peak of the schedule. lr_schedule, warmup_steps: linear warm-up, then the schedule over the steps
    that are left; restarts: cosine, `restarts` times over (arXiv 1608.03983). weight_decay: AdamW's (1711.05101).
    max_grad_norm: gradients are scaled down to this norm; 0 turns clipping off. accumulation: batches a step.
    ema_decay: of the averaged weights that the LoRA is made of; 0: the last ones.
    """

    learning_rate: float = number(1e-4, 0.0, 10.0)
    lr_schedule: str = choice("cosine", LR_SCHEDULES)
    warmup_steps: int = whole(0, 0, 1_000_000)
    restarts: int = whole(3, 1, 1000)
    weight_decay: float = number(0.01, 0.0, 10.0)
    max_grad_norm: float = number(1.0, 0.0, 1e6)
    accumulation: int = whole(1, 1, 1024)
    ema_decay: float = number(0.0, 0.0, 0.99999)

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class DataConfig:
    """How pictures and captions are shown.

    batch_size: pictures a batch. resolution: side of the square, or of the square of the same area, in pixels. crop:
    square: every picture is cut to it; buckets: to the nearest of several shapes of that area, with sides in multiples
    of bucket_step (NovelAI's aspect ratio bucketing). caption_dropout: share of pictures shown with no words. shuffle:
    the caption's parts between commas come in one of several orders, but for the first `keep_parts`.
    """

    batch_size: int = whole(1, 1, 1024)
    resolution: int = whole(512, 64, 8192)
    crop: str = choice("square", CROPS)
    bucket_step: int = whole(64, 8, 512)
    caption_dropout: float = number(0.0, 0.0, 1.0)
    shuffle: bool = flag(False)
    keep_parts: int = whole(1, 0, 100)

    def __post_init__(self):
        check(self)
        for name in ("resolution", "bucket_step"):
            value = getattr(self, name)
            if value % 8:
                nearest = max(8, round(value / 8) * 8)
                raise ConfigError(f"{name} is {value}; it must be a multiple of 8. The nearest is {nearest}.")


@dataclass(frozen=True)
class PriorConfig:
    """Prior preservation: other people are held as the base draws them (`loop.prior_loss`).

    weight: of its loss; 0 turns it off. trigger: the character's word in the captions. class_noun: what stands there
    for anyone else, "" for nothing.
    """

    weight: float = number(0.0, 0.0, 1e3)
    trigger: str = text()
    class_noun: str = text()

    def __post_init__(self):
        check(self)
        if self.weight and not self.trigger.strip():
            raise ConfigError(
                f"the weight of prior preservation is {self.weight:g} and trigger is empty; other people are told "
                "apart by it. Set trigger to the character's word in the captions, or weight to 0."
            )


@dataclass(frozen=True)
class ValidationConfig:
    """Measuring the loss on pictures that are not trained on.

    share: of the pictures, held out where the data set names none. every: steps between two measurements; 0: none.
    levels: noise levels for each picture, spread evenly over the schedule, with noise always the same. patience:
    measurements without a better one after which the run ends early; 0: never.
    """

    share: float = number(0.1, 0.0, 0.9)
    every: int = whole(0, 0, 1_000_000)
    levels: int = whole(4, 1, 100)
    patience: int = whole(0, 0, 1000)

    def __post_init__(self):
        check(self)
        if self.patience and not self.every:
            raise ConfigError("patience is set and validation is off; set `every` to the steps between measurements.")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one LoRA training run.

    steps: optimizer steps. seed: decides initialisation, order, noise and timesteps; the same seed gives the same LoRA.
    checkpoint_every: steps between checkpoints: the run's state, to go on from, and the LoRA as it is then; 0: a state
    only when a run is stopped, and no LoRA but the last. precision: that the network computes in; auto: bf16 where it
    would be fp32 and the device is fast at bf16, else as loaded; loaded: as ComfyUI would sample with it. Adapters and
    the optimizer are float32 whatever it is. gradient_checkpointing: blocks of the network whose activations are
    computed again for the backward pass, which takes less memory and more time (arXiv 1604.06174). after_finish_now: of
    a run that a person ended early, when it is asked for again: keep its result, or go on to its last step.

    Raises ConfigError where a value is out of its range, or values do not go together.
    """

    steps: int = whole(1000, 1, 1_000_000)
    seed: int = whole(0, 0, 2**64 - 1)
    checkpoint_every: int = whole(250, 0, 1_000_000)
    precision: str = choice("auto", PRECISIONS)
    gradient_checkpointing: str = choice("none", CHECKPOINTINGS)
    after_finish_now: str = choice("keep", AFTER_FINISH_NOW)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self):
        check(self)
        for name, kind in _GROUPS.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be a {kind.__name__}.")

    def check_warmup(self) -> None:
        """Raise ConfigError for a warm-up that does not end before the last step; asked when a run begins, since
        settings are put together one after the other."""
        if self.optimizer.warmup_steps >= self.steps:
            raise ConfigError(
                f"warmup_steps is {self.optimizer.warmup_steps} and steps is {self.steps}; warm-up must end before the "
                "last step. Lower warmup_steps or raise steps."
            )

    def to_yaml(self) -> str:
        """The config as YAML, one setting a line; `from_yaml` gives back an equal value."""
        return yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> TrainConfig:
        """Read what `to_yaml` wrote; what is left out has its default. Raises ConfigError for text that is no mapping,
        or has an unknown setting."""
        return cls.from_mapping(_parsed(text))

    @classmethod
    def from_mapping(cls, values: Any) -> TrainConfig:
        """From settings by name, with a mapping for each group. Raises ConfigError as `from_yaml` does."""
        return _from_mapping(cls, values, "the config")


_GROUPS = {
    "adapter": AdapterConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
    "prior": PriorConfig,
    "validation": ValidationConfig,
}


def _from_mapping(cls: type, values: Any, name: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{name} holds a {type(values).__name__}; it must be a mapping of names to values.")
    known = [each.name for each in dataclasses.fields(cls)]
    unknown = sorted(str(each) for each in set(values) - set(known))
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(unknown)} in {name}. The settings are: {', '.join(known)}.")
    groups = {key: _from_mapping(_GROUPS[key], values[key], key) for key in values if key in _GROUPS}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return cls(**values | groups | lists)


def _plain(values: dict) -> dict:
    """With lists for tuples, which YAML's safe form does not have."""
    return {
        key: _plain(value) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
    }


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the config is not valid YAML ({error}). Write one 'name: value' a line.") from error


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is no regular expression ({error}). Write a part of a layer's path, such as attn."
        ) from error


def _rank_pattern(entry: str) -> tuple[str, int]:
    pattern, equals, rank = entry.rpartition("=")
    if not (equals and pattern and rank.strip().isdigit() and 1 <= int(rank) <= 1024):
        raise ConfigError(f"ranks has {entry!r}; write expression=rank with a rank from 1 to 1024, such as attn=32.")
    return pattern.strip(), int(rank)
