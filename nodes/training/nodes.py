"""The training room's door to ComfyUI."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io, ui
from PIL import Image
from server import PromptServer

from ...trainers import comfy_model, loop, lora_file, recipe
from ...trainers.comfy_sampling import SamplerSettings
from ...trainers.errors import TrainingError
from ...trainers.previews import Preview, PreviewConfig, Previewer
from ..dataset import images
from ..dataset.records import HELD_OUT, Dataset, Sample
from ..names import BadName, confined, unused
from ..settings.groups import lines, with_train_inputs
from ..sockets import DATASET, LORA_MODEL, PREVIEWS, RUN, TRAIN_CONFIG, sampler_inputs
from .base_model import base_model_of
from .finish import REQUESTS
from .live import Live


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
                PREVIEWS.Input("previews", optional=True, tooltip="From Training Previews: draws while it trains."),
                LORA_MODEL.Input("start_from", optional=True, tooltip="A LoRA to train on, from Load Character LoRA."),
                io.Int.Input(
                    "steps", default=0, min=0, max=1_000_000, tooltip="Optimizer steps. 0: as the config has it."
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=1e-7,
                    round=False,
                    tooltip="The peak of the learning-rate schedule. 0: as the config has it.",
                ),
                io.Int.Input(
                    "rank", default=0, min=0, max=1024, tooltip="The LoRA's rank (dimension). 0: as the config has it."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
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
    def execute(
        cls, model, clip, vae, dataset, steps, learning_rate, rank, seed, config=None, previews=None, start_from=None
    ):
        settings = with_train_inputs(config, steps, learning_rate, rank, seed)
        bar = comfy.utils.ProgressBar(settings.steps)
        live = _live(cls.hidden, settings.steps, bar)
        previewer = Previewer(clip, vae, previews, _show(bar, dataset.name)) if previews else None
        REQUESTS.begin(live.node_id)
        try:
            job = recipe.Job(model, clip, vae, _training_set(dataset), settings, start_from)
            watch = loop.Watch(live, resumed=live.resumed, warn=live.warn, check=live.check)
            lora, run = recipe.train_lora(job, watch, _folders(), previewer)
        finally:
            REQUESTS.end(live.node_id)
        live.end(run.metrics)
        return io.NodeOutput(lora, comfy_model.with_lora(model, lora), run)


class TrainingPreviews(io.ComfyNode):
    """Pictures drawn while a run trains."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardTrainingPreviews",
            display_name="Training Previews",
            category="Isengard/training",
            description="Draw these prompts every so many steps of a training, from the LoRA as it is then.",
            inputs=[
                io.String.Input("prompts", multiline=True, default="", tooltip="One prompt a line."),
                io.Int.Input("every", default=250, min=1, max=1_000_000, tooltip="Steps between two drawings."),
                io.String.Input("negative", multiline=True, default="", tooltip="The negative prompt of all."),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=False, tooltip="Of every picture."
                ),
                *sampler_inputs(),
            ],
            outputs=[PREVIEWS.Output(display_name="previews")],
        )

    @classmethod
    def validate_inputs(cls, prompts):
        return True if prompts is None or lines(prompts) else _NO_PROMPT  # None: comes through a link

    @classmethod
    def execute(cls, prompts, every, negative, seed, **sampler):
        if not lines(prompts):
            raise ValueError(_NO_PROMPT)
        return io.NodeOutput(PreviewConfig(lines(prompts), every, seed, negative, SamplerSettings(**sampler)))


_NO_PROMPT = "there is no prompt to draw. Write one prompt a line into 'prompts'."


