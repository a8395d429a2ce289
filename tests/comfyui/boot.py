"""Run a ComfyUI's main.py, also where torch is a CPU build and torchvision is not.

PyPI's torchvision is built for CUDA; beside a CPU torch its compiled operators cannot be loaded, and its import
fails when it describes them. ComfyUI uses none of them, so it is enough that their names exist.

Usage: boot.py COMFYUI_FOLDER [ARGUMENTS OF main.py …]
"""

import importlib.abc
import importlib.metadata
import re
import runpy
import signal
import sys
from pathlib import Path


class NameTorchvisionOperators(importlib.abc.MetaPathFinder):
    """Just before torchvision is imported, give the operators that it names an empty schema."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            self.library = _define(_operators(importlib.metadata.files("torchvision")))
            _KEPT.append(self)
        return


_KEPT = []  # a torch Library takes its operators along when it is collected


def _operators(files) -> list[str]:
    source = next(file for file in files if file.name == "_meta_registrations.py").read_text()
    return sorted({*re.findall(r'register_meta\("(\w+)"', source), *re.findall(r'"torchvision::(\w+)"', source)})


def _define(operators: list[str]):
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in operators:
        library.define(f"{name}() -> ()")
    return library


def make_torchvision_importable() -> None:
    """Where torch is a CPU build and torchvision is not: let `import torchvision` work in this process."""
    version = importlib.metadata.version
    if version("torch").endswith("+cpu") and not version("torchvision").endswith("+cpu"):
        sys.meta_path.insert(0, NameTorchvisionOperators())


def main() -> None:
    folder, arguments = sys.argv[1], sys.argv[2:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit that it is ignored
    make_torchvision_importable()
    script = str(Path(folder) / "main.py")
    sys.path[0] = folder
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
