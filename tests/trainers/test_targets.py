import pytest
import torch
from torch import nn

from isengard.trainers.config import AdapterConfig
from isengard.trainers.errors import TrainingError
from isengard.trainers.targets import target_layers

from .tiny import TinyNetwork

ATTENTION = ["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.1.attn.qkv", "blocks.1.attn.proj"]
MLP = ["blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2"]


def targets(network: nn.Module, **settings) -> list[str]:
    return target_layers(network, AdapterConfig(**settings))


def test_targets():
    network = TinyNetwork()
    assert targets(network, targets="attention") == ATTENTION
    assert set(targets(network, targets="attention_mlp")) == {*ATTENTION, *MLP}
    assert set(targets(network, targets="all_linear")) == {*ATTENTION, *MLP, "out"}


def test_convolutions_are_targets_of_all_layers_alone_and_norms_never():
    network = nn.ModuleDict({"conv": nn.Conv2d(2, 2, 3), "norm": nn.GroupNorm(1, 2), "out": nn.Linear(2, 2)})
    assert targets(network, targets="all_linear") == ["out"]
    assert targets(network, targets="all_layers") == ["conv", "out"]


def test_include_and_exclude_look_into_the_path():
    network = TinyNetwork()
    assert targets(network, targets="attention", include=("blocks.0", "1.attn.qkv")) == ATTENTION[:3]
    assert targets(network, targets="attention", exclude=(r"qkv$",)) == [ATTENTION[1], ATTENTION[3]]
    assert targets(network, targets="attention", include=("blocks.1",), exclude=("proj",)) == [ATTENTION[2]]


def test_a_network_without_targets_says_so():
    with pytest.raises(TrainingError, match="no layer to train.*is 'attention'. Set targets to 'all_linear'"):
        targets(nn.Sequential(nn.Linear(2, 2)), targets="attention")
    with pytest.raises(TrainingError, match="within include and exclude.*widen"):
        targets(TinyNetwork(), include=("no such layer",))


def test_quantised_layers_are_refused_rather_than_left_out():
    class Quantised(nn.Module):  # as ComfyUI's mixed-precision Linear: no nn.Linear
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

    network = nn.ModuleDict({"attn": nn.ModuleDict({"q": nn.Linear(2, 2), "k": Quantised()}), "out": Quantised()})
    with pytest.raises(TrainingError, match=r"1 of 2 layers to train are quantised \(attn\.k, …\).*fp16"):
        targets(network, targets="attention")
    fp8 = TinyNetwork()
    fp8.blocks[1]["attn"]["proj"].to(torch.float8_e4m3fn)
    with pytest.raises(TrainingError, match=r"1 of 4 layers to train are quantised \(blocks.1.attn.proj, …\)"):
        targets(fp8, targets="attention")
