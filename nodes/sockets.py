"""The types of our sockets, core's that have no class in `io` on every ComfyUI we support, and inputs that several
nodes have."""

import comfy.samplers
from comfy_api.latest import io

CHARACTER = io.Custom("ISENGARD_CHARACTER")  # characters.records.Character
DATASET = io.Custom("ISENGARD_DATASET")  # dataset.records.Dataset
TRAIN_CONFIG = io.Custom("ISENGARD_TRAIN_CONFIG")  # trainers.config.TrainConfig
PREVIEWS = io.Custom("ISENGARD_PREVIEWS")  # trainers.previews.PreviewConfig
SCENE_CHARACTER = io.Custom("ISENGARD_SCENE_CHARACTER")  # scene.comfy_scene.SceneCharacter
CHOICE = io.Custom("ISENGARD_CHOICE")  # evaluation.choosing.Choice
IDENTITY = io.Custom("ISENGARD_IDENTITY")  # evaluation.identity.Identity
GRID = io.Custom("ISENGARD_GRID")  # evaluation.records.Grid
RUN = io.Custom("ISENGARD_RUN")  # trainers.run.Run
LORA_MODEL = io.Custom("LORA_MODEL")  # core's: a state dict


def sampler_inputs() -> list[io.Input]:
    """What `trainers.comfy_sampling.SamplerSettings` is made of."""
    return [
        io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps."),
        io.Float.Input("cfg", default=5.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance."),
        io.Combo.Input(
            "sampler_name", options=comfy.samplers.SAMPLER_NAMES, default="euler", tooltip="As in KSampler."
        ),
        io.Combo.Input(
            "scheduler", options=comfy.samplers.SCHEDULER_NAMES, default="normal", tooltip="As in KSampler."
        ),
        io.Int.Input("width", default=512, min=64, max=8192, step=8, tooltip="Of a picture, in pixels."),
        io.Int.Input("height", default=512, min=64, max=8192, step=8, tooltip="Of a picture, in pixels."),
    ]
