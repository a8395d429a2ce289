from __future__ import annotations

import dataclasses
import json

import numpy as np
from PIL import Image

from isengard.nodes.evaluation import grid_pictures
from isengard.nodes.evaluation.grid_pictures import GridPictures
from isengard.nodes.evaluation.records import THE_BASE, Cell, Column, Row

CELL = Cell(Column(THE_BASE, 0.0), Row("a «woman»", 7))


def test_a_picture_comes_back_and_says_what_it_shows(tmp_path):
    file = grid_pictures.file_of(tmp_path, "ab12")
    assert grid_pictures.read(file) is None
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))
    grid_pictures.write(file, picture, CELL)
    assert np.array_equal(grid_pictures.read(file), picture)
    with Image.open(file) as opened:
        assert json.loads(opened.info["isengard"]) == {
            "lora": "base", "strength": 0.0, "prompt": "a «woman»", "seed": 7
        }  # fmt: skip
    assert [each.name for each in tmp_path.rglob("*.*")] == ["ab12.png"], "a temporary file was left"


def test_a_damaged_picture_is_none(tmp_path):
    file = tmp_path / "a.png"
    grid_pictures.write(file, Image.new("RGB", (64, 64), "red"), CELL)
    whole = file.read_bytes()
    for content in (b"", b"text", whole[:30], whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert grid_pictures.read(file) is None


def test_what_is_lost_or_failed_is_a_change_once(tmp_path):
    pictures, file = GridPictures(), tmp_path / "a.png"
    file.touch()
    before = pictures.changes
    pictures.note([dataclasses.replace(CELL, picture=file)])
    assert pictures.changes == before
    file.unlink()
    lost = pictures.changes
    assert lost != before
    assert pictures.changes == lost
    pictures.note([dataclasses.replace(CELL, failed="no")])
    assert pictures.changes != lost
