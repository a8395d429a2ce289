"""A node's progress bar, and its way out when the person cancels."""

from collections.abc import Callable

import comfy.model_management
import comfy.utils


def progress() -> Callable[[int, int], None]:
    """To be told how many of how many are done. Raises ComfyUI's InterruptProcessingException when it was asked to."""
    bars: list[comfy.utils.ProgressBar] = []

    def show(done: int, of: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not bars:
            bars.append(comfy.utils.ProgressBar(of))
        bars[0].update_absolute(done, of)

    return show
