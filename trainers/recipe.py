"""From pictures and a ComfyUI model to a LoRA: the whole training stage, in the order it happens."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import buckets, captions, comfy_encoders, comfy_lora, comfy_model, comfy_precision, fingerprints, loop, lora_file
from .batch import Example, Examples, check_latents, is_finite
from .cache import Cache
from .comfy_model import ComfyBase
from .config import TrainConfig
from .errors import TrainingError
from .previews import Previewer
from .run import Run
from .run_folder import RunFolder

FORMAT = "1"  # of encodings and of runs' results: another one makes all of them anew
ORDERS = 10  # of a caption's parts, when they are shuffled: each is encoded, since the text encoder leaves the GPU
_SPLIT_SEED = 0  # held-out pictures are the same from run to run


@dataclass(frozen=True)
class Picture:
    """A picture to train on.

    load: gives its pixels, H,W,3 float32 in 0..1 (sRGB), when they are encoded, so that they are not all in memory.
    content: a hash of them. size: height, width. captions: one or more. mask: gives H,W in 0..1, 1 where it is learned.
    repeats: how often an epoch shows it. weight: of its loss. held_out: for validation alone.
    """

    name: str
    load: Callable[[], Tensor]
    content: str
    size: tuple[int, int]
    captions: tuple[str, ...]
    mask: Callable[[], Tensor] | None = None
    repeats: int = 1
    weight: float = 1.0
    held_out: bool = False

    @classmethod
    def of_pixels(cls, name: str, pixels: Tensor, captions: tuple[str, ...], **more) -> Picture:
        """Of pixels H,W,3 that are in memory."""
        return cls(name, lambda: pixels, fingerprints.of_tensor(pixels), tuple(pixels.shape[:2]), captions, **more)


@dataclass(frozen=True)
class TrainingSet:
    """The pictures of a run. hash: tells data sets apart, for the run and the LoRA file."""

    name: str
    hash: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Folders:
    """Where a run finds what was made before, and leaves what it makes; none: nothing is kept."""

    runs: Path | None = None
    cache: Path | None = None


NOWHERE = Folders()


@dataclass(frozen=True)
class Job:
    """What is to be trained. model, clip, vae: ComfyUI's MODEL, CLIP and VAE. start: a LoRA to begin with, as a file
    holds it."""

    model: Any
    clip: Any
    vae: Any
    training_set: TrainingSet
    config: TrainConfig
    start: Mapping[str, Tensor] | None = None


def train_lora(
    job: Job, watch: loop.Watch, folders: Folders = NOWHERE, previewer: Previewer | None = None
) -> tuple[dict[str, Tensor], Run]:
    """Train a LoRA and give its weights, named as in a file, and the run.

    A run that was finished before is not trained again, nor one that was ended early unless the config asks for it; one
    that was stopped goes on. watch: `keep` and `preview` are set here. Raises TrainingError; what `watch.report` raises
    passes through.
    """
    prediction = comfy_model.prediction_type(job.model)
    before = comfy_lora.low_rank(job.model, job.start) if job.start else None
    cache = Cache(folders.cache, watch.warn)
    examples = encode(job.model, job.clip, job.vae, job.training_set.pictures, job.config, cache)
    names = comfy_lora.file_names(job.model, job.config.adapter.kind)
    with comfy_model.opened(job.model, job.config.precision) as base:
        base_hash = comfy_model.fingerprint(base)
        key = run_key(base_hash, base.dtype, job.config, examples, job.start)
        place = RunFolder(folders.runs, job.training_set.name, key, job.config)
        watch = dataclasses.replace(
            watch, keep=place.keep, preview=_preview(base, previewer, names),
            checkpoint=lambda step, weights: place.keep_lora(step, lora_file.state_dict(weights, names)),
        )  # fmt: skip
        trained = _trained_before(place, job.config)
        if trained:
            watch.resumed(trained.metrics)
        else:
            trained = loop.train(base, examples, job.config, watch, place.saved(), before)
            _finish(place, trained, watch)
        lora = lora_file.state_dict(trained.weights, names)
        _keep_result(place, trained.step, lora, watch)
        run = _run(job, place, base_hash, comfy_precision.name_of(base.dtype), prediction, trained)
    return lora, run


def _trained_before(place: RunFolder, config: TrainConfig) -> loop.Trained | None:
    trained = place.finished()
    goes_on = trained and not trained.finished and config.after_finish_now == "go_on"
    return None if goes_on else trained


def _finish(place: RunFolder, trained: loop.Trained, watch: loop.Watch) -> None:
    """A full disk does not cost the LoRA."""
    try:
        place.finish(trained)
    except OSError as error:
        watch.warn(f"the run cannot be kept in {place.path} ({error}); its LoRA is handed on all the same")


def _keep_result(place: RunFolder, step: int, lora: Mapping[str, Tensor], watch: loop.Watch) -> None:
    """The result is a checkpoint too, of whatever step it is."""
    try:
        if not place.has_lora(step):
            place.keep_lora(step, lora)
    except (OSError, TrainingError) as error:
        watch.warn(f"the run's result cannot be kept as a checkpoint ({error}); it is handed on all the same")


def _preview(base: ComfyBase, previewer: Previewer | None, names: lora_file.FileNames) -> Callable[..., None]:
    """Draws when it is time (`loop.Watch.preview`)."""

    def preview(step: int, weights: Callable[[], loop.Weights]) -> None:
        if previewer and previewer.is_due(step):
            previewer.draw(base, step, lora_file.state_dict(weights(), names))

    return preview


def _run(job: Job, place: RunFolder, base_hash: str, precision: str, prediction: str, trained: loop.Trained) -> Run:
    texts = (text for picture in job.training_set.pictures for text in picture.captions)
    return Run(
        id=place.id,
        name=job.training_set.name,
        config=job.config,
        dataset_hash=job.training_set.hash,
        base_hash=base_hash,
        precision=precision,
        prediction=prediction,
        model_classes=tuple(comfy_model.model_classes(job.model)),
        parameters=comfy_model.parameter_count(job.model),
        tag_frequency=captions.tag_frequency(texts),
        metrics=trained.metrics,
        finished=trained.finished,
        checkpoints=place.checkpoints(trained.metrics),
    )


def run_key(
    base_hash: str,
    dtype: torch.dtype,
    config: TrainConfig,
    examples: Examples,
    start: Mapping[str, Tensor] | None = None,
) -> str:
    """Tells runs apart by everything that their result follows from: the base and the type it computes in, the
    settings, what was encoded, and the LoRA to begin with. So a run that ran out of memory can go on with gradient
    checkpointing."""
    same_numbers = dataclasses.replace(
        config, checkpoint_every=0, precision="auto", gradient_checkpointing="none", after_finish_now="keep"
    )
    parts = [
        FORMAT,
        base_hash,
        str(dtype),
        same_numbers.to_yaml(),
        fingerprints.of_nested(dict(sorted((start or {}).items()))),
    ]
    for example in (*examples.trained, *examples.held_out):
        words = [example.conditions, example.class_conditions, example.orders]
        pictures = [example.latent, example.mask, example.repeats, example.weight]
        parts += [fingerprints.of_nested(words), fingerprints.of_nested(pictures)]
    return fingerprints.of_parts(*parts, str(len(examples.held_out)), fingerprints.of_nested(examples.empty))


def encode(model, clip, vae, pictures: Sequence[Picture], config: TrainConfig, cache: Cache) -> Examples:
    """Every picture's latent with its captions' conditions, and for prior preservation those of the captions without
    the trigger. Raises TrainingError for latents that are not finite, and captions that lack the trigger."""
    held_out = split(pictures, config)
    latents = _latents(model, vae, pictures, config, cache)
    grouped = [_texts(picture, config) for picture in pictures]
    texts = [[text for orders in group for text in orders] for group in grouped]
    others = _class_texts(pictures, texts, config)
    wanted = [text for group in (*texts, *others) for text in group] + ([""] if config.data.caption_dropout else [])
    conditions = _conditions(clip, wanted, cache, config.objective.guidance)
    examples = [
        Example(
            name=picture.name,
            latent=latent,
            conditions=tuple(conditions[text] for text in own),
            class_conditions=tuple(conditions[text] for text in other),
            orders=tuple(len(orders) for orders in group),
            mask=None if picture.mask is None else _mask(picture.mask(), latent),
            repeats=picture.repeats,
            weight=picture.weight,
        )
        for picture, latent, own, other, group in zip(pictures, latents, texts, others, grouped, strict=True)
    ]
    return Examples(
        trained=tuple(example for example, out in zip(examples, held_out, strict=True) if not out),
        held_out=tuple(example for example, out in zip(examples, held_out, strict=True) if out),
        empty=conditions.get("") if config.data.caption_dropout else None,
    )


def split(pictures: Sequence[Picture], config: TrainConfig) -> list[bool]:
    """Which pictures are held out: those that say so, else a share of them, the same from run to run.

    Raises TrainingError where none would be left to train on.
    """
    marked = [picture.held_out for picture in pictures]
    if config.validation.every and not any(marked) and len(pictures) > 1:
        count = min(len(pictures) - 1, max(1, round(config.validation.share * len(pictures))))
        chosen = np.random.default_rng(_SPLIT_SEED).permutation(len(pictures))[:count]
        marked = [place in chosen for place in range(len(pictures))]
    if config.validation.every and not any(marked):
        raise TrainingError(
            f"validation holds pictures out, and there is {len(pictures)} in all. Add pictures, or turn it off."
        )
    if pictures and all(marked):
        raise TrainingError(f"all {len(pictures)} pictures are held out for validation, and none is left to train on.")
    return marked


def _latents(model, vae, pictures: Sequence[Picture], config: TrainConfig, cache: Cache) -> list[Tensor]:
    """Of every picture, cut to its size, in the model's own space."""
    sizes = [size_of(picture, config) for picture in pictures]
    vae_hash = comfy_encoders.vae_fingerprint(vae)
    keys = [_latent_key(vae_hash, picture, size) for picture, size in zip(pictures, sizes, strict=True)]

    def encode(places: Sequence[int]) -> Iterator[Tensor]:
        cut: Iterable[Tensor] = (buckets.cut(pictures[place].load(), *sizes[place]) for place in places)
        return comfy_encoders.encode_pictures(vae, cut)

    with torch.inference_mode(False):
        made = cache.values(keys, encode, is_good=is_finite)
        check_latents([picture.name for picture in pictures], made)  # before minutes go into captions and a large model
        return [comfy_encoders.latent_for_model(model, latent) for latent in made]


