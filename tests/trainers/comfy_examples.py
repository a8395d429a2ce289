"""Pictures and settings for training ComfyUI's own networks, which are random ones."""

from __future__ import annotations

import torch

from isengard.trainers.batch import Example, Examples
from isengard.trainers.config import AdapterConfig, DataConfig, ObjectiveConfig, OptimizerConfig, TrainConfig

CONFIG = TrainConfig(
    steps=2,
    seed=5,
    adapter=AdapterConfig(rank=4),
    objective=ObjectiveConfig(timestep_sampling="uniform"),
    optimizer=OptimizerConfig(learning_rate=1e-2),
    data=DataConfig(batch_size=2),
)


def conditioning(seed, pooled=True):
    """A CONDITIONING as a text encoder gives it: 77 tokens of 768 (SD1.5) or 4096 (SD3, with a pooled vector)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, 77, 4096 if pooled else 768, generator=generator)
    return [[tokens, {"pooled_output": torch.randn(1, 2048, generator=generator)} if pooled else {}]]


def examples(kind):
    generator = torch.Generator().manual_seed(9)
    channels = 16 if kind == "sd3" else 4
    return Examples(
        tuple(
            Example(
                f"{n}.png", torch.randn(channels, 8, 8, generator=generator), (conditioning(n, pooled=kind == "sd3"),)
            )
            for n in range(3)
        )
    )


def with_v_prediction(patcher):
    """As core's ModelSamplingDiscrete node does it."""
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.V_PREDICTION):
        pass

    clone = patcher.clone()
    clone.add_object_patch("model_sampling", Sampling(patcher.model.model_config))
    return clone
