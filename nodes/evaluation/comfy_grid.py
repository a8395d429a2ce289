"""The pictures of a grid, drawn by ComfyUI: weights are patched once for each LoRA and strength, small pictures are
drawn several at once, and one that fails does not keep the others from being drawn."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from PIL import Image
from torch import Tensor

from ...trainers import comfy_encoders, comfy_fingerprints, comfy_sampling, fingerprints, lora_file
from ...trainers.comfy_sampling import SamplerSettings
from ...trainers.errors import TrainingError
from ..dataset import images
from ..sampling import comfy_apply
from . import grid_pictures, planning
from .grid_sheet import Sheet
from .records import Candidate, Cell, Column, GridError

_BETWEEN_PREVIEWS = 2.0  # seconds
_LARGEST_PREVIEW = 1024  # pixels
_LONGEST_REASON = 400  # characters
_MOST_TOGETHER = 8
_AREA_TOGETHER = 1024 * 1024  # pixels: no more memory than one picture of SDXL's size takes

Show = Callable[
    [int, int, Image.Image | None], None
]  # steps done, steps in all, and a preview where there is a new one


@dataclass(frozen=True)
class Shared:
    """What all pictures of a grid have in common: ComfyUI's MODEL, CLIP and VAE, the negative prompt, the sampler."""

    model: Any
    clip: Any
    vae: Any
    negative: str
    sampler: SamplerSettings

    @cached_property
    def fingerprint(self) -> str:
        return fingerprints.of_parts(
            comfy_encoders.VERSION,
            comfy_fingerprints.of_model(self.model),
            comfy_encoders.clip_fingerprint(self.clip),
            comfy_encoders.vae_fingerprint(self.vae),
            self.negative,
            repr(self.sampler),
        )


@dataclass(frozen=True)
class FileLora:
    """A LoRA of a candidate's file, as `comfy_apply.Lora`."""

    called: str
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Drawn:
    """The cells with their pictures or what went wrong; how many pictures were drawn now."""

    cells: tuple[Cell, ...]
    count: int


def draw(cells: Sequence[Cell], shared: Shared, root: Path, sheet: Sheet, show: Show) -> Drawn:
    """Draw what is not on disk yet below `root`, and keep it there. Raises what cancelling raises, and keeps what was
    drawn until then; GridError where not one picture could be drawn."""
    found = [_Place.of(cell, shared, root) for cell in cells]
    missing: dict[Path, _Place] = {}
    for place in found:
        if not place.failed and not _is_there(place, sheet):
            missing.setdefault(place.file, place)
    live = _Live(sheet, show, len(missing) * shared.sampler.steps)
    outcomes = _draw_missing(list(missing.values()), shared, live)
    for place in found:
        if place.file in missing and place is not missing[place.file]:  # the same LoRA by another name
            _is_there(place, sheet)
    done = tuple(_finished(place, outcomes, sheet) for place in found)
    if all(cell.failed for cell in done):
        raise GridError(f"none of {len(done)} pictures could be drawn. {planning.report(done, 0)}")
    return Drawn(done, sum(not reason for reason in outcomes.values()))


@dataclass(frozen=True)
class _Place:
    """A cell and the file of its picture, or why it has none."""

    cell: Cell
    file: Path
    failed: str = ""

    @classmethod
    def of(cls, cell: Cell, shared: Shared, root: Path) -> _Place:
        try:
            content = content_of(cell.column.candidate)
        except Exception as error:  # whatever is wrong with a file: the others are drawn
            return cls(cell, root, reason_of(error))
        return cls(cell, grid_pictures.file_of(root, planning.key(shared.fingerprint, content, cell)))


