"""The data-set room's door to ComfyUI."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ...sota import sample_character
from ..names import BadName, confined
from ..progress import progress
from ..sockets import DATASET
from . import export, lists, report
from . import folder as folders

SAMPLE = "[sample] Mira"
_SAMPLES = {SAMPLE: sample_character.FOLDER, "[sample] Others": sample_character.OTHERS}


class LoadDataset(io.ComfyNode):
    """Pictures and captions from a folder, as one value."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardLoadDataset",
            display_name="Load Dataset from Folder",
            category="Isengard/dataset",
            description="Load every picture of a folder below ComfyUI's input folder, with the caption in the .txt "
            "file of the same name.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[*_SAMPLES, *folders.with_pictures(_input())],
                    default=SAMPLE,
                    tooltip="A folder with pictures below ComfyUI's input folder, or the sample character that comes "
                    "with this pack.",
                ),
                io.String.Input(
                    "default_caption",
                    default="",
                    tooltip="The caption of pictures that have no .txt file beside them. Empty: such a picture is an "
                    "error.",
                ),
                io.Boolean.Input(
                    "subfolders", optional=True, default=True, tooltip="Load the pictures of folders below it too."
                ),
                io.Boolean.Input(
                    "skip_unreadable",
                    optional=True,
                    default=False,
                    tooltip="Leave out pictures that are damaged, and name them in the report, instead of stopping.",
                ),
                io.Combo.Input(
                    "transparency",
                    optional=True,
                    options=["white", "grey", "black", folders.AS_MASK],
                    default="white",
                    tooltip="The colour below transparent parts; mask: they are not learned.",
                ),
            ],
            outputs=[
                DATASET.Output(display_name="dataset"),
                io.String.Output(display_name="report", tooltip="What was loaded, and what was left out."),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder, subfolders=True):
        if folder is None or subfolders is None:  # comes through a link: known only when the graph runs
            return True
        try:
            folders.picture_files(_path(folder), folder, subfolders)
        except (BadName, folders.FolderError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder, **options):
        if folder is None:  # comes through a link: not known yet, so it counts as changed
            return float("nan")
        return f"{folders.fingerprint(_path(folder))} {sorted(options.items())}"

    @classmethod
    def execute(cls, folder, default_caption, subfolders=True, skip_unreadable=False, transparency="white"):
        options = folders.Options(default_caption, subfolders, skip_unreadable, transparency)
        loaded = folders.load(_path(folder), folder, options, progress())
        return io.NodeOutput(loaded.dataset, report.of_loading(loaded))


class DatasetFromImages(io.ComfyNode):
    """Pictures of other nodes as a data set."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDatasetFromImages",
            display_name="Dataset from Images",
            category="Isengard/dataset",
            description="Make a data set of pictures that other nodes give, with their captions and masks.",
            inputs=[
                io.Image.Input("images", tooltip="Batches or lists of pictures, of any size."),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="One for each picture, from a captioner for instance, or one for all.",
                ),
                io.Mask.Input("masks", optional=True, tooltip="What is learned of each picture, or of all."),
                io.String.Input("name", default="images", tooltip="What the data set is called."),
            ],
            outputs=[DATASET.Output(display_name="dataset")],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, images, name, captions=(), masks=()):
        return io.NodeOutput(lists.dataset_of(name[0], images, captions, masks))


class DatasetToImages(io.ComfyNode):
    """A data set's pictures for other nodes."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDatasetToImages",
            display_name="Dataset to Images",
            category="Isengard/dataset",
            description="Give a data set's pictures, captions and masks to other nodes, one by one.",
            inputs=[DATASET.Input("dataset", tooltip="From Load Dataset from Folder, for instance.")],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True),
                io.String.Output(display_name="captions", is_output_list=True),
                io.Mask.Output(
                    display_name="masks", is_output_list=True, tooltip="All white where a picture has none."
                ),
            ],
        )

    @classmethod
    def execute(cls, dataset):
        return io.NodeOutput(*lists.lists_of(dataset))


class SaveDataset(io.ComfyNode):
    """A data set as files, for this pack or another program."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSaveDataset",
            display_name="Save Dataset",
            category="Isengard/dataset",
            description="Write pictures, captions and masks below ComfyUI's output folder, with a manifest from which "
            "Load Dataset makes the same data set again.",
            inputs=[
                DATASET.Input("dataset", tooltip="What is written."),
                io.String.Input(
                    "name",
                    default="dataset",
                    tooltip="Of the folder below output/isengard/datasets. One that exists is not written over; the "
                    "new one is numbered.",
                ),
                io.Combo.Input(
                    "layout",
                    options=list(export.LAYOUTS),
                    default="folder",
                    tooltip="For which program: this one and OneTrainer (folder), sd-scripts and kohya_ss, ai-toolkit, "
                    "Hugging Face datasets (imagefolder).",
                ),
                io.Boolean.Input("zip", default=False, tooltip="One archive instead of a folder."),
            ],
            outputs=[
                DATASET.Output(display_name="dataset", tooltip="What was given in."),
                io.String.Output(display_name="path", tooltip="Of the folder or archive, below ComfyUI's output."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, dataset, name, layout, zip):
        root = Path(folder_paths.get_output_directory())
        place = confined(root, f"isengard/datasets/{name}", "name")
        written = export.save(dataset, place, layout, zip, progress()).relative_to(root.resolve()).as_posix()
        return io.NodeOutput(dataset, written, ui=ui.PreviewText(written))


def _input() -> Path:
    return Path(folder_paths.get_input_directory())


def _path(folder: str) -> Path:
    return _SAMPLES.get(folder) or confined(_input(), folder, "folder")
