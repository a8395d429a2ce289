"""A base that computes in another type than it was loaded in, on ComfyUI's own models."""

from __future__ import annotations

import pytest
import torch

from isengard.trainers import adapters, batch
from isengard.trainers.config import ADAPTERS, PRECISIONS, AdapterConfig, TrainConfig

from .comfy_examples import CONFIG, examples
from .test_native_loss import all_three

pytestmark = pytest.mark.comfyui


def answers(base, kind: str) -> torch.Tensor:
    noisy = examples(kind).batch(all_three(0), base, CONFIG)
    with torch.no_grad():
        return base.predict(noisy.x, noisy.sigma, noisy.conditions)


def found_in(model) -> list:
    """What the switch could leave behind."""
    switched = [(vars(module).get("comfy_cast_weights"), "forward" in vars(module)) for module in model.modules()]
    return [model.manual_cast_dtype, *switched]


@pytest.mark.parametrize("kind", ["sd3", "sd15"])
def test_bf16_is_near_fp32_and_leaves_the_base_as_it_was(comfy_model, load, kind):
    patcher = load(kind)
    before = found_in(patcher.model)
    with comfy_model.opened(patcher, "fp32") as base:
        assert base.dtype == torch.float32
        exact = answers(base, kind)
    with comfy_model.opened(patcher, "bf16") as base:
        assert base.dtype == torch.bfloat16
        rough = answers(base, kind)
        with base.as_loaded():
            assert found_in(patcher.model) == before
            assert torch.equal(answers(base, kind), exact)
        assert torch.equal(answers(base, kind), rough)
        with pytest.raises(KeyError), comfy_model.opened(patcher, "bf16"):
            raise KeyError("stop")
    error = (rough - exact).norm() / exact.norm()
    assert 1e-4 < error < 2e-2  # 8 bits: 2^-9 each rounding
    assert found_in(patcher.model) == before
    with comfy_model.opened(patcher, "loaded") as base:
        assert torch.equal(answers(base, kind), exact)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind, targets", [("sd3", "attention_mlp"), ("sd15", "all_layers")])
def test_every_adapters_gradients_in_bf16_point_where_those_in_fp32_do(comfy_model, load, kind, targets, adapter):
    patcher, gradients = load(kind), {}
    config = AdapterConfig(kind=adapter, rank=4, targets=targets)
    for precision in ("fp32", "bf16"):
        with (
            comfy_model.opened(patcher, precision) as base,
            adapters.attached(base.network, config, seed=1) as layers,
        ):
            noisy = examples(kind).batch(all_three(0), base, CONFIG)
            batch.native_loss(base, noisy, CONFIG.objective).backward()
            parameters = adapters.parameters(layers).values()
            assert {each.dtype for each in parameters} == {torch.float32}
            gradients[precision] = torch.cat([each.grad.flatten() for each in parameters if each.grad is not None])
    assert gradients["bf16"].norm().item() == pytest.approx(gradients["fp32"].norm().item(), rel=0.05)
    assert torch.cosine_similarity(gradients["bf16"], gradients["fp32"], dim=0) > 0.99
    assert not torch.equal(gradients["bf16"], gradients["fp32"])


class Odd(torch.nn.Linear):
    """A pack's own layer, with another forward."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_with_a_forward_of_its_own_keeps_it_under_an_adapter(comfy_model, load):
    network = torch.nn.ModuleDict({"attn": torch.nn.ModuleDict({"q": Odd(3, 3), "k": torch.nn.Linear(3, 3)})})
    x = torch.randn(2, 3)
    with torch.no_grad():
        before = {name: layer(x) for name, layer in network["attn"].items()}
        with adapters.attached(network, AdapterConfig(rank=2), seed=0):
            for name, layer in network["attn"].items():
                torch.testing.assert_close(layer(x), before[name])


FAST, SLOW = {"avx512_bf16": True}, {"avx2": True, "avx512_bf16": False}


@pytest.mark.parametrize("features, expected", [
    (FAST, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), (SLOW, torch.float32),
])  # fmt: skip
def test_auto_is_bf16_where_the_cpu_is_fast_at_it(comfy_model, load, monkeypatch, features, expected):
    from isengard.trainers import comfy_precision

    patcher = load("sd3")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    found = {each: comfy_precision.compute_dtype(patcher, each) for each in PRECISIONS}
    assert found == {"auto": expected, "bf16": torch.bfloat16, "fp32": torch.float32, "loaded": torch.float32}


def test_auto_leaves_what_somebody_has_chosen(comfy_model, load, monkeypatch):
    from isengard.trainers import comfy_precision

    def auto(patcher):
        return comfy_precision.compute_dtype(patcher, "auto")

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FAST, raising=False)
    patcher = load("sd3")
    assert auto(patcher) == torch.bfloat16
    chosen = patcher.clone()
    chosen.set_model_compute_dtype(torch.float32)  # as core's ModelComputeDtype does
    assert auto(chosen) == torch.float32
    for option in ("force_fp32", "fp32_unet"):
        with monkeypatch.context() as other:
            other.setattr(comfy_precision.args, option, True)
            assert auto(patcher) == torch.float32
    monkeypatch.setattr(patcher.model, "manual_cast_dtype", torch.float16)
    assert auto(patcher) == torch.float16


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("heads, tokens, words", [(2, 12, 12), (4, 30, 7)])
def test_attention_on_short_sequences_is_pytorchs(comfy_model, heads, tokens, words, mask):
    import comfy.ldm.modules.attention as functions

    q, k, v = (torch.randn(2, count, heads * 8).bfloat16() for count in (tokens, words, words))
    mask = torch.rand(2, tokens, words) > 0.3 if mask else None
    exact = functions.attention_pytorch(q.float(), k.float(), v.float(), heads, mask)

    def error(found):
        return (found.float() - exact).norm() / exact.norm()

    ours = comfy_model._attention(None, q, k, v, heads, mask)
    assert error(ours) < 2.5 * error(functions.attention_pytorch(q, k, v, heads, mask)) < 0.02


def test_attention_is_plain_where_that_is_faster(comfy_model):
    short, long = torch.zeros(1, 64, 8).bfloat16(), torch.zeros(1, 1024, 8).bfloat16()
    assert comfy_model._is_plain_faster(short, long)
    assert not comfy_model._is_plain_faster(long, long)
    assert not comfy_model._is_plain_faster(short.float(), short.float())


def test_the_config_knows_the_precisions():
    for precision in PRECISIONS:
        assert TrainConfig.from_yaml(TrainConfig(precision=precision).to_yaml()).precision == precision
