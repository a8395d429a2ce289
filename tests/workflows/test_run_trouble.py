"""The headless runner where the server, the network or a person stops it: a process of its own, on a real ComfyUI."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from isengard.tests.comfyui.server import _free_port
from isengard.tests.workflows.cli import LONG, MIRA, TRAIN, Running, idle, metadata, paths, post, queue, run
from isengard.tests.workflows.relay import Relay


@pytest.fixture
def left_idle(comfyui):
    """The shared server, without what a failed test left running on it."""
    yield comfyui
    post(comfyui, "/queue", {"clear": True})
    post(comfyui, "/interrupt", {})
    assert idle(comfyui)


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
    result = run("--server", comfyui.url, "--set", "train.steps=-1", cwd=tmp_path)
    assert result.returncode == 1
    assert "train (node 4, IsengardTrainLora): Value -1 smaller than min of 0: steps" in result.stderr


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
