"""The evaluation room's door to ComfyUI."""

from comfy_api.latest import io, ui

from ..dataset import images
from ..sockets import RUN
from . import charts


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
