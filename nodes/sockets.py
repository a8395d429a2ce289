"""The types of our sockets, and core's that have no class in `io` on every ComfyUI we support."""

from comfy_api.latest import io

DATASET = io.Custom("ISENGARD_DATASET")  # dataset.records.Dataset
TRAIN_CONFIG = io.Custom("ISENGARD_TRAIN_CONFIG")  # trainers.config.TrainConfig
PREVIEWS = io.Custom("ISENGARD_PREVIEWS")  # trainers.previews.PreviewConfig
RUN = io.Custom("ISENGARD_RUN")  # trainers.run.Run
LORA_MODEL = io.Custom("LORA_MODEL")  # core's: a state dict