def _latent_key(vae_hash: str, picture: Picture, size: tuple[int, int]) -> str:
    return fingerprints.of_parts("latent", FORMAT, comfy_encoders.VERSION, vae_hash, picture.content, str(size))


def size_of(picture: Picture, config: TrainConfig) -> tuple[int, int]:
    """Height and width in pixels that a picture is trained at."""
    if config.data.crop == "square":
        return config.data.resolution, config.data.resolution
    return buckets.size_of(*picture.size, config.data.resolution, config.data.bucket_step)


def _mask(mask: Tensor, latent: Tensor) -> Tensor:
    """H,W -> 1,h,w of the latent's size, cut as the picture is."""
    height, width = latent.shape[-2:]
    return buckets.cut(mask[..., None], height, width).movedim(-1, 0)


def _texts(picture: Picture, config: TrainConfig) -> list[list[str]]:
    """Each caption in the orders in which it is shown."""
    if not config.data.shuffle:
        return [[text] for text in picture.captions]
    return [captions.shuffled(text, config.data.keep_parts, ORDERS, config.seed) for text in picture.captions]


def _class_texts(pictures: Sequence[Picture], texts: list[list[str]], config: TrainConfig) -> list[list[str]]:
    """Without the trigger, in the order of `texts`; empty without prior preservation."""
    if not config.prior.weight:
        return [[] for _ in texts]
    by_place = {
        (f"{picture.name}, caption {place}" if place else picture.name): text
        for picture, group in zip(pictures, texts, strict=True)
        for place, text in enumerate(group)
    }
    others = iter(captions.class_captions(by_place, config.prior.trigger, config.prior.class_noun).values())
    return [list(itertools.islice(others, len(group))) for group in texts]


