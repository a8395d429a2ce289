"""The settings room's door to ComfyUI.

Train Config starts from a preset; every other node has one group of settings, and passes the rest on.
"""

from __future__ import annotations

from comfy_api.latest import io

from ...sota import registry
from ...trainers import comfy_model, setting
from ...trainers.config import (
    AdapterConfig,
    DataConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PriorConfig,
    TrainConfig,
    ValidationConfig,
)
from ..sockets import TRAIN_CONFIG
from . import groups

AUTO = "auto"
_CATEGORY = "Isengard/settings"


def _input(kind: type, name: str, tooltip: str, step: float = 0.01, default: float | None = None) -> io.Input:
    """An input with the limits of a setting, which leaves it as it is until it is changed; default: unless it is there
    to be set."""
    limits, keep = setting.limits(kind, name), groups.kept(kind, name)
    if limits.kind == "choice":
        return io.Combo.Input(name, options=[keep, *limits.choices], default=keep, tooltip=tooltip)
    if limits.kind == "flag":
        return io.Combo.Input(name, options=[keep, *groups.FLAGS], default=keep, tooltip=tooltip)
    if limits.kind in ("text", "texts"):
        several = limits.kind == "texts"
        return io.String.Input(name, default=keep, multiline=several, tooltip=tooltip)
    said = f"{tooltip} {keep:g}: as before."
    start = keep if default is None else default
    if limits.kind == "whole":
        return io.Int.Input(name, default=start, min=keep, max=int(limits.high), step=int(max(1, step)), tooltip=said)
    # the editor rounds to as many digits as the step has, whatever `round` says
    return io.Float.Input(name, default=start, min=keep, max=limits.high, step=step, round=False, tooltip=said)


def _schema(node_id: str, name: str, description: str, inputs: list[io.Input]) -> io.Schema:
    """A node that takes a config, if there is one, and passes it on with a group changed."""
    before = TRAIN_CONFIG.Input("config", optional=True, tooltip="Other settings, which are passed on as they are.")
    return io.Schema(
        node_id=node_id,
        display_name=name,
        category=_CATEGORY,
        description=description,
        inputs=[before, *inputs],
        outputs=[TRAIN_CONFIG.Output(display_name="config")],
    )


class TrainConfigNode(io.ComfyNode):
    """Settings to begin with, for a model family and a budget of time."""

    @classmethod
    def define_schema(cls):
        families = [AUTO, *registry.families()]
        return io.Schema(
            node_id="IsengardTrainConfig",
            display_name="Train Config",
            category=_CATEGORY,
            description="Settings that suit a model family. The other settings nodes change them, group by group.",
            inputs=[
                io.Model.Input("model", optional=True, tooltip="The model to train on: tells the family."),
                io.Combo.Input("family", options=families, default=AUTO, tooltip="auto: as the connected model is."),
                io.Combo.Input(
                    "budget",
                    options=list(registry.BUDGETS),
                    default="standard",
                    tooltip="draft: to see whether the pictures are good. thorough: with validation, where it helps.",
                ),
                io.Int.Input(
                    "batch_size", default=0, min=0, max=1024, tooltip="Pictures a batch. 0: as the preset has it."
                ),
                io.Int.Input(
                    "resolution",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Side in pixels of the square, or of the square of the same area. 0: as the preset has it.",
                ),
            ],
            outputs=[TRAIN_CONFIG.Output(display_name="config")],
        )

    @classmethod
    def execute(cls, family, budget, batch_size, resolution, model=None):
        if family == AUTO and model is None:
            raise registry.UnknownFamily("family is auto and no model is connected. Connect it, or choose a family.")
        found = registry.families()[family] if family != AUTO else _family_of(model)
        return io.NodeOutput(groups.with_preset(found.presets[budget], batch_size, resolution))


def _family_of(model) -> registry.Family:
    return registry.family_of(comfy_model.model_classes(model), comfy_model.parameter_count(model))


