"""The sample character Mira and twelve others: pictures with captions, drawn by draw.py (see README.md)."""

from pathlib import Path

FOLDER = Path(__file__).parent / "mira"
OTHERS = Path(__file__).parent / "others"
