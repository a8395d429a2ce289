"""The door to ComfyUI of the models that come with the pack."""

import comfy.sd
from comfy_api.latest import io

from ...sota.demo_base import checkpoint_file


class DemoBase(io.ComfyNode):
    """The small base model that ships: draws people in minutes on a CPU, with nothing to download."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDemoBase",
            display_name="Isengard Demo Base",
            category="Isengard/models",
            description="A small picture model that comes with Isengard, to try things out: it draws people in one "
            "cartoon style at 128 x 128 pixels, in seconds, also on a CPU. Nothing is downloaded. For pictures of your "
            "own, use Load Checkpoint instead.",
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
            ],
        )

    @classmethod
    def execute(cls):
        model, clip, vae, _ = comfy.sd.load_state_dict_guess_config(checkpoint_file.state_dict())
        if hasattr(model, "cached_patcher_init"):  # how a newer ComfyUI loads a second copy, for another GPU say
            for patcher, place in ((model, 0), (clip.patcher, 1), (vae.patcher, 2)):
                patcher.cached_patcher_init = (_reload, (place,))
        return io.NodeOutput(model, clip, vae)


def _reload(place: int, disable_dynamic: bool = False):
    """The ModelPatcher of the model, the text encoder or the autoencoder, loaded once more."""
    parts = comfy.sd.load_state_dict_guess_config(checkpoint_file.state_dict(), disable_dynamic=disable_dynamic)
    return parts[0] if place == 0 else parts[place].patcher
