"""The pictures of grids on disk, each a PNG file named by what decided it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...trainers import state_file
from .records import Cell

_COMPRESSION = 4  # as core's SaveImage


class GridPictures:
    """Those that grids of this process have. Each file may be deleted at any time.

    changes: rises when a picture of a grid is gone, and when a grid had one that failed, so that what ComfyUI remembers
    is looked at again.
    """

    def __init__(self):
        self._used: set[Path] = set()
        self._changes = 0
        self._lock = threading.Lock()

    @property
    def changes(self) -> int:
        with self._lock:
            lost = {file for file in self._used if not file.is_file()}
            self._used -= lost
            self._changes += bool(lost)
            return self._changes

    def note(self, cells: Sequence[Cell]) -> None:
        """A grid that is done."""
        with self._lock:
            self._used |= {cell.picture for cell in cells if cell.picture}
            self._changes += any(cell.failed for cell in cells)


def file_of(root: Path, key: str) -> Path:
    return root / key[:2] / f"{key}.png"


def read(file: Path) -> Image.Image | None:
    """RGB; none where it is not there, or damaged, so that it is drawn again."""
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # Pillow raises all of them for damaged files
        return None


def write(file: Path, picture: Image.Image, cell: Cell) -> None:
    """Whole or not at all, with what it shows inside, as a text that programs can read."""
    column, row = cell.column, cell.row
    said = {"lora": column.candidate.label, "strength": column.strength, "prompt": row.prompt, "seed": row.seed}
    info = PngInfo()
    info.add_itxt("isengard", json.dumps(said, ensure_ascii=False))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    file.parent.mkdir(parents=True, exist_ok=True)
    state_file.write(file, buffer.getvalue())
