"""Checkpoints on disk: what comes back is what went in, and a file is whole or not there."""

from __future__ import annotations

import math
import os

import pytest
import torch
from torch import nn

from isengard.trainers import state_file


def trained_optimizer(seed: int, steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    layer = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        layer(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer, optimizer


def test_an_optimizer_goes_on_as_if_it_had_not_stopped(tmp_path):
    layer, optimizer = trained_optimizer(0, 5)
    file = tmp_path / "state.safetensors"
    state_file.save(file, {"layer": layer.state_dict(), "optimizer": optimizer.state_dict()})
    other, its_optimizer = trained_optimizer(1, 0)
    saved = state_file.load(file)
    other.load_state_dict(saved["layer"])
    its_optimizer.load_state_dict(saved["optimizer"])
    for each, its in ((layer, optimizer), (other, its_optimizer)):
        each(torch.ones(2, 4)).square().sum().backward()
        its.step()
    assert torch.equal(layer.weight, other.weight)


def test_plain_values_keep_their_types(tmp_path):
    tree = {
        "betas": (0.9, 0.99), "groups": [{"params": [0, 1], "amsgrad": False, "maximize": None}], 3: {"4": "x"},
        "best": math.inf, "$odd": 1, "empty": {}, "none": [],
    }  # fmt: skip
    state_file.save(tmp_path / "a", tree)
    loaded = state_file.load(tmp_path / "a")
    assert loaded == tree
    assert isinstance(loaded["betas"], tuple)


def test_tensors_keep_their_types_and_may_share_memory(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tree = {"whole": whole, "turned": whole.T, "half": whole.to(torch.bfloat16), "steps": torch.tensor(7)}
    state_file.save(tmp_path / "a", tree)
    loaded = state_file.load(tmp_path / "a")
    assert loaded.keys() == tree.keys()
    for name, tensor in tree.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_what_cannot_be_read_without_running_it_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="cannot save groups/0/rule: it is a function"):
        state_file.save(tmp_path / "a", {"groups": [{"rule": test_plain_values_keep_their_types}]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all", None])
def test_a_damaged_file_is_told_with_its_name(tmp_path, content):
    file = tmp_path / "state.safetensors"
    state_file.save(file, {"a": torch.zeros(100)})
    file.write_bytes(file.read_bytes()[:-8] if content is None else content)
    with pytest.raises(state_file.DamagedState, match=r"state.safetensors is no saved state, or is damaged"):
        state_file.load(file)


def test_a_foreign_safetensors_file_is_told(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a")
    with pytest.raises(state_file.DamagedState, match="no saved state"):
        state_file.load(tmp_path / "a")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "state.safetensors"
    state_file.save(file, {"a": 1})

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        state_file.save(file, {"a": 2})
    assert state_file.load(file) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["state.safetensors"]
