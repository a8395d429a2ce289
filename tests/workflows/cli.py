"""The headless runner as a process, and what its tests ask of the server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from safetensors import safe_open

from isengard.tests.conftest import ROOT
from isengard.tests.graph import TINY

SCRIPT = ROOT / "workflows" / "run.py"
TRAIN = ROOT / "workflows" / "api" / "train_character.json"
COMPARE = ROOT / "workflows" / "api" / "compare_lora.json"
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
