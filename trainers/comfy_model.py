"""ComfyUI's MODEL as the trainer uses it. Of trainers/, only the files comfy_*.py import comfy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_sampling
import comfy.sampler_helpers
import comfy.samplers
import comfy.sd
import torch
from torch import Tensor, nn

from . import comfy_precision, fingerprints
from .comfy_precision import Precision
from .errors import TrainingError
from .in_place import inputs_kept

# Class names in comfy.model_sampling; a newer ComfyUI has more than an older one, and an unknown one still trains.
_PREDICTIONS = {
    "EPS": "eps",
    "V_PREDICTION": "v",
    "V_PREDICTION_DDPM": "v",
    "EDM": "edm",
    "CONST": "flow",
    "COSMOS_RFLOW": "flow",
    "X0": "x0",
}
_NOT_TRAINABLE = ("IMG_TO_IMG", "IMG_TO_IMG_FLOW")  # they answer in one step: there is no noise to predict
_FEW_WEIGHTS = 2**18  # of attention, for each head of a picture: 512 tokens by 512


class ComfyBase:
    """A loaded ComfyUI MODEL as the training's frozen base (see `batch.Base`). Made by `opened`."""

    def __init__(self, patcher, precision: Precision):
        model = patcher.model
        self.patcher = patcher
        self.as_loaded = precision.suspended  # for what is to come out as it does outside a training
        self._model = model
        self._conditions: dict[tuple, dict] = {}  # by identity and size of latent
        self._seen: list[Any] = []  # what `_conditions` knows by identity must live as long
        self.network: nn.Module = model.diffusion_model
        self.sampling = model.model_sampling
        self.patch_size = _patch_size(model.diffusion_model)
        self.device: torch.device = patcher.load_device
        self.dtype: torch.dtype = precision.dtype

    def sigmas(self, positions: Tensor, shifted: bool = False) -> Tensor:
        """Noise levels at positions 0 to 1: whole timesteps of a discrete schedule, sigma itself for flow.

        shifted: flow models get their sampler's shift (arXiv 2403.03206, section 5.3.2; 3 for SD3), which spends more
        of its steps on high noise; the others' schedules have none.
        """
        if isinstance(self.sampling, comfy.model_sampling.CONST) and not shifted:
            return positions
        if isinstance(self.sampling, comfy.model_sampling.ModelSamplingDiscrete):
            sigmas = self.sampling.sigmas.cpu().double()
            return sigmas[(positions * len(sigmas)).long().clamp(0, len(sigmas) - 1)]
        levels = [self.sampling.percent_to_sigma(1.0 - position) for position in positions.tolist()]
        return torch.tensor([float(level) for level in levels], dtype=torch.float64)

    def predict(self, x: Tensor, sigma: Tensor, conditions: Sequence[Any]) -> Tensor:
        """The network's raw output, through ComfyUI's own `apply_model` (scaling, dtypes, extra conditions)."""
        conds = [self._model_conds(condition, x) for condition in conditions]
        groups = _alike(conds)
        with _raw_output(self.sampling):
            outputs = [self._apply(x[group], sigma[group], [conds[place] for place in group]) for group in groups]
        order = torch.tensor([place for group in groups for place in group])
        return torch.cat(outputs)[order.argsort()]

    def _apply(self, x: Tensor, sigma: Tensor, conds: list[dict]) -> Tensor:
        options = {"optimized_attention_override": _attention}
        return self._model.apply_model(x, sigma, transformer_options=options, **comfy.samplers.cond_cat(conds))

    def prepare(self, latent: Tensor, conditions: Sequence[Any]) -> None:
        """Make what the model makes of the conditions for a latent C,H,W, once: some networks run layers of their own
        for it, which is to happen before they have adapters."""
        for condition in conditions:
            self._model_conds(condition, latent[None].to(self.device, torch.float32))

    @torch.no_grad()
    def _model_conds(self, conditioning, x: Tensor) -> dict:
        """ComfyUI's COND values of one CONDITIONING for a latent of x's size, kept."""
        key = (id(conditioning), x.shape[1:])
        if key not in self._conditions:
            converted = comfy.sampler_helpers.convert_cond(conditioning)
            one = x[:1].detach()
            encoded = comfy.samplers.encode_model_conds(
                self._model.extra_conds, converted, one, self.device, "positive", latent_image=torch.zeros_like(one)
            )
            conds = encoded[0]["model_conds"]
            self._seen.append(conditioning)
            self._conditions[key] = {
                name: cond.process_cond(batch_size=1, device=self.device, area=None) for name, cond in conds.items()
            }
        return self._conditions[key]