class AdapterSettings(io.ComfyNode):
    """What is trained beside the frozen layers."""

    @classmethod
    def define_schema(cls):
        kind = AdapterConfig
        return _schema("IsengardAdapterSettings", "Adapter Settings", "What is trained, and on which layers.", [
            _input(kind, "kind", "lora: what every program reads. dora, loha, lokr, oft: others that ComfyUI reads."),
            _input(kind, "alpha", "What the adapter adds is multiplied by alpha / rank. 0: as the rank."),
            _input(kind, "scaling", "rslora: multiplied by alpha / root of the rank, for large ranks."),
            _input(kind, "initialisation", "pissa: begin with the largest parts of the weights; only for lora."),
            _input(kind, "dropout", "Share of an adapter left out in a step, against learning by heart."),
            _input(kind, "targets", "Which layers get an adapter. Norms and biases never do."),
            _input(kind, "include", "Only layers whose path contains one of these, one expression a line."),
            _input(kind, "exclude", "No layer whose path contains one of these, one expression a line."),
            _input(kind, "ranks", "Ranks of their own for some layers: expression=rank, one a line."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "adapter", AdapterConfig, settings))


class LossSettings(io.ComfyNode):
    """What the network is asked, at which noise levels."""

    @classmethod
    def define_schema(cls):
        kind = ObjectiveConfig
        return _schema("IsengardLossSettings", "Loss Settings", "The loss, and the noise levels that are trained.", [
            _input(kind, "loss", "mse: squared error. huber, smooth_l1: pictures that do not fit in count less."),
            _input(kind, "huber_delta", "Of huber and smooth_l1: errors beyond it count straight, not squared.", 1e-3),
            _input(kind, "weighting", "How much each noise level counts. min_snr: less where there is little noise."),
            _input(kind, "snr_gamma", "Of min_snr: the ratio of picture to noise from which levels count alike.", 0.1),
            _input(kind, "timestep_sampling", "How often each noise level is trained: all alike, the "
                   "middle more (logit_normal: what other trainers call sigmoid), …"),
            _input(kind, "timestep_shift", "Moves noise levels up: as the model's sampler does, by `shift`, or by the "
                   "picture's size as for Flux."),
            _input(kind, "shift", "Of the fixed shift: above 1 more noise."),
            _input(kind, "logit_mean", "Of logit_normal: below 0 less noise."),
            _input(kind, "logit_std", "Of logit_normal: how wide."),
            _input(kind, "mode_scale", "Of mode: above 0 the middle more often, below 0 both ends."),
            _input(kind, "beta_a", "Of beta: above beta_b more noise."),
            _input(kind, "beta_b", "Of beta: above beta_a less noise."),
            _input(kind, "noise_offset", "Noise that a whole picture shares, for very dark ones. 0: none.", 1e-4),
            _input(kind, "guidance", "That the network is told while training (Flux, HunyuanVideo). 1: none.", 0.1),
            _input(kind, "background_weight", "How much what a mask leaves out counts, from 0 to 1."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "objective", ObjectiveConfig, settings))


class OptimizerSettings(io.ComfyNode):
    """How fast the weights move, and when."""

    @classmethod
    def define_schema(cls):
        kind = OptimizerConfig
        return _schema("IsengardOptimizerSettings", "Optimizer Settings", "AdamW and its learning rate over time.", [
            _input(kind, "lr_schedule", "How the learning rate falls after the warm-up."),
            _input(kind, "warmup_steps", "Steps over which the learning rate rises to its full value."),
            _input(kind, "restarts", "Of restarts: how often it falls."),
            _input(kind, "weight_decay", "AdamW's pull of the adapter's weights towards zero.", 1e-4),
            _input(kind, "max_grad_norm", "Larger gradients are scaled down to this norm. 0 turns that off.", 0.01),
            _input(kind, "accumulation", "Batches a step: as a larger batch, in the memory of one."),
            _input(kind, "ema_decay", "The LoRA is made of an average of the last steps, such as 0.99. 0: of the last.",
                   1e-4),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "optimizer", OptimizerConfig, settings))


class PictureSettings(io.ComfyNode):
    """How pictures and captions are shown."""

    @classmethod
    def define_schema(cls):
        kind = DataConfig
        return _schema("IsengardPictureSettings", "Picture Settings", "How pictures and captions are shown.", [
            _input(kind, "batch_size", "Pictures a batch."),
            _input(kind, "resolution", "Side in pixels of the square, or of the square of the same area.", 8),
            _input(kind, "crop", "square: all are cut to it. buckets: to the nearest of several shapes."),
            _input(kind, "bucket_step", "Sides of buckets are multiples of this.", 8),
            _input(kind, "caption_dropout", "Share of pictures shown with no words, so that guidance goes on working."),
            _input(kind, "shuffle", "Show the parts of a caption between commas in several orders."),
            _input(kind, "keep_parts", "So many parts stay in front: the trigger word."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "data", DataConfig, settings))


class PriorPreservation(io.ComfyNode):
    """Holds other people as the base draws them."""

    @classmethod
    def define_schema(cls):
        kind = PriorConfig
        return _schema("IsengardPriorPreservation", "Prior Preservation", "Others stay as the model draws them.", [
            _input(kind, "weight", "How strongly. 0 turns it off; with it a step takes more than twice as long.", 0.01,
                   default=1.0),
            _input(kind, "trigger", "The character's word in the captions."),
            _input(kind, "class_noun", "What stands in the trigger's place for anyone else, such as woman. Empty where "
                   "the captions have it beside the trigger already, as in 'mira woman, smiling'."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "prior", PriorConfig, settings))


class ValidationSettings(io.ComfyNode):
    """Measures the loss on pictures that are not trained on."""

    @classmethod
    def define_schema(cls):
        kind = ValidationConfig
        return _schema("IsengardValidationSettings", "Validation Settings", "Measure on pictures that are held out.", [
            _input(kind, "every", "Steps between two measurements. 0: none.", default=100),
            _input(kind, "share", "Of the pictures, held out where the data set marks none."),
            _input(kind, "levels", "Noise levels at which each held-out picture is measured."),
            _input(kind, "patience", "End after so many measurements without a better one. 0: never."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_group(config, "validation", ValidationConfig, settings))


class RunSettings(io.ComfyNode):
    """Precision, memory, and how often a run keeps a checkpoint."""

    @classmethod
    def define_schema(cls):
        about = "Precision, memory, and how often a run keeps a checkpoint."
        return _schema("IsengardRunSettings", "Run Settings", about, [
            _input(TrainConfig, "gradient_checkpointing", "Compute parts of the model twice: less memory, more time."),
            _input(TrainConfig, "checkpoint_every", "Steps between checkpoints: the run's state, and the LoRA as "
                   "it is then. 0: a state when a run is stopped, and no LoRA but the last."),
            _input(TrainConfig, "after_finish_now", "Of a run that Finish now ended, queued again. keep: its LoRA is "
                   "used as it is. go_on: the steps that were left are made."),
            _input(TrainConfig, "precision", "How the base computes. auto: bf16 where ComfyUI would take fp32 and the "
                   "machine is fast at bf16. loaded: as ComfyUI samples with it. The LoRA itself is trained in fp32."),
        ])  # fmt: skip

    @classmethod
    def execute(cls, config=None, **settings):
        return io.NodeOutput(groups.with_settings(config, settings))
