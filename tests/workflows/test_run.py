"""The headless runner, as a person calls it: a process of its own, on a real ComfyUI."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from isengard.tests.comfyui.server import _free_port
from isengard.tests.conftest import ROOT
from isengard.tests.graph import TINY
from isengard.tests.workflows.relay import Relay

SCRIPT = ROOT / "workflows" / "run.py"
TRAIN = ROOT / "workflows" / "api" / "train_character.json"
SAMPLE = ROOT / "workflows" / "api" / "sample_character.json"
MIRA = ROOT / "sota" / "sample_character" / "mira"
SECONDS = 180
LONG = "train.steps=100000"


def command(workflow: Path, *arguments, script: Path = SCRIPT) -> list[str]:
    """The call, with the workflow made small; what `arguments` set wins."""
    titles = {node["_meta"]["title"] for node in json.loads(workflow.read_text()).values()}
    small = [f"--set={name}={value}" for name, value in TINY.items() if name.partition(".")[0] in titles]
    return [sys.executable, str(script), str(workflow), *small, *map(str, arguments)]


def run(*arguments, workflow: Path = TRAIN, cwd: Path | None = None, **more) -> subprocess.CompletedProcess:
    call = command(workflow, *arguments)
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, **more)


def rows(result: subprocess.CompletedProcess) -> list[list[str]]:
    """What it printed: where from, and what or where."""
    return [line.split(maxsplit=1) for line in result.stdout.splitlines()]


def paths(result: subprocess.CompletedProcess) -> dict[str, Path]:
    return {source: Path(what) for source, what in rows(result) if not what.startswith("saved as")}


def metadata(server, name: str) -> dict[str, str]:
    with safe_open(server.base / "models" / "loras" / f"{name}.safetensors", "np") as file:
        return file.metadata()


def queue(server) -> dict[str, list]:
    with urllib.request.urlopen(f"{server.url}/queue") as response:
        return json.load(response)


def post(server, path: str, body: dict) -> None:
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).close()


def idle(server, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while any(queue(server).values()):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def left_idle(comfyui):
    """The shared server, without what a failed test left running on it."""
    yield comfyui
    post(comfyui, "/queue", {"clear": True})
    post(comfyui, "/interrupt", {})
    assert idle(comfyui)


class Running:
    """A run in the background that can be waited for until it trains."""

    def __init__(self, *arguments):
        # a test run in the background of a shell inherits an ignored SIGINT; a person's terminal does not
        heeds_ctrl_c = None if sys.platform == "win32" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.process = subprocess.Popen(
            command(TRAIN, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeds_ctrl_c,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()

    def until_it_trains(self, server) -> None:
        """Until the server has run the nodes before the training."""
        end = time.monotonic() + 60
        for line in self.process.stderr:
            if line.strip() == "train":
                break
            assert time.monotonic() < end
        assert queue(server)["queue_running"]

    def waits(self, server) -> str:
        """Until its prompt is the one that waits; gives its id."""
        end = time.monotonic() + 60
        while not (waiting := queue(server)["queue_pending"]):
            assert time.monotonic() < end
            time.sleep(0.1)
        return waiting[0][1]

    def ended(self, seconds: float = 60.0) -> tuple[int, str]:
        """Exit code and the rest of stderr."""
        _, stderr = self.process.communicate(timeout=seconds)
        return self.process.returncode, stderr


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
def test_the_lora_is_sampled_by_the_other_workflow(comfyui, trained, tmp_path):
    settings = ("--set", "lora.lora_name=from run.safetensors")
    result = run("--server", comfyui.url, *settings, "--out", tmp_path, workflow=SAMPLE)
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
    assert f"Uploaded 3 pictures and 3 captions from {folder}: --set dataset.folder=my hero" in result.stderr
    there = comfyui.base / "input" / "my hero"
    assert sorted(file.name for file in there.iterdir()) == sorted(
        f"{n}.{end}" for n in (1, 2, 3) for end in ("png", "txt")
    )
    assert all((there / file.name).read_bytes() == (folder / file.name).read_bytes() for file in there.iterdir())
    assert metadata(comfyui, "hero")["ss_output_name"] == "my hero"
    assert "had a folder" not in result.stderr
    assert "the server had a folder 'my hero' already" in run(*arguments, "--set", "save.name=h2", cwd=tmp_path).stderr


@pytest.mark.comfyui
def test_an_uploaded_picture_is_put_into_the_input_folder(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--upload", MIRA / "mira_07.png", cwd=tmp_path)
    assert "--set NODE.image=mira_07.png uses it" in result.stderr
    assert (comfyui.base / "input" / "mira_07.png").read_bytes() == (MIRA / "mira_07.png").read_bytes()


# what goes wrong on the server


@pytest.mark.comfyui
def test_a_node_that_fails_ends_it_with_comfyuis_message(comfyui, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "1.png").write_bytes((MIRA / "mira_01.png").read_bytes()[:2000])
    (folder / "1.txt").write_text("mira woman")
    result = run("--server", comfyui.url, "--upload", folder, "--set", "dataset.folder=broken", cwd=tmp_path)
    assert result.returncode == 1
    assert (
        "dataset (node 2, IsengardLoadDataset) raised FolderError: 1 of 1 pictures could not be read" in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.comfyui
def test_what_came_out_before_a_failure_is_fetched(comfyui, tmp_path):
    prompt = json.loads(TRAIN.read_text())
    del prompt["6"]
    inputs = {"images": ["7", 0], "filename_prefix": "../../chart"}
    prompt["8"] = {"class_type": "SaveImage", "inputs": inputs, "_meta": {"title": "copy"}}
    (tmp_path / "copy.json").write_text(json.dumps(prompt))
    fresh = ("--set", "train.seed=71")  # with a chart from the cache ComfyUI may begin at the node that fails
    result = run("--server", comfyui.url, *fresh, workflow=tmp_path / "copy.json", cwd=tmp_path)
    assert result.returncode == 1
    assert "copy (node 8, SaveImage) raised Exception: " in result.stderr
    assert "Not finished. What came out before:" in result.stderr
    assert (tmp_path / paths(result)["chart"]).is_file()


@pytest.mark.comfyui
def test_a_rejected_prompt_ends_it_with_comfyuis_message(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--set", "train.steps=0", cwd=tmp_path)
    assert result.returncode == 1
    assert "train (node 4, IsengardTrainLora): Value 0 smaller than min of 1: steps" in result.stderr


@pytest.mark.comfyui
def test_a_prompt_that_is_rejected_in_part_does_not_run(left_idle, tmp_path):
    """ComfyUI would run the other outputs: hours of training for a sheet that is never drawn."""
    result = run("--server", left_idle.url, "--set", "sheet.cfg=-1", "--set", LONG, cwd=tmp_path)
    assert result.returncode == 1
    assert "sheet (node 6, IsengardContactSheet): Value -1.0 smaller than min of 0.0: cfg" in result.stderr
    assert idle(left_idle, 5)


@pytest.mark.comfyui
def test_an_interrupt_from_elsewhere_ends_it(left_idle, tmp_path):
    with Running("--server", left_idle.url, "--set", LONG, "--out", tmp_path) as running:
        running.until_it_trains(left_idle)
        post(left_idle, "/interrupt", {})
        code, stderr = running.ended()
    assert code == 1
    assert "interrupted at train (node 4, IsengardTrainLora)" in stderr


@pytest.mark.comfyui
def test_a_prompt_that_is_taken_from_the_queue_ends_it(left_idle, tmp_path):
    with Running("--server", left_idle.url, "--set", LONG, "--out", tmp_path) as first:
        first.until_it_trains(left_idle)
        with Running("--server", left_idle.url, "--out", tmp_path) as second:
            post(left_idle, "/queue", {"delete": [second.waits(left_idle)]})
            code, stderr = second.ended()
    assert code == 1
    assert "taken out of the queue" in stderr


@pytest.mark.comfyui
def test_ctrl_c_stops_the_prompt_and_leaves_the_server_usable(left_idle, tmp_path):
    with Running("--server", left_idle.url, "--set", LONG, "--out", tmp_path) as running:
        running.until_it_trains(left_idle)
        running.process.send_signal(signal.SIGINT)
        code, stderr = running.ended(20)
    assert code == 130
    assert "interrupted by Ctrl-C" in stderr
    assert "Traceback" not in stderr
    assert idle(left_idle, 2)
    assert run("--server", left_idle.url, "--set", "train.seed=4", "--out", tmp_path).returncode == 0


@pytest.mark.comfyui
def test_ctrl_c_takes_a_waiting_prompt_from_the_queue_and_leaves_the_running_one(left_idle, tmp_path):
    with Running("--server", left_idle.url, "--set", LONG, "--out", tmp_path) as first:
        first.until_it_trains(left_idle)
        running = queue(left_idle)["queue_running"][0][1]
        with Running("--server", left_idle.url, "--out", tmp_path) as second:
            second.waits(left_idle)
            second.process.send_signal(signal.SIGINT)
            assert second.ended(20)[0] == 130
        now = queue(left_idle)
    assert not now["queue_pending"]
    assert [item[1] for item in now["queue_running"]] == [running]


# a bad network


@pytest.mark.comfyui
def test_a_connection_that_drops_is_told_and_the_results_come_all_the_same(left_idle, tmp_path):
    with Relay(left_idle.url) as relay:
        arguments = ("--server", relay.url, "--set", "train.steps=150", "--set", "save.name=dropped", "--out", tmp_path)
        with Running(*arguments) as running:
            running.until_it_trains(left_idle)
            relay.cut()
            code, stderr = running.ended()
    assert code == 0, stderr
    assert "The connection to ComfyUI was lost" in stderr
    assert metadata(left_idle, "dropped")["ss_steps"] == "150"
    assert list(tmp_path.glob("sheet*.png"))


@pytest.mark.comfyui
def test_a_server_that_stays_away_ends_it(left_idle, tmp_path):
    with Relay(left_idle.url) as relay, Running("--server", relay.url, "--set", LONG, "--out", tmp_path) as running:
        running.until_it_trains(left_idle)
        relay.close()
        code, stderr = running.ended(40)
    assert code == 3
    assert f"no ComfyUI answers at {relay.url}" in stderr
    assert "Traceback" not in stderr


def test_a_server_that_is_not_there_is_told(tmp_path):
    url = f"127.0.0.1:{_free_port()}"
    result = run("--server", url, cwd=tmp_path)
    assert result.returncode == 3
    assert f"no ComfyUI answers at http://{url}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_is_no_comfyui_is_told(tmp_path):
    port = _free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port)], cwd=tmp_path, stderr=subprocess.PIPE
    ) as other:
        try:
            result = run("--server", f"127.0.0.1:{port}", cwd=tmp_path)
            for _ in range(50):
                if "is no ComfyUI" in result.stderr:
                    break
                time.sleep(0.1)  # it was not up yet
                result = run("--server", f"127.0.0.1:{port}", cwd=tmp_path)
        finally:
            other.kill()
    assert result.returncode == 3
    assert f"what answers at http://127.0.0.1:{port} is no ComfyUI" in result.stderr


# wrong arguments


@pytest.mark.comfyui
def test_an_unknown_name_ends_it_with_the_names_that_there_are(comfyui, tmp_path):
    result = run("--server", comfyui.url, "--set", "trian.steps=5", cwd=tmp_path)
    assert result.returncode == 2
    assert "'trian.steps' names no input of this workflow" in result.stderr
    assert "checkpoint (1), dataset (2), config (3), train (4)" in result.stderr
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
    result = run("--base", "base", "--out", "sampled", workflow=SAMPLE, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert paths(result).keys() == {"sheet"}  # the LoRA was there before
    assert (tmp_path / "base" / "output" / "isengard").is_dir()
