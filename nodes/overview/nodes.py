"""The overview room's door to ComfyUI."""

from comfy_api.latest import io, ui

from ..dataset import images
from ..progress import progress
from ..sockets import DATASET
from . import charts, report, sheet


class ShowDataset(io.ComfyNode):
    """A data set's pictures with all that is known of them."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardShowDataset",
            display_name="Show Dataset",
            category="Isengard/dataset",
            description="Lay a data set's pictures out on pages, each with its name, size, caption, scores and tags, "
            "and why it was dropped where it was.",
            is_output_node=True,
            inputs=[
                DATASET.Input("dataset", tooltip="What is shown: one that was loaded, kept or dropped."),
                io.Int.Input("columns", default=6, min=1, max=16, tooltip="Pictures beside each other."),
                io.Int.Input("picture_size", default=256, min=96, max=512, step=8, tooltip="Width of each, in pixels."),
                io.Int.Input("per_page", default=60, min=1, max=240, tooltip="Pictures a page, at most."),
                io.Int.Input("most", default=240, min=1, max=1000, tooltip="Of a larger data set, so many are shown."),
                io.Boolean.Input(
                    "show_masks", optional=True, default=False, tooltip="Tint what is not learned of a picture red."
                ),
            ],
            outputs=[io.Image.Output(display_name="pages", tooltip="All of one size, as a batch.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, dataset, columns, picture_size, per_page, most, show_masks=False):
        options = sheet.Options(columns, picture_size, per_page, most, show_masks)
        pages = sheet.tensor(dataset, options, progress())
        return io.NodeOutput(pages, ui=ui.PreviewImage(pages, cls=cls))


class DatasetReport(io.ComfyNode):
    """A data set in numbers."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDatasetReport",
            display_name="Dataset Report",
            category="Isengard/dataset",
            description="Tell of a data set's sizes, aspect ratios, buckets, captions and what they cover, as a chart "
            "and as a text, with what is worth a look before training.",
            is_output_node=True,
            inputs=[
                DATASET.Input("dataset", tooltip="What is told of. Its pictures are not read, only their sizes."),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=8192,
                    step=8,
                    tooltip="That you will train at: side in pixels of the square of the same area.",
                ),
                io.Int.Input(
                    "step", default=64, min=8, max=512, step=8, tooltip="Sides of buckets are multiples of this."
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="In Markdown, for Preview Any."),
                io.Image.Output(display_name="chart"),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, dataset, resolution, step):
        found = report.gathered(dataset, resolution, step)
        text, chart = report.text(found), images.pixels(charts.draw(found))
        shown = ui.PreviewImage(chart, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        return io.NodeOutput(text, chart, ui=shown)


NODES: list[type[io.ComfyNode]] = [ShowDataset, DatasetReport]
