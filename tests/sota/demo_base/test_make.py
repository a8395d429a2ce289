"""The whole making of the demo base, in short."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from safetensors.torch import load_file

from isengard.sota.demo_base import checkpoint_file, make
from isengard.sota.sample_character import draw as sample_character
from isengard.tests.comfyui.installation import PACK, of_this_process


@pytest.mark.parametrize(
    ("pinned", "message"),
    [("0.0.1", "resvg-py 0.5.0.*pip install .*resvg-py==0.0.1"), (None, "no ComfyUI in .*COMFYUI_PATH")],
)
def test_what_is_missing_is_told_in_one_line(pinned, message, monkeypatch, capsys, tmp_path):
    if pinned:
        monkeypatch.setitem(sample_character.PINNED, "resvg-py", pinned)
    with pytest.raises(SystemExit):
        make.main(["--comfyui", str(tmp_path), "--folder", str(tmp_path / "state")])
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "state").exists()


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
