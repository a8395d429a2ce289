"""What the training benchmark measures inside ComfyUI's own process: `python training_worker.py COMFYUI WHAT JSON`.

Prints one line of JSON. Each measurement has a process of its own, so that none is warmed up by another.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import types
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    comfyui, what, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    sys.argv = [sys.argv[0], "--cpu"]
    sys.path.insert(0, comfyui)
    sys.modules["isengard"] = types.ModuleType("isengard")
    sys.modules["isengard"].__path__ = [str(ROOT)]
    from isengard.tests.comfyui.boot import make_torchvision_importable

    make_torchvision_importable()
    import comfy.options

    comfy.options.enable_args_parsing()
    print(json.dumps(MEASUREMENTS[what](**options)))


def _loaded(checkpoint: str | None):
    """MODEL, CLIP and VAE as a loader node gives them."""
    import comfy.sd
    import torch

    from isengard.sota.demo_base import checkpoint_file

    with torch.inference_mode():
        if checkpoint is None:
            return comfy.sd.load_state_dict_guess_config(checkpoint_file.state_dict())[:3]
        return comfy.sd.load_checkpoint_guess_config(checkpoint)[:3]


def _pictures(folder: str) -> list:
    """Read by hand: the pack's own reader stands behind its nodes, which want a server."""
    import numpy as np
    import torch
    from PIL import Image

    from isengard.trainers import recipe

    pictures = []
    for file in sorted(Path(folder).glob("*.png")):
        pixels = torch.from_numpy(np.asarray(Image.open(file).convert("RGB"))).float().div(255)
        caption = file.with_suffix(".txt").read_text(encoding="utf-8")
        pictures.append(recipe.Picture.of_pixels(file.name, pixels, (caption,)))
    return pictures


def _examples(model, clip, vae, folder: str, config):
    from isengard.trainers import recipe
    from isengard.trainers.cache import Cache

    return recipe.encode(model, clip, vae, _pictures(folder), config, Cache(None))


def _config(steps: int, batch_size: int, resolution: int, targets: str = "attention_mlp"):
    from isengard.trainers.config import AdapterConfig, DataConfig, OptimizerConfig, TrainConfig

    return TrainConfig(
        steps=steps, checkpoint_every=0, optimizer=OptimizerConfig(learning_rate=1e-3),
        adapter=AdapterConfig(targets=targets), data=DataConfig(batch_size=batch_size, resolution=resolution),
    )  # fmt: skip


def floor(checkpoint: str | None, folder: str, steps: int, **settings) -> dict[str, float]:
    """Seconds of a training step of ours, and of the forward and input-gradient backward pass of the base alone, in
    turns, in the same precision and with nothing recomputed: medians."""
    import torch

    from isengard.trainers import comfy_model, loop

    model, clip, vae = _loaded(checkpoint)
    config = _config(steps, **settings)
    with torch.inference_mode():
        examples = _examples(model, clip, vae, folder, config)
    order, ours, alone = examples.order(config), [], []
    with comfy_model.opened(model, config.precision) as base:

        def measure_floor(progress) -> None:
            ours.append(progress.seconds)
            noisy = examples.batch(order.batch(progress.step), base, config)
            with _without_adapters(base):
                started = time.perf_counter()
                x = noisy.x.requires_grad_(True)
                base.predict(x, noisy.sigma, noisy.conditions).square().mean().backward()
                alone.append(time.perf_counter() - started)

        loop.train(base, examples, config, loop.Watch(measure_floor))
    return {"ours": statistics.median(ours[2:]), "floor": statistics.median(alone[2:])}


def _without_adapters(base):
    from isengard.trainers import adapters

    return adapters.disabled(adapters.adapted(base.network))


