"""The headless runner, as a person calls it: a process of its own, on a real ComfyUI."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from isengard.tests.conftest import ROOT
from isengard.tests.graph import TINY
from isengard.tests.workflows.cli import COMPARE, MIRA, SCRIPT, TRAIN, command, metadata, paths, queue, rows, run

# what comes out


@pytest.fixture(scope="module")
def trained(comfyui, tmp_path_factory):
    """One small run from a folder of its own, without --out."""
    folder = tmp_path_factory.mktemp("some where")
    settings = [
        "--set",
        "train.steps=6",
        "--set",
        "4.rank=3",
        "--set",
        "save.name=from run",
        "--set",
        "5.precision=fp32",
    ]
    return folder, run("--server", comfyui.url, *settings, cwd=folder)


@pytest.mark.comfyui
def test_it_ends_well_and_tells_what_came_out(trained):
    _, result = trained
    assert (result.returncode, result.stderr.count("Traceback")) == (0, 0), result.stderr
    assert ["save", "saved as from run.safetensors"] in rows(result)
    assert paths(result).keys() == {"sheet", "chart"}
    assert re.search(r"Finished in \d+ s", result.stderr)


@pytest.mark.comfyui
def test_the_pictures_arrive_as_the_server_wrote_them(comfyui, trained):
    folder, result = trained
    for title, path in paths(result).items():
        assert (folder / path).parent == folder / "out"
        with Image.open(folder / path) as picture:
            assert picture.format == "PNG"
            picture.load()
        written = [file.read_bytes() for file in (comfyui.base / "output").rglob("*.png")]
        assert (folder / path).read_bytes() in written, title
    assert not list((folder / "out").glob(".*"))  # no partial file is left


@pytest.mark.comfyui
def test_set_values_reach_the_training(comfyui, trained):
    told = metadata(comfyui, "from run")
    assert (told["ss_steps"], told["ss_network_dim"]) == ("6", "3")


@pytest.mark.comfyui
def test_it_shows_the_nodes_and_the_training(trained):
    lines = trained[1].stderr.splitlines()
    started = [line for line in lines if line in ("checkpoint", "dataset", "config", "train", "save", "chart", "sheet")]
    assert started.index("train") < started.index("sheet")
    assert {"train", "save", "chart", "sheet"} <= set(started)
    assert re.search(r"^train +100 % +6/6 +loss [\d.]+ +[\d.]+ s/step$", trained[1].stderr, re.MULTILINE)


@pytest.mark.comfyui
def test_what_is_there_is_kept(comfyui, tmp_path):
    arguments = ("--server", comfyui.url, "--set", "chart.filename_prefix=kept", "--out", tmp_path)
    first = paths(run(*arguments))["chart"]
    shutil.rmtree(comfyui.base / "output")  # so that the server counts from 1 again
    (comfyui.base / "output").mkdir()
    before = first.read_bytes()
    second = paths(run(*arguments, "--set", "train.seed=9"))["chart"]
    assert (first.name, second.name) == ("kept_00001_.png", "kept_00001_-2.png")
    assert first.read_bytes() == before
    assert second.read_bytes() != before


@pytest.mark.comfyui
def test_a_run_without_changes_gives_the_pictures_again(comfyui, tmp_path):
    """ComfyUI then runs nothing; it still tells what it has."""
    arguments = ("--server", comfyui.url, "--set", "save.name=again", "--out", tmp_path)
    assert paths(run(*arguments)).keys() == {"sheet", "chart"}
    again = run(*arguments)
    assert paths(again).keys() == {"sheet", "chart"}
    assert "unchanged since the last run: checkpoint" in again.stderr


@pytest.mark.comfyui
def test_a_saved_lora_is_compared_with_the_base(comfyui, trained, tmp_path):
    settings = ("--set", "lora.lora_name=from run.safetensors")
    result = run("--server", comfyui.url, *settings, "--out", tmp_path, workflow=COMPARE)
    assert result.returncode == 0, result.stderr
    assert paths(result)["sheet"].is_file()


# uploads


@pytest.mark.comfyui
def test_an_uploaded_folder_is_trained_on(comfyui, tmp_path):
    folder = tmp_path / "my hero"
    folder.mkdir()
    for number in (1, 2, 3):
        shutil.copy(MIRA / f"mira_0{number}.png", folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"ärger {number}", encoding="utf-8")
    (folder / "diary.md").write_text("not for the server")
    arguments = ("--server", comfyui.url, "--upload", folder, "--set", "dataset.folder=my hero")
    result = run(*arguments, "--set", "save.name=hero", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert f"Uploaded 3 pictures and 3 caption files from {folder}: --set dataset.folder=my hero" in result.stderr
    there = comfyui.base / "input" / "my hero"
    assert sorted(file.name for file in there.iterdir()) == sorted(
        f"{n}.{end}" for n in (1, 2, 3) for end in ("png", "txt")
    )
    assert all((there / file.name).read_bytes() == (folder / file.name).read_bytes() for file in there.iterdir())
    assert metadata(comfyui, "hero")["ss_output_name"] == "my hero"
    assert "had a folder" not in result.stderr
    (folder / "2.txt").write_text("another")
    again = run(*arguments, "--set", "save.name=hero 2", cwd=tmp_path)
    assert "the server had a folder 'my hero' already" in again.stderr
    assert (there / "2.txt").read_text() == "another"
    assert metadata(comfyui, "hero 2")["isengard.dataset_hash"] != metadata(comfyui, "hero")["isengard.dataset_hash"]


@pytest.mark.comfyui
def test_an_uploaded_zip_is_trained_on(comfyui, tmp_path):
    with zipfile.ZipFile(tmp_path / "my zip.zip", "w") as archive:
        archive.write(MIRA / "mira_01.png", "mira/01.png")
        archive.writestr("mira/01.txt", "mira")
        archive.writestr("mira/diary.md", "not for the server")
    arguments = ("--server", comfyui.url, "--upload", tmp_path / "my zip.zip", "--set", "dataset.folder=my zip")
    for _ in range(2):  # the second takes the place of the first
        result = run(*arguments, "--out", tmp_path / "out")
        assert result.returncode == 0, result.stderr
        assert "Uploaded 1 pictures" in result.stderr and "uses them. Left out: mira/diary.md.\n" in result.stderr
    there = comfyui.base / "input" / "my zip"
    assert sorted(file.name for file in there.iterdir()) == ["01.png", "01.txt"]
    assert not there.with_name("my zip-2").exists()


@pytest.mark.comfyui
def test_a_zip_that_is_none_is_told(comfyui, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    result = run("--server", comfyui.url, "--upload", tmp_path / "a.zip", cwd=tmp_path)
    assert result.returncode == 2
    assert "the server does not take" in result.stderr and "this is no zip file that can be read" in result.stderr


@pytest.mark.comfyui
def test_an_uploaded_picture_is_put_into_the_input_folder(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--upload", MIRA / "mira_07.png", cwd=tmp_path)
    assert "--set NODE.image=mira_07.png uses it" in result.stderr
    assert (comfyui.base / "input" / "mira_07.png").read_bytes() == (MIRA / "mira_07.png").read_bytes()


# wrong arguments


@pytest.mark.comfyui
def test_an_unknown_name_ends_it_with_the_names_that_there_are(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--set", "trian.steps=5", cwd=tmp_path)
    assert result.returncode == 2
    assert "'trian.steps' names no input of this workflow" in result.stderr
    assert "checkpoint (1), dataset (2), config (3), prior (9), train (4)" in result.stderr
    assert not any(queue(comfyui).values())


@pytest.mark.comfyui
def test_a_wrong_choice_ends_it_with_the_choices(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--set", "checkpoint.ckpt_name=sdxl", cwd=tmp_path)
    assert result.returncode == 2
    assert "checkpoint.ckpt_name is 'sdxl'; choose one of: sd15.safetensors, sd3.safetensors" in result.stderr


def test_a_template_of_the_editor_is_refused(tmp_path):
    template = ROOT / "workflows" / "train_character.json"
    call = [sys.executable, SCRIPT, template, "--server", "127.0.0.1:9"]
    result = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert "is in the graph editor's format; this wants the API format" in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--upload", "nowhere"], "there is no file or folder nowhere to upload"),
        (["--out", "file/below"], "--out file/below cannot be made"),
        (["--server", "http://[x"], "http://[x"),
        (["--server", "127.0.0.1:9", "--base", "b"], "not allowed with"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "Booting" not in result.stderr


# where it runs from


@pytest.mark.comfyui
def test_it_runs_from_a_copy_without_the_tests_and_with_a_space_in_its_path(comfyui, tmp_path):
    """As a registry installs the pack."""
    copy = tmp_path / "my pack-1.0"
    shutil.copytree(ROOT / "workflows", copy / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    call = command(copy / "workflows" / "api" / TRAIN.name, script=copy / "workflows" / "run.py")
    result = subprocess.run([*call, "--server", comfyui.url], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    result = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 3
    assert "without tests/. Give --server URL" in result.stderr


@pytest.mark.comfyui
def test_without_a_server_it_boots_one_and_keeps_the_lora(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    result = run("--out", "demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert paths(result) == {
        "sheet": Path("demo/sheet_00001_.png"),
        "chart": Path("demo/loss_00001_.png"),
        "LoRA": Path("demo/mira.safetensors"),
    }
    with safe_open(tmp_path / "demo" / "mira.safetensors", "np") as file:
        assert file.metadata()["ss_steps"] == str(TINY["train.steps"])
    assert not list((tmp_path / "temporary").glob("isengard-*"))  # the server's folder is gone

    loras = tmp_path / "base" / "models" / "loras"
    loras.mkdir(parents=True)
    shutil.copy(tmp_path / "demo" / "mira.safetensors", loras)
    result = run("--base", "base", "--out", "sampled", workflow=COMPARE, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert paths(result).keys() == {"sheet"}  # the LoRA was there before
    assert (tmp_path / "base" / "output" / "isengard").is_dir()