def content_of(candidate: Candidate) -> str:
    """A hash of its weights; empty for the base. Each file is read once, until it changes. Raises GridError where it is
    gone, TrainingError where it is no LoRA."""
    if candidate.file is None:
        return ""
    try:
        status = candidate.file.stat()
    except FileNotFoundError as error:
        raise GridError(f"its file {candidate.file.name} is gone. Train again, or draw with other LoRAs.") from error
    return _content_hash(candidate.file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _content_hash(file: Path, size: int, changed: int) -> str:
    return lora_file.content_hash(file)


def _is_there(place: _Place, sheet: Sheet) -> bool:
    picture = grid_pictures.read(place.file)
    if picture:
        sheet.show(place.cell, picture)
    return picture is not None


def _finished(place: _Place, outcomes: Mapping[Path, str], sheet: Sheet) -> Cell:
    reason = place.failed or outcomes.get(place.file, "")
    if reason:
        sheet.fail(place.cell, reason)
        return dataclasses.replace(place.cell, failed=reason)
    return dataclasses.replace(place.cell, picture=place.file)


@dataclass
class _Live:
    """Progress over all steps, and the sheet as it fills. Raises what cancelling raises."""

    sheet: Sheet
    show: Show
    of: int
    done: int = 0
    _shown: float = field(default_factory=time.monotonic)

    def step(self, pictures: int = 1) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.done += pictures
        self.show(self.done, self.of, None)

    def skip_to(self, step: int) -> None:
        self.done = step

    def preview(self) -> None:
        if time.monotonic() - self._shown >= _BETWEEN_PREVIEWS:
            self.show(self.done, self.of, self.sheet.preview(_LARGEST_PREVIEW))
            self._shown = time.monotonic()


def _draw_missing(places: Sequence[_Place], shared: Shared, live: _Live) -> dict[Path, str]:
    """By file why its picture failed, empty where it is there now. Files are written while the next are drawn."""
    texts = _Texts(shared)
    outcomes: dict[Path, str | Future[str]] = {}
    with ThreadPoolExecutor(1) as writer:  # what it was given is written whatever ends this
        for candidate, of_candidate in groupby(places, key=lambda place: place.cell.column.candidate):
            group = list(of_candidate)
            found = _attempted(lambda candidate=candidate: _adapters(candidate, shared))
            for column, of_column in groupby(group, key=lambda place: place.cell.column):
                some = list(of_column)
                steps = live.done + len(some) * shared.sampler.steps
                outcomes |= _draw_column(column, found, some, texts, live, writer)
                live.skip_to(steps)
                live.preview()
        return {file: each if isinstance(each, str) else each.result() for file, each in outcomes.items()}


class Failure(str):
    """Why something was not done."""


def _attempted(do: Callable[[], Any]) -> Any:
    """What it gives, or a Failure. What cancelling raises passes through."""
    try:
        return do()
    except comfy.model_management.InterruptProcessingException:  # an Exception on older ComfyUIs
        raise
    except Exception as error:
        return Failure(reason_of(error))


def reason_of(error: Exception) -> str:
    """For people."""
    is_full = "out of memory" in str(error).lower() or "can't allocate memory" in str(error)
    if is_full or isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        comfy.model_management.soft_empty_cache()
        return "out of memory. Draw smaller pictures, or close other programs that use the graphics card."
    said = " ".join(str(error).split())[:_LONGEST_REASON]
    return said if isinstance(error, (ValueError, TrainingError)) and said else f"{type(error).__name__}: {said}"


def _adapters(candidate: Candidate, shared: Shared) -> comfy_apply.Fitted | None:
    """Of its LoRA; none for the base. Raises LoraMisfit, TrainingError and OSError."""
    if candidate.file is None:
        return None
    lora = FileLora(candidate.label, *lora_file.read(candidate.file))
    return comfy_apply.fitted(shared.model, shared.clip, lora)


class _Texts:
    """The CONDITIONING of every text, encoded once; with a LoRA that changes the text encoder, once more for it."""

    def __init__(self, shared: Shared):
        self.shared = shared
        self._plain: dict[str, list] = {}

    def of(self, prompts: Sequence[str], clip=None) -> dict[str, list]:
        """clip: with such a LoRA."""
        made = self._plain if clip is None else {}
        for text in dict.fromkeys((*prompts, self.shared.negative)):
            if text not in made:
                made[text] = comfy_sampling.encode(clip or self.shared.clip, text)
        return made


def _draw_column(
    column: Column, found: comfy_apply.Fitted | Failure | None, places: Sequence[_Place], texts: _Texts, live: _Live,
    writer: ThreadPoolExecutor,
) -> dict[Path, str | Future[str]]:  # fmt: skip
    """With the weights of one LoRA at one strength. What was sampled is kept where this is cancelled too."""
    shared, prompts = texts.shared, [place.cell.row.prompt for place in places]
    ready = found if isinstance(found, Failure) else _attempted(lambda: _ready(column, found, prompts, texts))
    if isinstance(ready, Failure):
        return {place.file: str(ready) for place in places}
    model, encoded = ready
    latents: list[tuple[_Place, Tensor | Failure]] = []
    try:
        for some in _batches(places, encoded, shared.sampler):
            latents += zip(some, _sampled_batch(model, encoded, some, shared, live), strict=True)
    finally:
        outcomes = dict(_kept(latents, shared, live, writer))
    return outcomes


def _ready(column: Column, found: comfy_apply.Fitted | None, prompts: Sequence[str], texts: _Texts) -> tuple:
    """The MODEL of a column and the CONDITIONING of each prompt."""
    shared = texts.shared
    if found is None:
        return shared.model, texts.of(prompts)
    model, clip = found.at(column.strength)
    return model, texts.of(prompts, clip if found.changes_text else None)


def _batches(
    places: Sequence[_Place], encoded: Mapping[str, list], settings: SamplerSettings
) -> Iterator[Sequence[_Place]]:
    """Those that are drawn together: of several prompts where their texts can be joined."""
    most = most_together(settings)
    texts = dict.fromkeys(place.cell.row.prompt for place in places)
    if comfy_sampling.together([encoded[text] for text in texts]):
        yield from batched(places, most)
        return
    for _, of_prompt in groupby(places, key=lambda place: place.cell.row.prompt):
        yield from batched(tuple(of_prompt), most)


def most_together(settings: SamplerSettings) -> int:
    """How many pictures of that size."""
    if settings.sampler_name not in comfy_sampling.WITHOUT_NOISE:
        return 1
    return min(_MOST_TOGETHER, max(1, _AREA_TOGETHER // (settings.width * settings.height)))


def batched(items: Sequence, most: int) -> Iterator[Sequence]:
    """Parts of nearly the same length, in order."""
    parts = math.ceil(len(items) / most)
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]


def _sampled_batch(
    model, encoded: Mapping[str, list], places: Sequence[_Place], shared: Shared, live: _Live
) -> list[Tensor | Failure]:
    """A latent 1,C,h,w for each, or why not. Where they fail together, each is tried by itself."""
    cells, begun = [place.cell for place in places], live.done
    if len(cells) > 1:
        drawn = _attempted(lambda: _sampled_together(model, encoded, cells, shared, live))
        if not isinstance(drawn, Failure):
            return [_attempted(lambda latent=latent: _finite(latent)) for latent in drawn.split(1)]
        live.skip_to(begun)
    return [_attempted(lambda cell=cell: _sampled(model, encoded, cell, shared, live)) for cell in cells]


def _sampled_together(model, encoded: Mapping[str, list], cells: Sequence[Cell], shared: Shared, live: _Live) -> Tensor:
    texts = [cell.row.prompt for cell in cells]
    positive = encoded[texts[0]] if len(set(texts)) == 1 else comfy_sampling.together([encoded[text] for text in texts])
    negative, seeds = encoded[shared.negative], [cell.row.seed for cell in cells]
    return comfy_sampling.sample_together(
        model, positive, negative, seeds, shared.sampler, lambda: live.step(len(cells))
    )


def _sampled(model, encoded: Mapping[str, list], cell: Cell, shared: Shared, live: _Live) -> Tensor:
    positive, negative = encoded[cell.row.prompt], encoded[shared.negative]
    return _finite(comfy_sampling.sample(model, positive, negative, cell.row.seed, shared.sampler, live.step))


def _kept(
    latents: Sequence[tuple[_Place, Tensor | Failure]], shared: Shared, live: _Live, writer: ThreadPoolExecutor
) -> Iterator[tuple[Path, str | Future[str]]]:
    """Decode, show, and have written."""
    for place, latent in latents:
        picture = latent if isinstance(latent, Failure) else _attempted(lambda latent=latent: _decoded(latent, shared))
        if isinstance(picture, Failure):
            live.sheet.fail(place.cell, picture)
            yield place.file, str(picture)
        else:
            live.sheet.show(place.cell, picture)
            yield place.file, writer.submit(_written, place, picture)


def _decoded(latent: Tensor, shared: Shared) -> Image.Image:
    return images.picture(_finite(comfy_sampling.decode(shared.vae, latent)))


def _finite(values: Tensor) -> Tensor:
    if not torch.isfinite(values).all():
        raise GridError(
            "the picture is no number any more (NaN). Lower the strength, or start ComfyUI with --force-fp32 or "
            "--fp32-vae."
        )
    return values


def _written(place: _Place, picture: Image.Image) -> str:
    """Empty, or why not."""
    try:
        grid_pictures.write(place.file, picture, place.cell)
    except OSError as error:
        return f"the picture cannot be kept ({error}). Make room on the disk."
    return ""