def _patch_size(network: nn.Module) -> int:
    """Latent pixels to a side of a token; 2 where the network does not say."""
    size = getattr(network, "patch_size", 2)
    return int(size[-1] if isinstance(size, (tuple, list)) else size)


@contextmanager
def opened(patcher, precision: str) -> Iterator[ComfyBase]:
    """Load a MODEL whole, ready for a backward pass through it; other models leave a GPU (on a CPU ComfyUI keeps them).
    precision: one of config.PRECISIONS.

    ComfyUI loads weights under inference mode, and autograd refuses to save such tensors. They are replaced one by
    one by ordinary tensors of the same values, so there is never a second copy of the model. What is switched for
    training is switched back at the end, whatever happens. Raises TrainingError where ComfyUI keeps weights away from
    the device.
    """
    resident = _resident(patcher)
    try:
        with torch.inference_mode():  # as ComfyUI always loads: its patching of weights fails under autograd
            _load_whole(resident)
        with torch.inference_mode(False):
            _make_ordinary(resident.model)
            dtype = comfy_precision.compute_dtype(resident, precision)
            with (
                _frozen(resident.model), _training(), inputs_kept(resident.model.diffusion_model),
                Precision(resident.model, dtype) as computing,
            ):  # fmt: skip
                yield ComfyBase(resident, computing)
    finally:
        if resident is not patcher:
            patcher.non_dynamic_delegate_model = None  # else it stays in memory beside the user's


def load_again(base: ComfyBase) -> None:
    """Bring a base back whole and ready for a backward pass, after something else was loaded."""
    with torch.inference_mode():
        _load_whole(base.patcher)
    with torch.inference_mode(False):
        _make_ordinary(base.patcher.model)


def _load_whole(patcher) -> None:
    comfy.model_management.load_models_gpu([patcher], memory_required=1e20, force_full_load=True)
    _check_whole(patcher)


def prediction_type(patcher) -> str:
    """ "eps", "v", "edm", "flow" or "x0". Raises TrainingError for a model that has no noise to predict."""
    classes = [cls.__name__ for cls in type(patcher.get_model_object("model_sampling")).__mro__]
    unfit = [name for name in classes if name in _NOT_TRAINABLE]
    if unfit:
        raise TrainingError(
            f"this model maps a picture to a picture ({unfit[0]}) and cannot be trained on a character."
        )
    return next((_PREDICTIONS[name] for name in classes if name in _PREDICTIONS), classes[0])


def model_classes(patcher) -> list[str]:
    """The class by which ComfyUI knows the model's family, and those that it is made from."""
    return [cls.__name__ for cls in type(patcher.model.model_config).__mro__]


def parameter_count(patcher) -> int:
    return sum(parameter.numel() for parameter in patcher.model.diffusion_model.parameters())


def fingerprint(base: ComfyBase) -> str:
    """A sha256 that tells base models apart, by weights (a LoRA that is loaded into them counts), prediction type and
    noise schedule, which nodes may change on the same weights."""
    return fingerprints.of_parts(
        fingerprints.of_weights(base.network.state_dict()), schedule_fingerprint(base.sampling)
    )


def schedule_fingerprint(sampling) -> str:
    """Of a model's prediction type and noise schedule."""
    numbers = {name: value for name, value in vars(sampling).items() if isinstance(value, (bool, int, float, str))}
    classes = [cls.__name__ for cls in type(sampling).__mro__]
    schedule = dict(sampling.named_buffers())
    return fingerprints.of_nested([classes, numbers, schedule])


def with_lora(patcher, lora: Mapping[str, Tensor]):
    """The MODEL with a LoRA at full strength, as LoraLoaderModelOnly would give it."""
    patched, _ = comfy.sd.load_lora_for_models(patcher, None, dict(lora), 1.0, 0.0)
    return patched


