"""ComfyUI's VAE and text encoder as the trainer uses them: pictures to latents, captions to conditions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import comfy.model_management
import comfyui_version
import torch
from torch import Tensor

from . import fingerprints
from .errors import TrainingError

VERSION: str = comfyui_version.__version__  # another ComfyUI may encode otherwise


def encode_pictures(vae, pictures: Iterable[Tensor]) -> Iterator[Tensor]:
    """The VAE's own latents, one after the other: H,W,3 in 0..1 -> C,h,w float32 on the CPU."""
    for pixels in pictures:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with torch.inference_mode():
            latent = vae.encode(pixels[None])[0].float().cpu()
        yield _ordinary_copy(latent)


def latent_for_model(patcher, latent: Tensor) -> Tensor:
    """A VAE's latent C,h,w in the model's own space (`process_latent_in`).

    Raises TrainingError for the VAE of another model.
    """
    wanted = patcher.model.latent_format.latent_channels
    if latent.shape[0] != wanted:
        raise TrainingError(
            f"the VAE gives latents of {latent.shape[0]} channels and the model takes {wanted}. Connect the VAE that "
            "belongs to this model."
        )
    with torch.inference_mode(False):
        return patcher.model.process_latent_in(latent[None].clone())[0].float().cpu()


def encode_captions(clip, captions: Iterable[str]) -> Iterator[list]:
    """The CONDITIONING of each caption, one after the other."""
    for caption in captions:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with torch.inference_mode():
            condition = clip.encode_from_tokens_scheduled(clip.tokenize(caption))
        yield _ordinary_copy(condition)


def vae_fingerprint(vae) -> str:
    """Tells VAEs apart, by weights."""
    return fingerprints.of_weights(vae.first_stage_model.state_dict())


def check_clip(clip) -> None:
    """Raise TrainingError for a text encoder whose output changes along the sampler's steps."""
    if clip.patcher.forced_hooks or clip.apply_hooks_to_conds:
        raise TrainingError(
            "the text encoder has hooks, which change it from one sampling step to the next; training has no such "
            "steps. Connect the CLIP as it is before its hooks."
        )


def is_cacheable(caption: str) -> bool:
    """Whether the caption and the encoder alone decide its condition: an embedding is a file that may change."""
    return "embedding:" not in caption


def clip_fingerprint(clip) -> str:
    """Tells text encoders apart: by weights, LoRAs to be put into them, and the layer whose output is taken."""
    backup = clip.patcher.backup  # the weights into which a LoRA is merged now, of this CLIP or of another one
    weights = clip.cond_stage_model.state_dict()
    weights |= {name: backup[name].weight for name in weights.keys() & backup.keys()}
    settings = f"{type(clip.cond_stage_model).__name__} {clip.layer_idx} {clip.tokenizer_options}"
    return fingerprints.of_parts(fingerprints.of_weights(weights), *patches_fingerprints(clip.patcher), settings)


def patches_fingerprints(patcher) -> tuple[str, str]:
    """Of what is to be put into the weights, LoRAs above all: its tensors, and how strongly."""
    patches = {
        f"{name}/{place}/{number}": tensor
        for name, entries in patcher.patches.items()
        for place, entry in enumerate(entries)
        for number, tensor in enumerate(_tensors_in(entry))
    }
    strengths = repr([[entry[0], entry[2]] for entries in patcher.patches.values() for entry in entries])
    return fingerprints.of_weights(patches), strengths


def _tensors_in(value) -> Iterator[Tensor]:
    """Every tensor in a patch, which is a tuple of tuples or a weight adapter."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors_in(item)
    elif hasattr(value, "weights"):
        yield from _tensors_in(value.weights)


def _ordinary_copy(value):
    """A CONDITIONING with every tensor copied out of inference mode."""
    if isinstance(value, Tensor):
        with torch.inference_mode(False):
            return value.clone()
    if isinstance(value, dict):
        return {key: _ordinary_copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_ordinary_copy(item) for item in value)
    return value
