"""LoRAs beside the frozen layers of a MODEL, f(x) + mask * h(x), each acting in its own region alone.

The weights are never changed. Where each LoRA acts is known from the CONDITIONING: it carries masks, which ComfyUI cuts
as it cuts the latent for a region (`area`), and batches as it batches the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import comfy.conds
import comfy.lora
import comfy.model_management
import comfy.utils
import torch
from comfy.patcher_extension import PatcherInjection, WrappersMP
from torch import Tensor, nn

from .branches import Branch, Difference, LowRank, added, on_device
from .placement import Placement

KEY = "isengard_scene"
_Make = Callable[[Tensor], Branch]  # of the weight that it stands beside
_MASKS, _WORDS = "isengard_scene_masks", "isengard_scene_words"


class SceneError(ValueError):
    """A scene that cannot be drawn; the message says what to do."""


class RegionMasks(comfy.conds.CONDRegular):
    """1,N,h,w: where each of N characters stands, in latent pixels."""

    def process_cond(self, batch_size, area=None, **kwargs):
        masks = self.cond
        if area is not None:
            dims = len(area) // 2  # of which the last two are height and width
            height, width, top, left = area[dims - 2], area[dims - 1], area[-2], area[-1]
            masks = masks[:, :, top : top + height, left : left + width]
        return self._copy_with(comfy.utils.repeat_to_batch_size(masks, batch_size))


def placed(conditioning: list, masks: Tensor, words: Tensor) -> list:
    """The CONDITIONING with what the LoRAs of a scene are told. masks: N,h,w; words: N, 1 for whom the text is."""
    conds = {_MASKS: RegionMasks(masks[None]), _WORDS: comfy.conds.CONDRegular(words[None])}
    return [[text, {**about, "model_conds": {**about.get("model_conds", {}), **conds}}] for text, about in conditioning]


def with_adapters(model, adapters: Sequence[Mapping], strengths: Sequence[float], size: tuple[int, int]):
    """A new MODEL with the adapters of N LoRAs (of `comfy_lora.Matched`) beside its layers, for latents of this size
    h,w. Text encoders' are left out. Without the conditioning of a scene they do nothing."""
    patched = model.clone()
    now = _Now()
    layers: dict[str, list[tuple[int, _Make]]] = {}
    for who, (of_one, strength) in enumerate(zip(adapters, strengths, strict=True)):
        for key, adapter in of_one.items() if strength else ():
            name = key if isinstance(key, str) else key[0]
            if name.startswith("diffusion_model."):
                layers.setdefault(name.removesuffix(".weight"), []).append((who, _maker(key, adapter, strength)))
    hooks = [_Hook(patched.model, path, makers, now) for path, makers in layers.items()]
    patched.set_injections(KEY, [PatcherInjection(
        inject=lambda _: [hook.on() for hook in hooks], eject=lambda _: [hook.off() for hook in hooks]
    )])  # fmt: skip
    for kind, wrapper in ((WrappersMP.APPLY_MODEL, now.wrapper), (WrappersMP.OUTER_SAMPLE, _only_of(size))):
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


def _only_of(size: tuple[int, int]):
    """Refuses to sample latents of another size, which ComfyUI could not cut into the scene's windows."""

    def wrapper(executor, noise, *args, **kwargs):
        height, width = noise.shape[-2:]
        if (height, width) != size:
            raise SceneError(
                f"the scene was made for a latent of {size[1]} x {size[0]}, and the sampler was given {width} x "
                f"{height}. Connect the scene's own latent, or give the scene the picture's width and height."
            )
        return executor(noise, *args, **kwargs)

    return wrapper


class _Now:
    """What the call of the network that is under way says of where LoRAs act; None outside a scene's."""

    def __init__(self):
        self.placement: Placement | None = None

    def wrapper(self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **conds):  # noqa: B006
        masks, words = conds.pop(_MASKS, None), conds.pop(_WORDS, None)
        if masks is not None:
            text = 0 if c_crossattn is None else c_crossattn.shape[1]
            self.placement = Placement(masks.to(x.device), words.to(x.device), text)
        try:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **conds)
        finally:
            self.placement = None


class _Hook:
    """A layer's forward with branches beside it, while it is on."""

    def __init__(self, model: nn.Module, path: str, makers: Sequence[tuple[int, _Make]], now: _Now):
        self._layer, self._path, self._now = comfy.utils.get_attr(model, path), path, now
        self._makers, self._branches, self._before = makers, [], None

    def on(self) -> None:
        if self._before is None:
            device, weight = comfy.model_management.get_torch_device(), self._layer.weight
            dtype = weight.dtype if weight.dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float32
            self._branches = [(who, on_device(make(weight), device, dtype)) for who, make in self._makers]
            self._before, self._layer.forward = self._layer.forward, self._forward

    def off(self) -> None:
        if self._before is not None:
            self._layer.forward, self._before, self._branches = self._before, None, []

    def _forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        out = self._before(x, *args, **kwargs)
        placement = self._now.placement
        if placement is None:
            return out
        if len(out) != len(placement.masks):
            raise SceneError(
                f"this model works on {len(out)} rows at {self._path} where the sampler gave {len(placement.masks)}: "
                "where a region is cannot be told. Use a model for single pictures."
            )
        for who, branch in self._branches:
            rows, weights = placement.of(who, self._path, out)
            if rows is None or len(rows):
                more = branch(self._layer, x if rows is None else x[rows])
                out = added(out, more if weights is None else more * weights, rows, branch.rows)
        return out


def _maker(key, adapter, strength: float) -> _Make:
    """Of a key and an adapter as ComfyUI's `add_patches` takes them."""
    name, offset, function = (key, None, None) if isinstance(key, str) else (*key, None)[:3]
    rows = None if offset is None else slice(offset[1], offset[1] + offset[2])
    if getattr(adapter, "name", "") == "lora" and function is None and (offset is None or offset[0] == 0):
        up, down, alpha, middle, dora_scale, reshape = adapter.weights
        if middle is None and dora_scale is None and reshape is None:
            scale = strength * (1.0 if alpha is None else alpha / len(down))
            return lambda weight: LowRank(down.float(), up.float() * scale, rows)
    patch = (strength, adapter, 1.0, offset, function)
    return lambda weight: _difference(weight, patch, name)


def _difference(weight: Tensor, patch: tuple, name: str) -> Branch:
    """By ComfyUI's own arithmetic. It is as large as the weight, in the weight's type. Some kinds depend on the weight,
    which has to be the one that is beside it: of a model that is loaded."""
    before = weight.detach().to(torch.float32, copy=True)
    after = comfy.lora.calculate_weight([patch], before.clone(), name)
    dtype = weight.dtype if weight.dtype.is_floating_point and weight.dtype.itemsize > 1 else torch.float32
    return Difference((after - before).to(dtype))
