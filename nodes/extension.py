"""The extension: one ordered list of every node."""

from comfy_api.latest import ComfyExtension, io

from . import routes
from .captions import nodes as captions
from .characters import nodes as characters
from .cropping import nodes as cropping
from .curation import nodes as curation
from .dataset.nodes import DatasetFromImages, DatasetToImages, LoadDataset, SaveDataset
from .evaluation.nodes import CheckpointGrid, LossChart, PickBest
from .evaluation.scoring_nodes import IdentityNode, ScoreImages
from .models.nodes import DemoBase
from .overview import nodes as overview
from .sampling.nodes import ApplyCharacter, CharacterPrompt, CharacterReferences, CharacterSampler, ContactSheet
from .scene import nodes as scene
from .settings.nodes import (
    AdapterSettings,
    LossSettings,
    OptimizerSettings,
    PictureSettings,
    PriorPreservation,
    RunSettings,
    TrainConfigNode,
    ValidationSettings,
)
from .training.nodes import LoadLora, SaveLora, TrainingPreviews, TrainLora

NODES: list[type[io.ComfyNode]] = [
    DemoBase,
    *characters.NODES,
    LoadDataset,
    DatasetFromImages,
    DatasetToImages,
    SaveDataset,
    *overview.NODES,
    *curation.NODES,
    *cropping.NODES,
    *captions.NODES,
    TrainConfigNode,
    PictureSettings,
    PriorPreservation,
    AdapterSettings,
    LossSettings,
    OptimizerSettings,
    ValidationSettings,
    RunSettings,
    TrainingPreviews,
    LoadLora,
    TrainLora,
    SaveLora,
    ApplyCharacter,
    CharacterPrompt,
    CharacterReferences,
    CharacterSampler,
    *scene.NODES,
    ContactSheet,
    LossChart,
    IdentityNode,
    ScoreImages,
    CheckpointGrid,
    PickBest,
]


class Isengard(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> Isengard:
    routes.register()
    return Isengard()
