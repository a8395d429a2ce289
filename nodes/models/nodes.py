"""The door to ComfyUI of the models that come with the pack."""

import comfy.sd
import folder_paths
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
        model, clip, vae = _loaded(checkpoint_file.state_dict())
        if hasattr(model, "cached_patcher_init"):  # how a newer ComfyUI loads a second copy, for another GPU say
            for patcher, part in ((model, "model"), (clip.patcher, "clip"), (vae.patcher, "vae")):
                patcher.cached_patcher_init = (_reload, (part,))
        return io.NodeOutput(model, clip, vae)


def _loaded(weights: dict, **options) -> tuple:
    """MODEL, CLIP and VAE, as the stock loader makes them of a checkpoint's weights."""
    embeddings = folder_paths.get_folder_paths("embeddings")
    return comfy.sd.load_state_dict_guess_config(weights, embedding_directory=embeddings, **options)[:3]


def _reload(part: str, disable_dynamic: bool = False):
    """The ModelPatcher of "model", "clip" or "vae", loaded once more."""
    model, clip, vae = _loaded(
        checkpoint_file.state_dict(with_text_encoder=part == "clip"),
        output_model=part == "model",
        output_clip=part == "clip",
        output_vae=part == "vae",
        disable_dynamic=disable_dynamic,
    )
    return {"model": model, "clip": clip and clip.patcher, "vae": vae and vae.patcher}[part]
