"""What a LoRA file says of the base that it was trained on."""

from __future__ import annotations

from ...sota import registry
from ...trainers.lora_file import BaseModel
from ...trainers.run import Run


def base_model_of(run: Run) -> BaseModel | None:
    """None for a family that the registry does not know."""
    try:
        return registry.family_of(run.model_classes, run.parameters).base
    except registry.UnknownFamily:
        return None