def base_copy(checkpoint: str | None, folder: str, **settings) -> dict[str, float]:
    """Bytes of tensors that came into being from the loaded base to its first step, and of weights in another type that
    are kept from its forward to its backward pass, as a share of the base: a second copy would be 1. Not counted:
    conditions, the adapters with their gradients, and the optimizer's two averages of them."""
    import comfy.model_management
    import torch

    from isengard.trainers import adapters, comfy_model, loop

    model, clip, vae = _loaded(checkpoint)
    config = _config(1, **settings)
    with torch.inference_mode():
        examples = _examples(model, clip, vae, folder, config)
        comfy.model_management.load_models_gpu([model], force_full_load=True)
    size = sum(weight.nbytes for weight in model.model.diffusion_model.state_dict().values())
    before, found = _tensor_bytes(), {}
    with comfy_model.opened(model, config.precision) as base:
        opened = _tensor_bytes()
        loop.prepare(base, examples)
        conditions = _tensor_bytes() - opened

        def measure(progress) -> None:
            layers = adapters.adapted(base.network)
            own = 4 * sum(parameter.nbytes for parameter in adapters.parameters(layers).values())
            found["share"] = (_tensor_bytes() - before - conditions - own) / size

        with _copies_kept(base.network) as copies:
            loop.train(base, examples, config, loop.Watch(measure))
    return {"share": found["share"] + sum(copies.values()) / size}


@contextmanager
def _copies_kept(network):
    """Bytes by address of what autograd keeps that has a weight's values and is not the weight."""
    import torch

    weights: dict[tuple, list] = {}
    for weight in network.parameters():
        weights.setdefault(tuple(sorted(weight.shape)), []).append(weight)
    copies: dict[int, int] = {}

    def look(tensor):
        for weight in weights.get(tuple(sorted(tensor.shape)), ()) if tensor.dim() > 1 else ():
            cast = weight.detach().to(tensor.dtype)
            alike = [torch.equal(tensor, each) for each in (cast, cast.transpose(0, 1)) if each.shape == tensor.shape]
            if any(alike) and tensor.data_ptr() != weight.data_ptr():
                copies[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, lambda tensor: tensor):
        yield copies


def _tensor_bytes() -> int:
    """Of all storages of living tensors."""
    import torch

    gc.collect()
    storages = {}
    for each in gc.get_objects():
        if isinstance(each, torch.Tensor):
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def held_out(folder: str, files: dict[str, str], resolution: int) -> dict[str, float]:
    """The native loss on held-out pictures of the demo base with each LoRA file, and of the base alone, at the same
    noise and levels."""
    import comfy.utils
    import torch

    from isengard.trainers import comfy_model, validation
    from isengard.trainers.batch import Examples
    from isengard.trainers.config import TrainConfig, ValidationConfig

    model, clip, vae = _loaded(None)
    config = TrainConfig(validation=ValidationConfig(every=1, levels=10))
    with torch.inference_mode():
        pictures = _examples(model, clip, vae, folder, _config(1, 1, resolution)).trained
    patched = {name: comfy_model.with_lora(model, comfy.utils.load_torch_file(file)) for name, file in files.items()}
    found = {}
    for name, each in {"base": model, **patched}.items():
        with comfy_model.opened(each, "loaded") as base:
            check = validation.prepare(base, Examples(pictures, pictures), config)
            found[name] = check.mean_loss()
    return found


def setup(folder: str, cache: str, resolution: int) -> dict[str, float]:
    """Seconds to encode a data set with an empty cache, and again with a full one."""
    import torch

    from isengard.trainers import recipe
    from isengard.trainers.cache import Cache

    (model, clip, vae), pictures = _loaded(None), _pictures(folder)
    seconds = []
    for _ in ("cold", "warm"):
        started = time.perf_counter()
        with torch.inference_mode():
            recipe.encode(model, clip, vae, pictures, _config(1, 1, resolution), Cache(Path(cache)))
        seconds.append(time.perf_counter() - started)
    return {"cold": seconds[0], "warm": seconds[1]}


MEASUREMENTS = {"floor": floor, "base_copy": base_copy, "held_out": held_out, "setup": setup}

if __name__ == "__main__":
    main()
