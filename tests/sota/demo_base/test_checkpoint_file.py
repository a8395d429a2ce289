"""The weights that ship, and how they are read."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from isengard.sota.demo_base import checkpoint_file, make, people


def test_the_file_is_small_and_has_all_of_both_networks():
    assert checkpoint_file.WEIGHTS.stat().st_size < 40e6
    with safe_open(checkpoint_file.WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["license"] == "CC0-1.0"
    portraits = [people.training_portrait(make.SEED, index) for index in range(make.PICTURES)]
    assert metadata["training_pictures"] == make.digest_of_pictures(portraits), "people.py draws other pictures now"
    assert int(metadata["autoencoder_steps"]) > 0 < int(metadata["picture_model_steps"])
    weights = checkpoint_file.state_dict()
    assert weights["model.diffusion_model.context_embedder.weight"].shape == (256, 4096)
    assert weights["first_stage_model.taesd_decoder.1.weight"].shape[1] == 16
    for name, weight in weights.items():
        assert torch.isfinite(weight).all(), name


def test_missing_weights_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint_file, "WEIGHTS", tmp_path / "gone.safetensors")
    with pytest.raises(checkpoint_file.DemoBaseError, match="missing.*Install the pack again"):
        checkpoint_file.state_dict()


def test_cut_off_weights_are_told(monkeypatch, tmp_path):
    file = tmp_path / "cut.safetensors"
    file.write_bytes(checkpoint_file.WEIGHTS.read_bytes()[:5000])
    monkeypatch.setattr(checkpoint_file, "WEIGHTS", file)
    with pytest.raises(checkpoint_file.DemoBaseError, match="has 5000 bytes.*Install the pack again"):
        checkpoint_file.state_dict()
