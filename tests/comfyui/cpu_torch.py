"""Make PyPI's torchaudio, built for CUDA, import beside a CPU torch: without its compiled parts it runs as pure
Python, with them its import fails. Run once in the virtual environment that make sets up."""

import importlib.metadata
import importlib.util
from pathlib import Path


def main() -> None:
    if not importlib.metadata.version("torch").endswith("+cpu"):
        return
    package = Path(importlib.util.find_spec("torchaudio").submodule_search_locations[0])
    for library in package.glob("lib/*.so"):
        library.unlink()


if __name__ == "__main__":
    main()
