"""The training room's door to ComfyUI."""

import dataclasses
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import io, ui
from server import PromptServer

from ...trainers import comfy_model, config, lora_file, recipe
from ...trainers.config import TrainConfig
from ..dataset import images
from ..dataset.records import Dataset
from ..names import BadName, confined, unused
from ..sockets import DATASET, LORA_MODEL, RUN, TRAIN_CONFIG
from .live import Live

_DEFAULT = TrainConfig()


class TrainConfigNode(io.ComfyNode):
    """The settings of a run that the Train node does not show."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardTrainConfig",
            display_name="Train Config",
            category="Isengard/training",
            description="Settings of a training run beyond those on the Train node.",
            inputs=[
                io.Float.Input(
                    "alpha",
                    default=_DEFAULT.alpha,
                    min=0.01,
                    max=1024.0,
                    step=0.01,
                    tooltip="The LoRA's output is scaled by alpha / rank.",
                ),
                io.Int.Input("batch_size", default=_DEFAULT.batch_size, min=1, max=1024, tooltip="Pictures a step."),
                io.Int.Input(
                    "resolution",
                    default=_DEFAULT.resolution,
                    min=64,
                    max=8192,
                    step=8,
                    tooltip="Pictures are scaled to cover a square of this side and cut to it.",
                ),
                io.Combo.Input(
                    "targets",
                    options=list(config.TARGETS),
                    default=_DEFAULT.targets,
                    tooltip="Which layers get an adapter. Norms and biases never do.",
                ),
                io.Combo.Input(
                    "timestep_sampling",
                    options=list(config.TIMESTEP_SAMPLINGS),
                    default=_DEFAULT.timestep_sampling,
                    tooltip="How the noise level of a step is drawn: all alike, the middle more often, or the middle "
                    "shifted to where the model's sampler takes most of its steps.",
                ),
                io.Combo.Input(
                    "lr_schedule",
                    options=list(config.LR_SCHEDULES),
                    default=_DEFAULT.lr_schedule,
                    tooltip="How the learning rate falls after the warm-up.",
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=_DEFAULT.warmup_steps,
                    min=0,
                    max=100_000,
                    tooltip="Steps over which the learning rate rises to its full value.",
                ),
                io.Float.Input(
                    "weight_decay",
                    default=_DEFAULT.weight_decay,
                    min=0.0,
                    max=10.0,
                    step=0.001,
                    tooltip="AdamW's weight decay on the LoRA's weights.",
                ),
                io.Float.Input(
                    "max_grad_norm",
                    default=_DEFAULT.max_grad_norm,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Larger gradients are scaled down to this norm. 0 turns that off.",
                ),
                io.Float.Input(
                    "prior_loss_weight",
                    default=_DEFAULT.prior_loss_weight,
                    optional=True,  # prompts written before it was there go on working
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Prior preservation: how strongly pictures without the trigger are held as the base model "
                    "draws them. 0 turns it off; with it a step takes more than twice as long.",
                ),
                io.String.Input(
                    "trigger",
                    default=_DEFAULT.trigger,
                    optional=True,
                    tooltip="The character's word in the captions. Needed for prior preservation.",
                ),
                io.String.Input(
                    "class_noun",
                    default=_DEFAULT.class_noun,
                    optional=True,
                    tooltip="What stands in the trigger's place for anyone else, such as woman. Empty where the "
                    "captions have it beside the trigger already, as in 'mira woman, smiling'.",
                ),
            ],
            outputs=[TRAIN_CONFIG.Output(display_name="config")],
        )

    @classmethod
    def execute(cls, **settings):
        # steps belongs to the Train node; here it only has to leave room for the warm-up
        return io.NodeOutput(TrainConfig(steps=_DEFAULT.steps + settings["warmup_steps"], **settings))


class TrainLora(io.ComfyNode):
    """Train a character LoRA on the model as it is loaded."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardTrainLora",
            display_name="Train Character LoRA",
            category="Isengard/training",
            description="Train a LoRA on a data set, with the native loss of the model. The model stays as it is.",
            inputs=[
                io.Model.Input("model", tooltip="The model to train on. It is not changed."),
                io.Clip.Input("clip", tooltip="Encodes the captions. It is not trained."),
                io.Vae.Input("vae", tooltip="Encodes the pictures."),
                DATASET.Input("dataset", tooltip="Pictures with captions."),
                TRAIN_CONFIG.Input("config", optional=True, tooltip="Further settings, from a Train Config node."),
                io.Int.Input("steps", default=_DEFAULT.steps, min=1, max=1_000_000, tooltip="Optimizer steps."),
                io.Float.Input(
                    "learning_rate",
                    default=_DEFAULT.learning_rate,
                    min=0.0,
                    max=1.0,
                    step=1e-7,
                    round=False,
                    tooltip="The peak of the learning-rate schedule. 0.0001 suits most models.",
                ),
                io.Int.Input("rank", default=_DEFAULT.rank, min=1, max=1024, tooltip="The LoRA's rank (dimension)."),
                io.Int.Input(
                    "seed",
                    default=_DEFAULT.seed,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=False,
                    tooltip="The same seed gives the same LoRA.",
                ),
            ],
            outputs=[
                LORA_MODEL.Output(display_name="lora", tooltip="The LoRA's weights, for core's LoRA nodes too."),
                io.Model.Output(display_name="trained", tooltip="The model with the LoRA at strength 1."),
                RUN.Output(display_name="run", tooltip="Settings and numbers of the run."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, model, clip, vae, dataset, steps, learning_rate, rank, seed, config=None):
        settings = dataclasses.replace(
            config or _DEFAULT, steps=steps, learning_rate=learning_rate, rank=rank, seed=seed
        )
        lora, run = recipe.train_lora(model, clip, vae, _training_set(dataset), settings, _live(cls.hidden, steps))
        return io.NodeOutput(lora, comfy_model.with_lora(model, lora), run)


class SaveLora(io.ComfyNode):
    """Write a LoRA file where LoraLoader finds it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSaveLora",
            display_name="Save Character LoRA",
            category="Isengard/training",
            description="Write the LoRA into ComfyUI's LoRA folder, with what is known of its training inside.",
            is_output_node=True,
            inputs=[
                LORA_MODEL.Input("lora", tooltip="From Train Character LoRA."),
                RUN.Input("run", tooltip="From Train Character LoRA: its settings are written into the file."),
                io.String.Input(
                    "name",
                    default="my-character",
                    tooltip="File name without ending, '/' for folders. A file that is there already is kept: the new "
                    "one gets a number.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(lora_file.PRECISIONS),
                    default="fp16",
                    tooltip="Of the weights in the file.",
                ),
            ],
            outputs=[io.String.Output(display_name="lora_name", tooltip="As LoraLoader lists it.")],
        )

    @classmethod
    def validate_inputs(cls, name):
        try:
            name is None or confined(_lora_folder(), name, "LoRA name")
        except BadName as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, lora, run, name, precision):
        folder = _lora_folder()
        path = unused(confined(folder, f"{name}.safetensors", "LoRA name"))
        lora_file.save(lora, path, precision, lora_file.metadata(run))
        saved = path.relative_to(folder.resolve()).as_posix()
        return io.NodeOutput(saved, ui=ui.PreviewText(f"saved as {saved}"))


def _lora_folder() -> Path:
    return Path(folder_paths.get_folder_paths("loras")[0])


def _training_set(dataset: Dataset) -> recipe.TrainingSet:
    pictures = (
        recipe.Picture(sample.name, images.read(sample.image, sample.origin.sha256)[0], sample.caption)
        for sample in dataset.samples
    )
    return recipe.TrainingSet(dataset.name, dataset.hash, tuple(pictures))


def _live(hidden: io.HiddenHolder, steps: int) -> Live:
    bar = comfy.utils.ProgressBar(steps)
    live = Live(
        node_id=hidden.unique_id,
        check=comfy.model_management.throw_exception_if_processing_interrupted,
        bar=bar.update_absolute,
        send=_send,
        workflow=((hidden.extra_pnginfo or {}).get("workflow") or {}).get("id"),
    )
    live.begin(steps)
    return live


def _send(event: str, data: dict) -> None:
    """To the editor that queued the prompt, as ComfyUI sends its own progress; to all where none did."""
    server = PromptServer.instance
    server.send_sync(event, data, server.client_id)
