"""What a LoRA file says of the base that it was trained on."""

from __future__ import annotations

from ...sota import registry
from ...trainers.errors import TrainingError
from ...trainers.lora_file import BaseModel
from ...trainers.run import Run


def base_model_of(run: Run | None) -> BaseModel | None:
    """None for a family that the registry does not know. Raises TrainingError where there is no run: Pick Best has none
    for a LoRA file."""
    if run is None:
        raise TrainingError(
            "this LoRA is no checkpoint of a run, and is in a file of its own already: there is nothing to save. Use "
            "that file, or draw the grid of a run alone."
        )
    try:
        return registry.family_of(run.model_classes, run.parameters).base
    except registry.UnknownFamily:
        return None
