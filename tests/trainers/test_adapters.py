"""Every kind of adapter: it starts as nothing, leaves nothing behind, and does what its file says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isengard.trainers import adapters
from isengard.trainers.config import AdapterConfig
from isengard.trainers.errors import TrainingError

from .tiny import TinyNetwork

KINDS = {
    "lora": AdapterConfig(rank=3, alpha=1.5),
    "rslora": AdapterConfig(rank=4, alpha=1.5, scaling="rslora"),
    "ranks": AdapterConfig(rank=2, ranks=("qkv=3", r"mlp\.fc1=5")),
    "pissa": AdapterConfig(rank=3, alpha=1.5, initialisation="pissa"),
    "dora": AdapterConfig(kind="dora", rank=3),
    "loha": AdapterConfig(kind="loha", rank=3, alpha=1.5),
    "lokr": AdapterConfig(kind="lokr", rank=2, alpha=1.0),
    "lokr of whole factors": AdapterConfig(kind="lokr", rank=64, alpha=32.0),
    "oft": AdapterConfig(kind="oft", rank=4),
}
every_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


def inputs():
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, 16, 2, 4, generator=generator), torch.rand(2, generator=generator),
            torch.randn(2, 16, generator=generator))  # fmt: skip


def frozen(dtype=torch.float32) -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork().to(dtype).requires_grad_(False)


@torch.no_grad()
def disturb(layers, std: float = 0.2) -> None:
    generator = torch.Generator().manual_seed(2)
    for parameter in adapters.parameters(layers).values():
        parameter.add_(std * torch.randn(parameter.shape, generator=generator))


@every_kind
def test_the_network_starts_as_it_was_and_only_the_adapters_learn(config):
    network = frozen()
    plain = network(*inputs())
    with adapters.attached(network, config, seed=0) as layers:
        torch.testing.assert_close(network(*inputs()), plain, rtol=1e-5, atol=2e-6)
        trained = {id(parameter) for parameter in adapters.parameters(layers).values()}
        assert {id(parameter) for parameter in network.parameters() if parameter.requires_grad} == trained
        network(*inputs()).square().sum().backward()
        learned = [parameter.grad.abs().max() > 0 for parameter in adapters.parameters(layers).values()]
        assert sum(map(bool, learned)) >= len(layers)


@every_kind
def test_the_same_seed_starts_alike_on_every_precision(config):
    """All have a base of the same values, which are those of the least exact of them."""
    started = []
    for dtype in (torch.float32, torch.bfloat16):
        with adapters.attached(frozen(torch.bfloat16).to(dtype), config, seed=3) as layers:
            started.append(adapters.state(layers))
    assert started[0].keys() == started[1].keys()
    assert all(torch.equal(started[0][name], started[1][name]) for name in started[0])


@pytest.mark.parametrize("config", [KINDS["lora"], KINDS["dora"], KINDS["loha"], KINDS["lokr"]])
@torch.no_grad()
def test_what_dropout_leaves_is_as_strong_as_what_is_used(config):
    """The mean of many answers with dropout is the answer without."""
    config = AdapterConfig(**{**vars(config), "dropout": 0.5})
    network, x = nn.ModuleDict({"attn": nn.Linear(32, 32)}).requires_grad_(False), torch.randn(64, 32)
    with adapters.attached(network, config, seed=0) as layers:
        disturb(layers)
        alone = layers["attn"].base_layer(x)
        torch.manual_seed(0)
        mean = torch.stack([network["attn"](x) - alone for _ in range(400)]).mean(0)
        with adapters.without_dropout(layers):
            change = network["attn"](x) - alone
    strength = (mean * change).sum() / change.square().sum()
    assert float(strength) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["loha", "lokr"])
@torch.no_grad()
def test_nothing_breaks_where_every_output_is_left_out(kind):
    network, x = nn.ModuleDict({"attn": nn.Linear(4, 2)}).requires_grad_(False), torch.randn(3, 4)
    with adapters.attached(network, AdapterConfig(kind=kind, rank=2, dropout=0.9), seed=0) as layers:
        disturb(layers)
        alone = layers["attn"].base_layer(x)
        torch.manual_seed(0)
        answers = torch.stack([network["attn"](x) for _ in range(50)])
    assert torch.isfinite(answers).all()
    assert any(torch.equal(answer, alone) for answer in answers), "it never left out both, so this shows nothing"
    assert not all(torch.equal(answer, alone) for answer in answers)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("oft", "pissa")])
@pytest.mark.parametrize("layer", ["linear", "convolution"])
@torch.no_grad()
def test_the_adapted_layer_computes_what_peft_merges(name, layer):
    torch.manual_seed(0)
    plain = nn.Linear(12, 20) if layer == "linear" else nn.Conv2d(12, 20, 3, padding=1)
    network = nn.ModuleDict({"layer": plain}).requires_grad_(False)
    x = torch.randn(2, 5, 12) if layer == "linear" else torch.randn(2, 12, 6, 6)
    config = AdapterConfig(**{**vars(KINDS[name]), "targets": "all_layers", "ranks": ()})
    with adapters.attached(network, config, seed=0) as layers, adapters.without_dropout(layers):
        disturb(layers)
        adapted = network["layer"](x)
        layers["layer"].merge()
        merged = layers["layer"].base_layer(x)
        layers["layer"].unmerge()
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)


@every_kind
def test_another_seed_starts_otherwise(config):
    with adapters.attached(frozen(), config, seed=3) as layers, adapters.attached(frozen(), config, seed=4) as others:
        first, second = adapters.state(layers), adapters.state(others)
    differ = any(not torch.equal(first[name], second[name]) for name in first)
    assert differ == (config.kind != "oft" and config.initialisation == "kaiming"), "these two begin without a draw"


@every_kind
def test_what_is_trained_stays_the_same_after_the_base_was_asked(config):
    """peft lets everything of an active adapter be trained when it is switched on again."""
    network = frozen()
    with adapters.attached(network, config, seed=0) as layers:
        trained = adapters.parameters(layers).keys()
        with adapters.disabled(layers):
            pass
        assert adapters.parameters(layers).keys() == trained


@every_kind
def test_adapters_that_were_taken_off_are_put_back_as_they_were(config):
    network = frozen()
    alone = network(*inputs())
    with adapters.attached(network, config, seed=0) as layers:
        disturb(layers)
        adapted = network(*inputs())
        with pytest.raises(InterruptedError), adapters.taken_off(network):
            assert not adapters.adapted(network)
            assert torch.equal(network(*inputs()), alone)
            raise InterruptedError
        assert torch.equal(network(*inputs()), adapted)
        assert adapters.adapted(network) == dict(layers)


@every_kind
def test_the_network_is_the_same_object_graph_afterwards_even_after_an_error(config):
    network = frozen()
    modules, weights = dict(network.named_modules()), {k: v.clone() for k, v in network.state_dict().items()}

    def train_and_fail():
        with adapters.attached(network, config, seed=0) as layers:
            disturb(layers)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train_and_fail()

    assert {path: id(module) for path, module in network.named_modules()} == {k: id(m) for k, m in modules.items()}
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not hasattr(network, "peft_config")


@every_kind
def test_the_base_alone_answers_while_the_adapters_are_disabled(config):
    network = frozen()
    alone = network(*inputs())
    with adapters.attached(network, config, seed=0) as layers:
        disturb(layers)
        adapted = network(*inputs())
        with pytest.raises(InterruptedError), adapters.disabled(layers):
            torch.testing.assert_close(network(*inputs()), alone)
            raise InterruptedError
        assert not torch.allclose(adapted, alone, atol=1e-2)
        torch.testing.assert_close(network(*inputs()), adapted)
        network(*inputs()).sum().backward()
        assert all(weight.grad is not None for weight in adapters.parameters(layers).values())


@every_kind
def test_a_saved_state_gives_the_same_answers(config):
    network, other = frozen(), frozen()
    with adapters.attached(network, config, seed=0) as layers, adapters.attached(other, config, seed=0) as others:
        disturb(layers)
        saved = adapters.state(layers)
        disturb(layers)
        adapters.load_state(others, saved)
        assert not torch.equal(other(*inputs()), network(*inputs()))
        adapters.load_state(layers, saved)
        assert torch.equal(other(*inputs()), network(*inputs()))


@every_kind
def test_adapters_are_float32_on_a_half_precision_base(config):
    network = frozen(torch.bfloat16)
    with adapters.attached(network, config, seed=0) as layers:
        assert {parameter.dtype for parameter in adapters.parameters(layers).values()} == {torch.float32}
        half = [each.bfloat16() for each in inputs()]
        assert network(*half).dtype == torch.bfloat16


def test_a_lora_keeps_nothing_in_float32_for_the_backward_pass_of_a_bfloat16_base():
    network = frozen(torch.bfloat16)
    kept = []

    def pack(tensor):
        kept.append((tensor.dtype, tuple(tensor.shape)))
        return tensor

    after_attention = AdapterConfig(rank=3, include=(r"blocks\.1\.mlp",))  # which keeps float32 of its own on the CPU
    with adapters.attached(network, after_attention, seed=0) as layers:
        disturb(layers)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            answer = network(*(each.bfloat16() for each in inputs()))
        answer.float().square().sum().backward()
        assert all(each.grad.dtype == torch.float32 for each in adapters.parameters(layers).values())
        assert all(each.grad.any() for each in adapters.parameters(layers).values())
    assert not [shape for dtype, shape in kept if dtype == torch.float32]


@every_kind
def test_attaching_does_not_move_the_global_random_state(config):
    before = torch.random.get_rng_state()
    with adapters.attached(frozen(), config, seed=0):
        pass
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_path_is_not_mistaken_for_one_that_ends_like_it():
    """peft matches a list of names by suffix: `attn.q` would also adapt `other.attn.q`."""
    network = nn.ModuleDict({"attn": nn.ModuleDict({"q": nn.Linear(2, 2)}), "xattn": nn.ModuleDict()})
    network["xattn"]["attn"] = nn.ModuleDict({"k": nn.Linear(2, 2)})
    network["xattn"]["conv"] = nn.ModuleDict({"q": nn.Linear(2, 2)})
    with adapters.attached(network, AdapterConfig(targets="attention", rank=1), seed=0) as layers:
        assert set(layers) == {"attn.q", "xattn.attn.k"}
        assert type(network["xattn"]["conv"]["q"]) is nn.Linear


def test_ranks_and_scales_by_path():
    config = AdapterConfig(rank=2, alpha=0.0, ranks=("qkv=3", r"mlp\.fc1=5", "fc1=7"))
    with adapters.attached(frozen(), config, seed=0) as layers:
        weights = adapters.file_weights(layers, config)
    ranks = {path: len(ends["lora_down.weight"]) for path, ends in weights.items()}
    assert ranks["blocks.0.attn.qkv"] == 3
    assert ranks["blocks.1.mlp.fc1"] == 5, "the first expression counts"
    assert ranks["blocks.1.mlp.fc2"] == 2
    assert all(float(ends["alpha"]) == ranks[path] for path, ends in weights.items()), "no alpha: as rank"


@pytest.mark.parametrize("scaling, scale", [("standard", 1.5 / 4), ("rslora", 1.5 / 2)])
def test_the_scale_is_alpha_by_rank_or_its_root(scaling, scale):
    config = AdapterConfig(rank=4, alpha=1.5, scaling=scaling)
    with adapters.attached(frozen(), config, seed=0) as layers:
        ends = adapters.file_weights(layers, config)["blocks.0.attn.qkv"]
    assert float(ends["alpha"]) / len(ends["lora_down.weight"]) == pytest.approx(scale)


def test_pissa_needs_as_many_singular_values_as_its_rank():
    config = AdapterConfig(rank=17, initialisation="pissa")
    with pytest.raises(TrainingError, match="17 singular values, and blocks.0.attn.qkv has 16. Lower rank"):
        adapters.attached(frozen(), config, seed=0).__enter__()


def test_pissa_begins_with_the_largest_singular_values():
    network = frozen()
    weight = network.blocks[0]["attn"]["qkv"].weight.clone()
    config = AdapterConfig(rank=3, alpha=1.5, initialisation="pissa")
    with adapters.attached(network, config, seed=0) as layers:
        layer = layers["blocks.0.attn.qkv"]
        product = 0.5 * layer.lora_B[adapters.ADAPTER].weight @ layer.lora_A[adapters.ADAPTER].weight
        assert torch.equal(layer.base_layer.weight, weight)
    values = torch.linalg.svdvals(weight)
    torch.testing.assert_close(torch.linalg.svdvals(weight - product)[: len(values) - 3], values[3:])


def trained_products(config) -> tuple[dict, torch.Tensor]:
    """The products of a disturbed LoRA, and what its network answers."""
    network = frozen()
    with adapters.attached(network, config, seed=0) as layers:
        disturb(layers)
        ends = adapters.file_weights(layers, config)
        answer = network(*inputs())
    scaled = {path: float(each["alpha"]) / len(each["lora_down.weight"]) for path, each in ends.items()}
    return {
        path: adapters.LowRank(each["lora_down.weight"], scaled[path] * each["lora_up.weight"])
        for path, each in ends.items()
    }, answer


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("rank, alpha", [(3, 1.5), (3, 6.0), (8, 0.0)])
def test_a_training_starts_where_a_lora_left_off(rank, alpha, kind):
    """Also with another scale, and with a larger rank, whose rest begins as always."""
    before, answer = trained_products(AdapterConfig(rank=3, alpha=1.5))
    network = frozen()
    with adapters.attached(network, AdapterConfig(kind, rank=rank, alpha=alpha), seed=0) as layers:
        adapters.start_from(layers, before)
        torch.testing.assert_close(network(*inputs()), answer, rtol=1e-5, atol=1e-5)
        if rank > 3:
            layer = layers["blocks.0.attn.qkv"]
            assert layer.lora_A[adapters.ADAPTER].weight[3:].any()
            assert not layer.lora_B[adapters.ADAPTER].weight[:, 3:].any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AdapterConfig(rank=2), "has rank 3 at blocks.0.attn.qkv, and the training has 2. Set rank to 3"),
        (AdapterConfig(rank=3, targets="attention"), "has 4 of 8 layers that would not be trained"),
        (AdapterConfig(rank=3, kind="loha"), "8 of 8 layers .* kind lora"),
        (AdapterConfig(rank=3, initialisation="pissa"), "8 of 8 layers .* initialisation kaiming"),
    ],
)
def test_a_lora_that_does_not_fit_is_not_started_from(config, message):
    before, _ = trained_products(AdapterConfig(rank=3))
    with adapters.attached(frozen(), config, seed=0) as layers, pytest.raises(TrainingError, match=message):
        adapters.start_from(layers, before)


@pytest.mark.comfyui
@every_kind
@pytest.mark.parametrize("layer", ["linear", "convolution"])
def test_the_file_is_what_the_adapted_layer_computes(comfy_model, config, layer):
    """Read by ComfyUI's own weight adapters and merged by it into the weight."""
    torch.manual_seed(0)
    frozen_layer = nn.Linear(12, 20) if layer == "linear" else nn.Conv2d(12, 20, 3, padding=1)
    network = nn.ModuleDict({"layer": frozen_layer}).requires_grad_(False)
    x = torch.randn(2, 5, 12) if layer == "linear" else torch.randn(2, 12, 6, 6)
    config = AdapterConfig(**{**vars(config), "targets": "all_layers", "ranks": ()})
    with adapters.attached(network, config, seed=0) as layers:
        disturb(layers)
        adapted = network["layer"](x)
        ends = adapters.file_weights(layers, config)["layer"]
    assert not torch.allclose(adapted, frozen_layer(x), atol=1e-2)
    frozen_layer.weight.copy_(merged_by_comfyui(frozen_layer.weight, ends))
    torch.testing.assert_close(frozen_layer(x), adapted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def merged_by_comfyui(weight: torch.Tensor, ends: dict[str, torch.Tensor]) -> torch.Tensor:
    import comfy.lora

    file = {f"lora_unet_layer.{end}": tensor for end, tensor in ends.items()}
    loaded = comfy.lora.load_lora(file, {"lora_unet_layer": "layer.weight"}, log_missing=True)
    assert list(loaded) == ["layer.weight"], "ComfyUI did not know the names"
    patch = (1.0, loaded["layer.weight"], 1.0, None, None)
    return comfy.lora.calculate_weight([patch], weight.clone(), "layer.weight")