def _conditions(clip, texts: Sequence[str], cache: Cache, guidance: float) -> Mapping[str, list]:
    """The CONDITIONING of every distinct text."""
    comfy_encoders.check_clip(clip)
    clip_hash = comfy_encoders.clip_fingerprint(clip)
    made: dict[str, list] = {}
    for store, kept in ((cache, True), (Cache(None), False)):
        chosen = [text for text in dict.fromkeys(texts) if comfy_encoders.is_cacheable(text) == kept]
        made |= zip(chosen, _encoded(clip, clip_hash, chosen, store), strict=True)
    return {text: _guided(condition, guidance) for text, condition in made.items()}


def _encoded(clip, clip_hash: str, texts: Sequence[str], cache: Cache) -> list[list]:
    """The CONDITIONING of each text."""
    keys = [fingerprints.of_parts("text", FORMAT, comfy_encoders.VERSION, clip_hash, text) for text in texts]
    with torch.inference_mode(False):
        return cache.values(
            keys, lambda places: comfy_encoders.encode_captions(clip, [texts[place] for place in places])
        )


def _guided(condition: list, guidance: float) -> list:
    """A CONDITIONING that tells the network its guidance, as core's FluxGuidance does; others do not look at it."""
    return [[tokens, {**more, "guidance": guidance}] for tokens, more in condition]
