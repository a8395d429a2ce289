"""The sample character Mira: twenty pictures with captions, drawn by draw.py (see README.md)."""

from pathlib import Path

FOLDER = Path(__file__).parent / "mira"