class LoadLora(io.ComfyNode):
    """A LoRA file, to train on."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardLoadLora",
            display_name="Load Character LoRA",
            category="Isengard/training",
            description="Read a LoRA file, to train on from it. To draw with a LoRA use ComfyUI's own loaders.",
            inputs=[
                io.Combo.Input(
                    "lora_name", options=folder_paths.get_filename_list("loras"), tooltip="In ComfyUI's LoRA folder."
                )
            ],
            outputs=[LORA_MODEL.Output(display_name="lora")],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name):
        file = folder_paths.get_full_path("loras", lora_name) if lora_name else None
        if not file:  # comes through a link, or is gone: counts as changed
            return float("nan")
        status = Path(file).stat()
        return f"{file} {status.st_size} {status.st_mtime_ns}"

    @classmethod
    def execute(cls, lora_name):
        return io.NodeOutput(lora_file.load(Path(folder_paths.get_full_path_or_raise("loras", lora_name))))


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
                LORA_MODEL.Input("lora", tooltip="From Train Character LoRA or Pick Best."),
                RUN.Input("run", tooltip="From where the LoRA comes from: its settings are written into the file."),
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
                io.String.Input(
                    "trigger",
                    default="",
                    optional=True,
                    tooltip="The word that calls the character, for programs that show it. Empty: the one of Prior "
                    "Preservation.",
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
    def execute(cls, lora, run, name, precision, trigger=""):
        folder = _lora_folder()
        path = unused(confined(folder, f"{name}.safetensors", "LoRA name"))
        lora_file.save(lora, path, precision, lora_file.metadata(lora, run, base_model_of(run), trigger))
        saved = path.relative_to(folder.resolve()).as_posix()
        return io.NodeOutput(saved, ui=ui.PreviewText(f"saved as {saved}"))


_LARGEST_PREVIEW = 1024  # pixels, of all together on the node; the files have the whole pictures


def _lora_folder() -> Path:
    return Path(folder_paths.get_folder_paths("loras")[0])


def _folders() -> recipe.Folders:
    """Of the one user that ComfyUI has unless it is started with several: runs belong to the machine's work."""
    own = Path(folder_paths.get_user_directory()) / "default" / "isengard"
    return recipe.Folders(runs=own / "runs", cache=own / "cache")


def _training_set(dataset: Dataset) -> recipe.TrainingSet:
    """Raises TrainingError where pictures have no caption."""
    uncaptioned = [sample.name for sample in dataset.samples if not sample.captions]
    if uncaptioned:
        some = "; ".join(uncaptioned[:3]) + ("; …" if len(uncaptioned) > 3 else "")
        raise TrainingError(
            f"{len(uncaptioned)} of {len(dataset.samples)} pictures of {dataset.name} have no caption ({some}). Write "
            "a .txt beside each, or fill in 'default_caption' where they are loaded."
        )
    pictures = (
        recipe.Picture(
            name=sample.name,
            load=functools.partial(_pixels, sample),
            content=sample.content,
            size=sample.size[::-1],
            captions=sample.captions,
            mask=sample.mask and functools.partial(images.read_mask, sample),
            repeats=sample.repeats,
            weight=sample.weight,
            held_out=sample.split == HELD_OUT,
        )
        for sample in dataset.samples
    )
    return recipe.TrainingSet(dataset.name, dataset.hash, tuple(pictures))


def _pixels(sample: Sample) -> torch.Tensor:
    return images.read(sample)[0]


def _show(bar: comfy.utils.ProgressBar, name: str) -> Callable[[Sequence[Preview]], None]:
    """Shows the previews of a step side by side on the node, where samplers show theirs, and keeps each in ComfyUI's
    output folder."""

    def show(step: int, previews: Sequence[Preview]) -> None:
        pictures = [images.picture(preview.pixels) for preview in previews]
        bar.update_absolute(step, preview=("JPEG", _side_by_side(pictures), _LARGEST_PREVIEW))
        for picture in pictures:
            prefix = f"isengard/previews/{name}_step_{step:06}"
            folder, file, count, *_ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
            picture.save(Path(folder) / f"{file}_{count:05}_.png")

    return show


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Of one size, from left to right."""
    width, height = pictures[0].size
    row = Image.new("RGB", (width * len(pictures), height))
    for place, picture in enumerate(pictures):
        row.paste(picture, (place * width, 0))
    return row


def _live(hidden: io.HiddenHolder, steps: int, bar: comfy.utils.ProgressBar) -> Live:
    live = Live(
        node_id=hidden.unique_id,
        check=comfy.model_management.throw_exception_if_processing_interrupted,
        bar=bar.update_absolute,
        send=_send,
        finish=lambda: REQUESTS.is_asked(hidden.unique_id),
        workflow=((hidden.extra_pnginfo or {}).get("workflow") or {}).get("id"),
    )
    live.begin(steps)
    return live


def _send(event: str, data: dict) -> None:
    """To the editor that queued the prompt, as ComfyUI sends its own progress; to all where none did."""
    server = PromptServer.instance
    server.send_sync(event, data, server.client_id)
