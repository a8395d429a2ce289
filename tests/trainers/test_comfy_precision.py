"""A base that computes in another type than it was loaded in, on ComfyUI's own models."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers import adapters, batch, loop
from isengard.trainers.config import ADAPTERS, PRECISIONS, AdapterConfig, OptimizerConfig, TrainConfig

from .test_comfy_model import CONFIG, all_three, examples

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
    with comfy_model.opened(patcher) as base:
        assert torch.equal(answers(base, kind), exact)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind", ["sd3", "sd15"])
def test_every_adapter_is_trained_in_fp32_on_a_base_that_computes_in_bf16(comfy_model, load, kind, adapter):
    """To nearly the numbers of a base in fp32."""
    patcher, results = load(kind), {}
    config = dataclasses.replace(
        CONFIG,
        adapter=AdapterConfig(kind=adapter, rank=4, targets="all_layers" if kind == "sd15" else "attention_mlp"),
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )
    for precision in ("fp32", "bf16"):
        with comfy_model.opened(patcher, precision) as base:

            def look(progress, base=base):
                parameters = adapters.parameters(adapters.adapted(base.network)).values()
                assert {parameter.dtype for parameter in parameters} == {torch.float32}

            results[precision] = loop.train(base, examples(kind), config, loop.Watch(look))
    losses = {precision: [each.loss for each in result.metrics] for precision, result in results.items()}
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=1e-2)
    assert losses["bf16"] != losses["fp32"]


def test_the_gradients_in_bf16_point_where_those_in_fp32_do(comfy_model, load):
    patcher, gradients = load("sd3"), {}
    for precision in ("fp32", "bf16"):
        with (
            comfy_model.opened(patcher, precision) as base,
            adapters.attached(base.network, CONFIG.adapter, seed=1) as layers,
        ):
            noisy = examples("sd3").batch(all_three(0), base, CONFIG)
            batch.native_loss(base, noisy, CONFIG.objective).backward()
            parts = [each.grad for each in adapters.parameters(layers).values() if each.grad is not None]
            gradients[precision] = torch.cat([part.flatten() for part in parts])
    assert torch.cosine_similarity(gradients["bf16"], gradients["fp32"], dim=0) > 0.99


def test_the_cpu_says_whether_it_is_fast_at_bf16(comfy_model, load, monkeypatch):
    from isengard.trainers import comfy_precision

    patcher, cpu = load("sd3"), torch.device("cpu")
    for features, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert comfy_precision.compute_dtype(patcher.model, cpu, "auto") == expected
    assert comfy_precision.compute_dtype(patcher.model, cpu, "loaded") == torch.float32
    assert {comfy_precision.compute_dtype(patcher.model, cpu, each) for each in PRECISIONS} == {
        torch.float32,
        torch.bfloat16,
    }


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("heads, tokens, words", [(2, 12, 12), (4, 30, 7)])
def test_attention_on_short_sequences_is_pytorchs(comfy_model, heads, tokens, words, mask):
    import comfy.ldm.modules.attention as functions

    q, k, v = (torch.randn(2, count, heads * 8).bfloat16() for count in (tokens, words, words))
    mask = torch.rand(2, tokens, words) > 0.3 if mask else None
    ours = comfy_model._attention(None, q, k, v, heads, mask)
    theirs = functions.attention_pytorch(q.float(), k.float(), v.float(), heads, mask)
    torch.testing.assert_close(ours.float(), theirs, rtol=0.05, atol=0.05)


def test_attention_is_plain_where_that_is_faster(comfy_model):
    short, long = torch.zeros(1, 64, 8).bfloat16(), torch.zeros(1, 1024, 8).bfloat16()
    assert comfy_model._is_plain_faster(short, long)
    assert not comfy_model._is_plain_faster(long, long)
    assert not comfy_model._is_plain_faster(short.float(), short.float())


def test_the_config_knows_the_precisions():
    for precision in PRECISIONS:
        assert TrainConfig.from_yaml(TrainConfig(precision=precision).to_yaml()).precision == precision
