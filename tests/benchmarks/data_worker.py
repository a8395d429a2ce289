"""Loads, deduplicates and measures a folder of pictures in a process of its own.

    python data_worker.py FOLDER SIMILARITY

Prints one line of JSON: seconds, and the highest resident memory before and after, in MB.
"""

from __future__ import annotations

import json
import sys
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

sys.modules["isengard"] = types.ModuleType("isengard")
sys.modules["isengard"].__path__ = [str(ROOT)]

from isengard.nodes.curation import duplicates, quality  # noqa: E402
from isengard.nodes.dataset import folder  # noqa: E402


def main() -> None:
    bare, started = peak_mb(), time.perf_counter()
    loaded = folder.load(Path(sys.argv[1]), "bench", folder.Options("a caption")).dataset
    kept, _ = duplicates.deduplicated(loaded, float(sys.argv[2]))
    quality.sorted_out(kept, quality.Limits())
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "bare_mb": bare, "peak_mb": peak_mb(), "kept": len(kept.samples)}))


def peak_mb() -> float:
    """Of this process alone: getrusage tells the parent's before exec, too (proc(5), VmHWM)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
