import pytest
import torch
from torch import nn

from isengard.trainers import adapters
from isengard.trainers.config import TrainConfig
from isengard.trainers.errors import TrainingError

from .tiny import TinyNetwork

ATTENTION = ["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.1.attn.qkv", "blocks.1.attn.proj"]


def test_targets():
    network = TinyNetwork()
    assert adapters.target_layers(network, "attention") == ATTENTION
    assert set(adapters.target_layers(network, "attention_mlp")) == {
        *ATTENTION, "blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2",
    }  # fmt: skip
    assert set(adapters.target_layers(network, "all_linear")) - set(
        adapters.target_layers(network, "attention_mlp")
    ) == {"out"}


def test_a_network_without_targets_says_so():
    with pytest.raises(TrainingError, match="no layer to train.*all_linear"):
        adapters.target_layers(nn.Sequential(nn.Linear(2, 2)), "attention")


def test_quantised_layers_are_refused_rather_than_left_out():
    class Quantised(nn.Module):  # as ComfyUI's mixed-precision Linear: no nn.Linear
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

    network = nn.ModuleDict({"attn": nn.ModuleDict({"q": nn.Linear(2, 2), "k": Quantised()}), "out": Quantised()})
    with pytest.raises(TrainingError, match=r"1 of 2 layers to train are quantised \(attn\.k, …\).*fp16"):
        adapters.target_layers(network, "attention")


def test_the_same_seed_starts_alike_on_every_precision():
    started = []
    for dtype in (torch.float32, torch.float16):
        network = TinyNetwork().to(dtype).requires_grad_(False)
        with adapters.attached(network, TrainConfig(rank=2, seed=3)) as layers:
            started.append([parameter.detach().clone() for parameter in adapters.parameters(layers)])
    assert all(torch.equal(a, b) for a, b in zip(*started, strict=True))
    assert all(down.any() and not up.any() for down, up in zip(started[0][::2], started[0][1::2], strict=True))


def test_a_path_is_not_mistaken_for_one_that_ends_like_it():
    """peft matches a list of names by suffix: `attn.q` would also adapt `other.attn.q`."""
    network = nn.ModuleDict({"attn": nn.ModuleDict({"q": nn.Linear(2, 2)}), "xattn": nn.ModuleDict()})
    network["xattn"]["attn"] = nn.ModuleDict({"k": nn.Linear(2, 2)})
    network["xattn"]["conv"] = nn.ModuleDict({"q": nn.Linear(2, 2)})
    with adapters.attached(network, TrainConfig(targets="attention", rank=1)) as layers:
        assert set(layers) == {"attn.q", "xattn.attn.k"}
        assert type(network["xattn"]["conv"]["q"]) is nn.Linear


def test_the_network_is_the_same_object_graph_afterwards_even_after_an_error():
    network = TinyNetwork().requires_grad_(False)
    modules, weights = dict(network.named_modules()), {k: v.clone() for k, v in network.state_dict().items()}

    def train_and_fail():
        with adapters.attached(network, TrainConfig(rank=2)) as layers:
            for parameter in adapters.parameters(layers):
                parameter.data.normal_()
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train_and_fail()

    assert {path: id(module) for path, module in network.named_modules()} == {k: id(m) for k, m in modules.items()}
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not hasattr(network, "peft_config")


def test_the_network_starts_as_it_was_and_only_the_adapters_learn():
    network = TinyNetwork().requires_grad_(False)
    x, sigma, condition = torch.randn(2, 16, 2, 4), torch.rand(2), torch.randn(2, 16)
    plain = network(x, sigma, condition)
    with adapters.attached(network, TrainConfig(rank=2)) as layers:
        assert torch.equal(network(x, sigma, condition), plain)
        trained = {id(parameter) for parameter in adapters.parameters(layers)}
        assert {id(parameter) for parameter in network.parameters() if parameter.requires_grad} == trained


def test_the_base_alone_answers_while_the_adapters_are_disabled():
    network = TinyNetwork().requires_grad_(False)
    inputs = torch.randn(2, 16, 2, 4), torch.rand(2), torch.randn(2, 16)
    alone = network(*inputs)
    with adapters.attached(network, TrainConfig(rank=2)) as layers:
        for layer in layers.values():
            torch.nn.init.ones_(layer.lora_B[adapters.ADAPTER].weight)
        adapted = network(*inputs)
        with pytest.raises(InterruptedError), adapters.disabled(layers):
            torch.testing.assert_close(network(*inputs), alone)
            raise InterruptedError
        assert not torch.allclose(adapted, alone)
        torch.testing.assert_close(network(*inputs), adapted)
        network(*inputs).sum().backward()
        assert all(weight.grad is not None for weight in adapters.parameters(layers))


def test_the_low_rank_product_is_what_the_adapted_network_computes():
    """Weights exported by path, merged by hand as the paper has it (W + alpha/rank B A), give the same output."""
    network, config = TinyNetwork().requires_grad_(False), TrainConfig(rank=3, alpha=1.5)
    x, sigma, condition = torch.randn(2, 16, 2, 4), torch.rand(2), torch.randn(2, 16)
    with adapters.attached(network, config) as layers:
        for parameter in adapters.parameters(layers):
            parameter.data.normal_(std=0.3)
        adapted = network(x, sigma, condition)
        exported = adapters.low_rank(layers, config.alpha)
    assert not torch.allclose(adapted, network(x, sigma, condition))
    for path, layer in exported.items():
        network.get_submodule(path).weight += config.alpha / config.rank * layer.up @ layer.down
    torch.testing.assert_close(network(x, sigma, condition), adapted, rtol=1e-5, atol=1e-5)


def test_adapters_are_float32_on_a_half_precision_base():
    network = TinyNetwork().to(torch.bfloat16).requires_grad_(False)
    with adapters.attached(network, TrainConfig(rank=2)) as layers:
        assert {parameter.dtype for parameter in adapters.parameters(layers)} == {torch.float32}


def test_attaching_does_not_move_the_global_random_state():
    network = TinyNetwork().requires_grad_(False)
    before = torch.random.get_rng_state()
    with adapters.attached(network, TrainConfig(rank=2)):
        pass
    assert torch.equal(torch.random.get_rng_state(), before)