def _resident(patcher):
    """The MODEL, or on a newer ComfyUI that pages its weights in and out of the GPU ("dynamic"), a MODEL of the same
    file that does not: a backward pass needs every weight to stay where it was. Not run on a GPU yet."""
    if not getattr(patcher, "is_dynamic", bool)():
        return patcher
    try:
        return patcher.get_non_dynamic_delegate()
    except RuntimeError as error:
        raise TrainingError(
            f"ComfyUI pages this model's weights in and out of the GPU, and cannot load it whole ({error}). Start "
            "ComfyUI with --disable-dynamic-vram."
        ) from error


def _check_whole(patcher) -> None:
    away = [name for name, weight in patcher.model.named_parameters() if weight.device.type != patcher.load_device.type]
    if away:
        raise TrainingError(
            f"ComfyUI keeps {len(away)} of the model's weights away from {patcher.load_device} ({away[0]}, …), and "
            "training needs them all there. Start ComfyUI without --novram and --lowvram."
        )


def _alike(conds: list[dict]) -> list[list[int]]:
    """Places of conditions that fit into one batch, as ComfyUI's samplers group them."""
    groups: list[list[int]] = []
    for place, cond in enumerate(conds):
        fitting = (group for group in groups if comfy.samplers.cond_equal_size(conds[group[0]], cond))
        group = next(fitting, None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    return groups


def _attention(_function, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None, **options) -> Tensor:
    """PyTorch's attention, whatever ComfyUI was started with: others (sage, sub-quadratic) have no backward, or a
    slow one."""
    functions = comfy.ldm.modules.attention
    if mask is None and not options.get("enable_gqa") and _is_plain_faster(q, k):
        return functions.attention_basic(q, k, v, heads, **options)
    return functions.attention_pytorch(q, k, v, heads, mask, **options)


def _is_plain_faster(q: Tensor, k: Tensor) -> bool:
    """On a CPU PyTorch's fused attention casts bfloat16 as it goes. Forward and backward of 4 pictures with 6 heads of
    141 tokens took 6.4 ms, as two products 1.6 (two cores of an EPYC with AVX512-BF16); of 1024 tokens as long."""
    few = q.shape[-2] * k.shape[-2] <= _FEW_WEIGHTS
    return few and q.device.type == "cpu" and q.dtype == torch.bfloat16


@contextmanager
def _raw_output(sampling) -> Iterator[None]:
    """Let `apply_model` end with the network's output: its last line turns that into the denoised latent."""
    sampling.calculate_denoised = lambda sigma, model_output, model_input: model_output
    try:
        yield
    finally:
        del sampling.calculate_denoised


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No weight asks for a gradient, and linear layers know that they train (ComfyUI's of fp8 choose by that). Other
    modules do not: some networks would drop captions, or normalise by the batch."""
    # by name: the parameters themselves are replaced when the model is loaded again, and must not be held in memory
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    sampling = [module for module in model.modules() if isinstance(module, nn.Linear) and not module.training]
    model.requires_grad_(False)
    for module in sampling:
        module.training = True
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trainable)
        for module in sampling:
            module.training = False


@contextmanager
def _training() -> Iterator[None]:
    """Keep ComfyUI (newer than 0.3.75) from using fused kernels that have no backward."""
    management = comfy.model_management
    if not hasattr(management, "in_training"):
        yield
        return
    before, management.in_training = management.in_training, True
    try:
        yield
    finally:
        management.in_training = before


def _make_ordinary(model: nn.Module) -> None:
    """Replace inference tensors by ordinary ones of the same values, one at a time; shared ones stay shared."""
    replaced: dict[int, Tensor] = {}
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is not None and not _can_be_saved(tensor):
                    if id(tensor) not in replaced:
                        replaced[id(tensor)] = _ordinary(tensor)
                    store[name] = replaced[id(tensor)]


def _can_be_saved(tensor: Tensor) -> bool:
    """Whether autograd can save it: not an inference tensor, nor one that was moved while it was none."""
    if tensor.is_inference():
        return False
    try:
        return tensor._version >= 0
    except RuntimeError:  # "Inference tensors do not track version counter."
        return False


def _ordinary(tensor: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(tensor.detach().clone(), requires_grad=tensor.requires_grad)
    return tensor.clone()
