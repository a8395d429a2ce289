"""Makes the demo base: `python -m sota.demo_base` in the pack's folder, or `make demo-base`. See make.py."""

import sys
import types
from pathlib import Path

# the pack's folder may have any name, and its rooms import each other: one name for all of it
sys.modules["isengard"] = types.ModuleType("isengard")
sys.modules["isengard"].__path__ = [str(Path(__file__).resolve().parents[2])]

from isengard.sota.demo_base import make  # noqa: E402

if __name__ == "__main__":
    make.main()
