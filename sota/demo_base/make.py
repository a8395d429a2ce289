"""Makes the demo base from nothing: `python -m sota.demo_base` in the pack's folder, or `make demo-base`.

Stages: draw the pictures, train the autoencoder, encode pictures and captions, train the picture model, write the
file. It can be stopped at any time, and goes on where it was; --seconds stops it by itself. Needs ComfyUI's source
(COMFYUI_PATH), for the shapes of the networks, and the packages that the sample character is drawn with.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from ...trainers import state_file
from ..sample_character import draw as sample_character
from . import autoencoder, checkpoint, checkpoint_file, comfy_parts, diffusion, drawing, people, text_encoder

PICTURES, SEED = 16000, 0
DRAWN_FOR_DIGEST = 20
CHECK_PICTURES, CHECK_SEED = 200, 5  # of held-out people, for the autoencoder's figure
LATENT_SCALE, LATENT_SHIFT = 1.5305, 0.0609  # SD3's: what ComfyUI does to a latent before the model sees it
ENCODE_BATCH = 64
# errors whose message is all that a person needs
TOLD = (sample_character.OtherVersions, comfy_parts.NoComfyUI, checkpoint.CannotGoOn, state_file.DamagedState)


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.comfyui is None:
        parser.error("no ComfyUI: set COMFYUI_PATH, or give --comfyui")
    try:
        sample_character.require_pinned()
        comfy_parts.use_comfyui(options.comfyui, options.device == "cpu")
        make(options)
    except TOLD as error:
        parser.error(str(error))


def make(options: argparse.Namespace) -> None:
    """All stages, as far as the time allows."""
    end = time.monotonic() + options.seconds
    device = torch.device(options.device)
    for needed in (options.folder, options.out.parent):
        needed.mkdir(parents=True, exist_ok=True)
    files = planned_files(options)

    _say(f"{options.pictures} pictures")
    drawing.draw_training_set(files.pictures, SEED, options.pictures, os.cpu_count() or 1)
    pictures = np.load(files.pictures, mmap_mode="r")
    torch.manual_seed(SEED)  # fresh weights
    settings, left = autoencoder_config(options), end - time.monotonic()
    _tell("autoencoder", autoencoder.train(pictures, settings, files.autoencoder, device, left))
    average = load_average(files.autoencoder)
    trained = _ready_autoencoder(average, device)
    _say(f"autoencoder: {autoencoder.psnr(trained, held_out_pictures()):.2f} dB on pictures of held-out people")
    if time.monotonic() > end:
        return

    files = dataclasses.replace(files, encoder=digest_of_encoder(average))
    examples = encoded(files, pictures, [portrait.caption for portrait in portraits(options)], trained)
    settings, left = diffusion_config(options), end - time.monotonic()
    _tell("picture model", diffusion.train(examples, settings, files.diffusion, device, left, options.compile))
    export(files, options.out)


def portraits(options: argparse.Namespace) -> list[people.Portrait]:
    return [people.training_portrait(SEED, index) for index in range(options.pictures)]


def autoencoder_config(options: argparse.Namespace) -> autoencoder.AutoencoderConfig:
    return autoencoder.AutoencoderConfig(steps=options.autoencoder_steps)


def diffusion_config(options: argparse.Namespace) -> diffusion.DiffusionConfig:
    return diffusion.DiffusionConfig(steps=options.diffusion_steps)


def planned_files(options: argparse.Namespace) -> Files:
    return Files(
        options.folder,
        data=digest_of_pictures(portraits(options)),
        settings=digest_of_settings(autoencoder_config(options)),
        picture_settings=digest_of_settings(diffusion_config(options)),
    )


def _ready_autoencoder(weights: dict[str, Tensor], device: torch.device) -> nn.Module:
    model = comfy_parts.autoencoder(autoencoder.LATENT_CHANNELS)
    model.load_state_dict(weights)
    return model.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class Files:
    """Where each stage keeps what it made. The names tell what it was made from, so that nothing is gone on with that
    belongs to other people, captions, settings or weights. All but the folder are digests: of people and captions, of
    either network's settings, and of the encoder's weights."""

    folder: Path
    data: str
    settings: str
    picture_settings: str
    encoder: str = ""

    @property
    def pictures(self) -> Path:
        return self.folder / f"pictures-{self.data}.npy"

    @property
    def autoencoder(self) -> Path:
        return self.folder / f"autoencoder-{self.data}-{self.settings}.safetensors"

    @property
    def latents(self) -> Path:
        return self.folder / f"latents-{self.data}-{self.encoder}.npy"

    @property
    def text(self) -> tuple[Path, Path]:
        """Of the features a token, and of the whole caption."""
        key = f"{self.data}-{text_encoder.SHA256[:8]}"
        return self.folder / f"text-{key}.npy", self.folder / f"pooled-{key}.npy"

    @property
    def diffusion(self) -> Path:
        return self.folder / f"diffusion-{self.data}-{self.encoder}-{self.picture_settings}.safetensors"


def digest(values: list) -> str:
    """Eight hex digits that tell values apart by their printed form."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:8]


def digest_of_pictures(portraits: list[people.Portrait]) -> str:
    """Tells sets of training pictures apart: people, looks, captions, and the first few pictures as they are drawn."""
    drawn = [drawing.portrait_pixels(portrait).tobytes() for portrait in portraits[:DRAWN_FOR_DIGEST]]
    return digest([portraits, [hashlib.sha256(each).hexdigest() for each in drawn]])


