"""The evaluation room's door to ComfyUI."""

import functools
from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import io, ui
from PIL import Image

from ...trainers import comfy_sampling, lora_file
from ...trainers.run import Run
from ..characters.library import LORAS
from ..characters.nodes import library
from ..dataset import images
from ..progress import progress
from ..sampling import lists, wildcards
from ..settings import groups
from ..sockets import CHARACTER, CHOICE, GRID, IDENTITY, LORA_MODEL, RUN, sampler_inputs
from . import charts, choice_chart, choosing, comfy_grid, grid_sheet, picking, planning
from .grid_pictures import GridPictures
from .records import RUN as FROM_RUN
from .records import Candidate, Grid, Row


class LossChart(io.ComfyNode):
    """Loss and learning rate of a run."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardLossChart",
            display_name="Loss Chart",
            category="Isengard/evaluation",
            description="Draw the loss of a training run, its running mean, and the learning rate.",
            is_output_node=True,
            inputs=[
                RUN.Input("run", tooltip="From Train Character LoRA."),
                io.String.Input("filename_prefix", default="isengard/loss", tooltip="Below ComfyUI's output folder."),
            ],
            outputs=[io.Image.Output(display_name="chart")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, run, filename_prefix):
        image = images.pixels(charts.loss_chart(run))
        return io.NodeOutput(image, ui=ui.ImageSaveHelper.get_save_images_ui(image, filename_prefix, cls))


class CheckpointGrid(io.ComfyNode):
    """LoRAs at strengths by prompts and seeds."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCheckpointGrid",
            display_name="Checkpoint Grid",
            category="Isengard/evaluation",
            description="Draw every prompt and seed with every checkpoint of a run, or other LoRAs, at every strength. "
            "Pictures that were drawn before are taken from disk.",
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The base that the LoRAs were trained on, without them."),
                io.Clip.Input("clip", tooltip="Encodes the prompts."),
                io.Vae.Input("vae", tooltip="Decodes the pictures."),
                io.String.Input("prompts", multiline=True, default="", tooltip="One a line; {trigger} and {class} are "
                                "the character's."),
                io.String.Input("negative", multiline=True, default="", tooltip="The negative prompt of all."),
                io.String.Input("strengths", default="0.7, 1.0", tooltip="Of each LoRA, with commas between them."),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=False,
                    tooltip="Of the first picture; the next has the next seed.",
                ),
                io.Int.Input("seeds", default=2, min=1, max=16, tooltip="Pictures a prompt: seed, seed + 1, …"),
                *sampler_inputs(),
                io.Boolean.Input("include_base", default=True, tooltip="Draw everything without a LoRA too."),
                io.String.Input("title", default="Checkpoints", tooltip="Written above the sheet."),
                io.String.Input("filename_prefix", default="isengard/grid", tooltip="Below ComfyUI's output folder."),
                RUN.Input("run", optional=True, tooltip="From Train Character LoRA: its checkpoints are drawn with."),
                CHARACTER.Input("character", optional=True, tooltip="All its LoRAs are drawn with."),
                io.String.Input(
                    "loras", optional=True, multiline=True, default="",
                    tooltip="Names in ComfyUI's LoRA folder, one a line; * stands for anything, as in mira-*.",
                ),
            ],
            outputs=[
                GRID.Output(display_name="grid", tooltip="For Pick Best."),
                io.Image.Output(display_name="sheet", tooltip="Large grids take several pages."),
                io.String.Output(display_name="report", tooltip="What was drawn, and what failed."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, prompts, strengths):
        try:
            strengths is None or lists.strengths(strengths)
            prompts is None or planning.check_prompts(groups.lines(prompts))  # None: comes through a link
        except ValueError as error:
            return str(error)  # now, not when the training before it has run
        return True

    @classmethod
    def fingerprint_inputs(cls, loras="", **inputs):
        listed = [(str(each.file), each.file.stat().st_mtime_ns) for each in _named_loras(loras or "")]
        return f"{listed} {wildcards.fingerprint(_own() / 'wildcards')} {_PICTURES.changes}"

    @classmethod
    def execute(
        cls, model, clip, vae, prompts, negative, strengths, seed, seeds, include_base, title, filename_prefix,
        run=None, character=None, loras="", **sampler,
    ):  # fmt: skip
        read = functools.partial(wildcards.lines, _own() / "wildcards")
        lines = planning.filled(groups.lines(prompts), character, read, seed)
        rows = [Row(line, seed + place) for line in lines for place in range(seeds)]
        cells = planning.cells(_candidates(run, character, loras), lists.strengths(strengths), rows, include_base)
        settings = comfy_sampling.SamplerSettings(**sampler)
        shared = comfy_grid.Shared(model, clip, vae, negative, settings)
        sheet = grid_sheet.Sheet(title, cells, (settings.width, settings.height))
        drawn = comfy_grid.draw(cells, shared, _own() / "grids", sheet, _show())
        _PICTURES.note(drawn.cells)
        pages = sheet.tensor()
        shown = ui.ImageSaveHelper.get_save_images_ui(pages, filename_prefix, cls)
        report = planning.report(drawn.cells, drawn.count)
        return io.NodeOutput(Grid(title, drawn.cells, run), pages, report, ui=shown)


class PickBest(io.ComfyNode):
    """The best LoRA of a grid, and its strength."""

    @classmethod
    def define_schema(cls):
        def weight(name: str, tooltip: str) -> io.Input:
            default = getattr(choosing.Weights, name)
            return io.Float.Input(
                f"{name}_weight", default=default, min=0.0, max=100.0, step=0.05, tooltip=f"{tooltip} 0: not."
            )

        return io.Schema(
            node_id="IsengardPickBest",
            display_name="Pick Best",
            category="Isengard/evaluation",
            description="Score every LoRA and strength of a grid, and give the best: like the character, following "
            "prompts, and different from picture to picture.",
            is_output_node=True,
            inputs=[
                GRID.Input("grid", tooltip="From Checkpoint Grid, with the base in it."),
                IDENTITY.Input("identity", tooltip="Of the character. Its image encoder judges the other terms too."),
                weight(choosing.IDENTITY, "How much likeness counts, up to that of real pictures."),
                weight(choosing.ADHERENCE, "How much it counts that pictures follow their prompts as the base's do."),
                weight(choosing.DIVERSITY, "How much it counts that pictures differ as real ones do."),
                weight(choosing.VALIDATION, "How much the loss on held-out pictures counts."),
            ],
            outputs=[
                LORA_MODEL.Output(display_name="lora", tooltip="Its weights as they are, not scaled by the strength."),
                io.Float.Output(display_name="strength", tooltip="To use it with."),
                io.String.Output(display_name="label", tooltip="Which it is, for people."),
                RUN.Output(
                    display_name="run",
                    tooltip="The run up to that checkpoint, for Save Character LoRA. Of other LoRAs: none.",
                ),
                CHOICE.Output(display_name="choice", tooltip="All scores, for Add LoRA to Character."),
                io.String.Output(display_name="table", tooltip="All LoRAs, the best first."),
                io.Image.Output(display_name="chart", tooltip="The scores by checkpoint."),
                io.Image.Output(display_name="pictures", tooltip="Those that were drawn with the best."),
            ],
        )

    @classmethod
    def execute(cls, grid, identity, **weights):
        counts = choosing.Weights(**{term: weights[f"{term}_weight"] for term in choosing.TERMS})
        choice = picking.pick(grid, identity, counts, progress())
        best, table = choice.best.column, choosing.table(choice)
        return io.NodeOutput(
            lora_file.load(best.candidate.file),
            best.strength,
            best.label,
            _run_of(grid, best.candidate),
            choice,
            table,
            images.pixels(choice_chart.draw(choice, grid.title)),
            picking.pictures_of_best(grid, choice),
            ui=ui.PreviewText(table),
        )


def _run_of(grid: Grid, candidate: Candidate) -> Run | None:
    """As if it had ended with that checkpoint, so that what is saved of it tells its own steps; none of other LoRAs."""
    return grid.run.until(candidate.step) if candidate.source == FROM_RUN and grid.run is not None else None


_PICTURES = GridPictures()


def _own() -> Path:
    """Of the one user that ComfyUI has unless it is started with several."""
    return Path(folder_paths.get_user_directory()) / "default" / "isengard"


def _candidates(run, character, loras: str) -> list[Candidate]:
    found = planning.of_run(run) if run is not None else []
    if character is not None:
        found += planning.of_character(character, library().folder(character.slug) / LORAS)
    return found + _named_loras(loras)


def _named_loras(names: str) -> list[Candidate]:
    def locate(name: str) -> Path:
        return Path(folder_paths.get_full_path_or_raise("loras", name))

    return planning.of_files(groups.lines(names), folder_paths.get_filename_list("loras"), locate)


def _show() -> Callable[[int, int, Image.Image | None], None]:
    """A progress bar, with the sheet on the node as it fills."""
    bars: list[comfy.utils.ProgressBar] = []

    def show(done: int, of: int, preview: Image.Image | None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not bars:
            bars.append(comfy.utils.ProgressBar(of))
        bars[0].update_absolute(done, of, preview and ("JPEG", preview, max(preview.size)))

    return show
