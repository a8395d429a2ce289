"""Many pictures of a character one after the other, each as KSampler draws it, with one progress bar for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import comfy.utils
import latent_preview
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...trainers import comfy_sampling
from ...trainers.comfy_sampling import SamplerSettings, Start
from ..captions import tokens
from . import prompts
from .comfy_apply import Fitted
from .shots import Shot, ShotsError, by_strength, in_short


@dataclass(frozen=True)
class Drawing:
    """What all pictures have in common. start: what they are drawn over, if anything."""

    vae: Any
    negative: str
    settings: SamplerSettings
    start: Start | None = None


def drawn(fitted: Fitted, shots: Sequence[Shot], drawing: Drawing) -> Iterator[Tensor]:
    """The picture of each shot, H,W,3 float32, as soon as it is drawn. The weights are patched once for each strength;
    texts are encoded anew only where the LoRA changes the text encoder. Raises ComfyUI's InterruptProcessingException
    when the person cancels."""
    progress = _Progress(fitted.model, len(shots), drawing.settings.steps)
    changes_text, texts = fitted.changes_text, {}
    for strength, group in by_strength(shots):
        model, clip = fitted.at(strength)
        if changes_text or not texts:
            texts = _encoded(clip, [drawing.negative, *(shot.prompt for shot in shots)])
        for shot in group:
            latent = comfy_sampling.sample(
                model,
                texts[shot.prompt],
                texts[drawing.negative],
                shot.seed,
                drawing.settings,
                on_step=progress.step,
                start=drawing.start,
                on_latent=progress.look,
            )
            progress.end_picture()
            yield comfy_sampling.decode(drawing.vae, latent)


def _encoded(clip, texts: Sequence[str]) -> dict[str, list]:
    return {text: comfy_sampling.encode(clip, text) for text in dict.fromkeys(texts)}


class _Progress:
    """A bar over the steps of all pictures, with KSampler's preview of the one that is being drawn."""

    def __init__(self, model, pictures: int, steps: int):
        self._bar = comfy.utils.ProgressBar(pictures * steps)
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._steps, self._finished, self._step = steps, 0, 0
        self._preview = None

    def look(self, latent: Tensor) -> None:
        if self._previewer:
            self._preview = self._previewer.decode_latent_to_preview_image("JPEG", latent)

    def step(self) -> None:
        """Samplers of their own pace make more steps than asked for, or fewer."""
        self._step = min(self._step + 1, self._steps)
        self._bar.update_absolute(self._finished * self._steps + self._step, preview=self._preview)

    def end_picture(self) -> None:
        self._finished, self._step = self._finished + 1, 0


def drawn_and_saved(fitted: Fitted, shots: Sequence[Shot], drawing: Drawing, prefix: str, hidden) -> tuple:
    """The files of all shots in ComfyUI's output folder, and their pictures B,H,W,3. Each is written as soon as it is
    drawn: what an error or a cancel leaves is kept. hidden: the node's prompt and workflow."""
    files, pictures = [], []
    for shot, pixels in zip(shots, drawn(fitted, shots, drawing), strict=True):
        files.append(_saved(pixels, prefix, hidden, {**vars(shot), "negative": drawing.negative, "lora": fitted.lora}))
        pictures.append(pixels)
    return files, torch.stack(pictures)


def _saved(pixels: Tensor, prefix: str, hidden, about: Mapping[str, Any]) -> ui.SavedResult:
    """A picture H,W,3 under the next free number, as SaveImage writes it. about: what else the file tells, in JSON as
    the text "isengard"."""
    extra = {**(hidden.extra_pnginfo or {}), "isengard": dict(about)}
    told = SimpleNamespace(hidden=SimpleNamespace(prompt=hidden.prompt, extra_pnginfo=extra))
    (result,) = ui.ImageSaveHelper.save_images([pixels], prefix, io.FolderType.output, told)
    return result


def name_of(file: ui.SavedResult) -> str:
    """Below ComfyUI's output folder."""
    return "/".join(filter(None, [file.subfolder, file.filename]))


def notes(clip, trigger: str, shots: Sequence[Shot]) -> list[str]:
    """What to know of each prompt, after its beginning."""
    return [
        f"{in_short(prompt)}: {note}"
        for prompt in dict.fromkeys(shot.prompt for shot in shots)
        for note in prompts.notes(prompt, trigger, tokens.lengths(clip, prompt))
    ]


def start_of(latent: Mapping[str, Any] | None, denoise: float) -> Start | None:
    """Raises ShotsError for a LATENT of several pictures."""
    if latent is None:
        return None
    number = len(latent["samples"])
    if number != 1:
        raise ShotsError(f"latent holds {number} pictures, and one can be drawn over. Choose one with LatentFromBatch.")
    return Start(latent, denoise)
