"""The whole making of the demo base, in short."""

from __future__ import annotations

import os
import subprocess

import pytest
from safetensors.torch import load_file

from isengard.sota.demo_base import checkpoint_file
from isengard.tests.comfyui.installation import PACK, of_this_process


@pytest.mark.comfyui
def test_the_base_is_made_in_two_goes(tmp_path):
    make_base(tmp_path, seconds=0)
    assert not (tmp_path / "base.safetensors").exists()
    make_base(tmp_path, seconds=1000)
    assert shapes_in(tmp_path / "base.safetensors") == shapes_in(checkpoint_file.WEIGHTS)


def shapes_in(file) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in load_file(file).items()}


def make_base(folder, seconds: float) -> None:
    comfyui = of_this_process()
    command = [
        comfyui.python, "-m", "sota.demo_base", "--comfyui", str(comfyui.path), "--device", "cpu",
        "--folder", str(folder), "--out", str(folder / "base.safetensors"), "--pictures", "24",
        "--autoencoder-steps", "3", "--diffusion-steps", "3", "--seconds", str(seconds),
    ]  # fmt: skip
    subprocess.run(command, cwd=PACK, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, check=True)
