"""A ComfyUI server process with this checkout in its custom_nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .installation import PACK, checkpoint, installation

_FOLDERS = ("custom_nodes", "models/checkpoints", "models/loras", "input", "output", "user", "temp")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy
_BOOT_SECONDS = 180.0
_END_SECONDS = 20.0


class Server:
    """Boots on entering, ends on leaving. `url` answers once it is entered; `log()` is all it printed.

    base: ComfyUI's base directory with the folders it wants; a temporary one, removed at the end, where none is
    given. pack_name: the name of this checkout in custom_nodes; None leaves the pack out (a bare ComfyUI).
    checkpoints: kinds of `base_models` that it finds, as <kind>.safetensors. shares_cores: what else runs has half of
    them; else ComfyUI takes them all, as when a person starts it.
    """

    def __init__(
        self,
        base: Path | None = None,
        pack_name: str | None = "isengard",
        checkpoints: tuple[str, ...] = ("sd3", "sd15"),
        shares_cores: bool = False,
    ):
        self._owned = base is None
        self.base = Path(base or tempfile.mkdtemp(prefix="isengard-comfyui-"))
        self.comfyui = installation()
        self._pack_name = pack_name
        self._checkpoints = checkpoints
        self._threads = _half_the_cores() if shares_cores else {}
        self._process: subprocess.Popen | None = None
        self.url = ""

    def __enter__(self) -> Server:
        try:
            self._prepare()
            self._start()
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._owned:
            shutil.rmtree(self.base, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Until the process ends by itself."""
        self._process.wait()

    def log(self) -> str:
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def _prepare(self) -> None:
        for folder in _FOLDERS:
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        if self._pack_name:
            _link(PACK, self.base / "custom_nodes" / self._pack_name)
        for kind in self._checkpoints:
            _link(checkpoint(kind, self.comfyui), self.base / "models" / "checkpoints" / f"{kind}.safetensors")

    def _start(self) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            self.comfyui.python, str(Path(__file__).with_name("boot.py")), str(self.comfyui.path),
            "--listen", "127.0.0.1", "--port", str(port),
            "--base-directory", str(self.base),
            "--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}",
            "--disable-auto-launch", "--preview-method", "none",
            *_device_arguments(self.comfyui.python),
        ]  # fmt: skip
        environment = {**self._threads, **os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
        with open(self.base / "server.log", "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _wait(self) -> None:
        end = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended with code {self._process.returncode}:\n{self.log()[-4000:]}")
            try:
                DIRECT.open(f"{self.url}/system_stats", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise RuntimeError(f"ComfyUI did not answer within {_BOOT_SECONDS:.0f} s:\n{self.log()[-4000:]}")


def _half_the_cores() -> dict[str, str]:
    """OpenMP's settings. Threads that wait sleep: spinning, they stall for seconds a step where a browser wants the
    core. On two cores there is one thread then, and none waits: to be woken costs more than a second one gains."""
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)), "OMP_WAIT_POLICY": "PASSIVE"}


def _link(target: Path, link: Path) -> None:
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target, target_is_directory=target.is_dir())


def _device_arguments(python: str) -> list[str]:
    code = "import torch; print(torch.cuda.is_available() or torch.backends.mps.is_available())"
    has_gpu = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() == "True"
    return [] if has_gpu else ["--cpu"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":  # a ComfyUI with the pack to try things in by hand: python -m comfyui.server [BASE]
    with Server(Path(sys.argv[1]) if len(sys.argv) > 1 else None) as server:
        print(f"ComfyUI {server.comfyui.version} with Isengard at {server.url} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