def digest_of_encoder(average: dict[str, Tensor]) -> str:
    """Tells latents apart: the decoder alone may be trained on without them."""
    weights = [weight for name, weight in average.items() if name.startswith("taesd_encoder.")]
    return digest([float(weight.double().sum()) for weight in weights])


def digest_of_settings(settings: autoencoder.AutoencoderConfig | diffusion.DiffusionConfig) -> str:
    """All settings but the number of steps: a training may be prolonged until its rate begins to fall."""
    return digest([dataclasses.replace(settings, steps=0)])


def held_out_pictures() -> np.ndarray:
    """N,H,W,3 uint8: the held-out people in turn, with random looks."""
    generator, who = np.random.default_rng(CHECK_SEED), people.held_out()
    looks = [people.random_look(generator) for _ in range(CHECK_PICTURES)]
    return np.stack([drawing.pixels(who[index % len(who)], look) for index, look in enumerate(looks)])


def encoded(files: Files, pictures: np.ndarray, captions: list[str], model: nn.Module) -> diffusion.Examples:
    """Latents and text features of every picture, from disk where they are there already."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def latents(start: int, stop: int) -> list[np.ndarray]:
        image = torch.tensor(pictures[start:stop], device=device).permute(0, 3, 1, 2).float().div(255)
        return [model.taesd_encoder(image).half().cpu().numpy()]

    encode = comfy_parts.text_encoder(text_encoder.weights(), device)

    def texts(start: int, stop: int) -> list[np.ndarray]:
        return [part.half().cpu().numpy() for part in encode([*captions, ""][start:stop])]

    (latent_rows,) = _in_batches([files.latents], len(pictures), latents)
    text_rows, pooled_rows = _in_batches([*files.text], len(captions) + 1, texts)
    return diffusion.Examples(latent_rows, text_rows, pooled_rows)


def _in_batches(files: list[Path], count: int, compute: Callable[[int, int], list[np.ndarray]]) -> list[np.ndarray]:
    """Arrays of `count` rows on disk, computed batch by batch unless they are there."""
    if not all(file.exists() for file in files):
        _say(f"encoding {count} rows of {', '.join(file.stem for file in files)}")
        partials = [file.with_suffix(".partial") for file in files]
        arrays: list[np.ndarray] = []
        for start in range(0, count, ENCODE_BATCH):
            rows = compute(start, min(start + ENCODE_BATCH, count))
            if not arrays:
                shapes = [(count, *part.shape[1:]) for part in rows]
                arrays = [
                    np.lib.format.open_memmap(partial, "w+", np.float16, shape)
                    for partial, shape in zip(partials, shapes, strict=True)
                ]
            for array, part in zip(arrays, rows, strict=True):
                array[start : start + len(part)] = part
        for array, partial, file in zip(arrays, partials, files, strict=True):
            array.flush()
            partial.replace(file)
    return [np.load(file, mmap_mode="r") for file in files]


def load_average(file: Path) -> dict[str, Tensor]:
    """The averaged weights of a training's state file."""
    return state_file.load(file)["ema"]


def export(files: Files, out: Path) -> None:
    """Both networks as trained so far, with how they came about in the header."""
    states = {"autoencoder": state_file.load(files.autoencoder), "picture_model": state_file.load(files.diffusion)}
    steps = {f"{name}_steps": state["step"] for name, state in states.items()}
    origin = {"training_pictures": files.data} | steps
    write_checkpoint(states["autoencoder"]["ema"], states["picture_model"]["ema"], out, origin)
    _say(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB), {steps}")


def write_checkpoint(
    autoencoder_weights: dict[str, Tensor], picture_weights: dict[str, Tensor], out: Path, origin: dict[str, str | int]
) -> None:
    """Writes both networks as float16 under an SD3 checkpoint's names; origin: for the header."""
    scaling = {"vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(LATENT_SHIFT)}
    states = {
        checkpoint_file.AUTOENCODER: autoencoder_weights | scaling,
        checkpoint_file.PICTURE_MODEL: diffusion.padded(picture_weights),
    }
    weights = {
        prefix + name: weight.half().contiguous() for prefix, state in states.items() for name, weight in state.items()
    }
    header = {"title": "Isengard Demo Base", "license": "CC0-1.0"} | {key: str(value) for key, value in origin.items()}
    state_file.write(out, safetensors.torch.save(weights, header))


def _tell(name: str, metrics: Iterable[dict[str, float]]) -> None:
    for row in metrics:
        _say(f"{name}: step {row['step']}, loss {row['loss']:.4f}, {row['seconds_per_step']:.2f} s a step")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m sota.demo_base", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    build = Path("build") / "demo_base"
    has_gpu = torch.cuda.is_available()
    parser.add_argument(
        "--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), metavar="FOLDER", help="its source"
    )
    parser.add_argument("--folder", type=Path, default=build, help=f"for what it goes on from ({build})")
    parser.add_argument("--out", type=Path, default=build / checkpoint_file.WEIGHTS.name, metavar="FILE")
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long; run again to go on")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--autoencoder-steps", type=int, default=autoencoder.AutoencoderConfig.steps)
    parser.add_argument("--diffusion-steps", type=int, default=diffusion.DiffusionConfig.steps)
    parser.add_argument("--compile", action="store_true", help="compile the picture model: needs a C++ compiler")
    return parser
