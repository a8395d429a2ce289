"""The data-set room's door to ComfyUI."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...sota import sample_character
from ..names import BadName, confined
from ..sockets import DATASET
from . import folder as folders

SAMPLE = "[sample] Mira"


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
                    options=[SAMPLE, *folders.with_pictures(_input())],
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
            ],
            outputs=[DATASET.Output(display_name="dataset")],
        )

    @classmethod
    def validate_inputs(cls, folder):
        if folder is None:  # comes through a link: known only when the graph runs
            return True
        try:
            folders.picture_files(_path(folder), folder)
        except (BadName, folders.FolderError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder, default_caption):
        if folder is None:  # comes through a link: not known yet, so it counts as changed
            return float("nan")
        return f"{folders.fingerprint(_path(folder))} {default_caption}"

    @classmethod
    def execute(cls, folder, default_caption):
        return io.NodeOutput(folders.load(_path(folder), folder, default_caption))


def _input() -> Path:
    return Path(folder_paths.get_input_directory())


def _path(folder: str) -> Path:
    return sample_character.FOLDER if folder == SAMPLE else confined(_input(), folder, "folder")
