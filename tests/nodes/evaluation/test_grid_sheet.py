from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isengard.nodes.evaluation import planning
from isengard.nodes.evaluation.grid_sheet import Sheet
from isengard.nodes.evaluation.records import RUN, Candidate, Row

RED, LIME = (255, 0, 0), (0, 255, 0)


def cells(loras=2, strengths=(0.7, 1.0), prompts=2, seeds=2, with_base=True):
    candidates = [Candidate(f"step {n}", RUN, Path(f"{n}"), n) for n in range(loras)]
    rows = [Row(f"prompt {prompt}", seed) for prompt in range(prompts) for seed in range(seeds)]
    return planning.cells(candidates, strengths, rows, with_base)


def pages(sheet: Sheet) -> np.ndarray:
    return sheet.tensor().mul(255).round().byte().numpy()


def boxes(page: np.ndarray, colour) -> np.ndarray:
    return (page == colour).all(-1)


def test_every_picture_has_a_place_of_its_own():
    made = cells()
    sheet = Sheet("Mira", made, (64, 48))
    for cell in made:
        before = pages(sheet)
        sheet.show(cell, Image.new("RGB", (64, 48), RED))
        changed = (pages(sheet) != before).any(-1)
        assert changed.sum() == 64 * 48
    (page,) = pages(sheet)
    assert boxes(page, RED).sum() == len(made) * 64 * 48
    border = np.concatenate([page[0], page[-1], page[:, 0], page[:, -1]])
    assert (border == 255).all(), "something reaches the border"


def test_columns_are_side_by_side_and_rows_below_each_other():
    made = cells()
    sheet = Sheet("Mira", made, (64, 48))

    def place(cell):
        sheet.show(cell, Image.new("RGB", (64, 48), LIME))
        (page,) = pages(sheet)
        rows, columns = np.nonzero(boxes(page, LIME))
        sheet.show(cell, Image.new("RGB", (64, 48), RED))
        return rows.min(), columns.min()

    places = {(cell.column, cell.row): place(cell) for cell in made}
    columns, rows = list(dict.fromkeys(c.column for c in made)), list(dict.fromkeys(c.row for c in made))
    for row in rows:
        lefts = [places[column, row][1] for column in columns]
        assert lefts == sorted(set(lefts))
    for column in columns:
        tops = [places[column, row][0] for row in rows]
        assert tops == sorted(set(tops))


@pytest.mark.parametrize(
    ("loras", "strengths", "prompts", "seeds", "count"),
    [(5, (0.7, 1.0), 3, 2, 1), (6, (0.7, 1.0), 3, 2, 2), (40, (1.0,), 1, 1, 4), (1, (1.0,), 5, 3, 2),
     (0, (1.0,), 2, 30, 6), (2, tuple(n / 10 for n in range(1, 15)), 1, 1, 3)],
)  # fmt: skip
def test_large_grids_take_pages_of_one_size_that_miss_nothing(loras, strengths, prompts, seeds, count):
    made = cells(loras, strengths, prompts, seeds)
    sheet = Sheet("Mira", made, (64, 48))
    for cell in made:
        sheet.show(cell, Image.new("RGB", (64, 48), RED))
    drawn = pages(sheet)
    assert len(drawn) == count
    assert drawn.shape[2] < 12 * 80 + 300
    base = [cell for cell in made if cell.column.label == "base"]
    copies = max(1, -(-len(made) // len(base)) > 12) and len(drawn)
    assert boxes(drawn, RED).sum() >= len(made) * 64 * 48, "not all are on a page"
    assert boxes(drawn, RED).sum() <= (len(made) + copies * len(base)) * 64 * 48


def test_a_failed_picture_is_grey_with_the_reason():
    made = cells()
    sheet, other = Sheet("Mira", made, (128, 128)), Sheet("Mira", made, (128, 128))
    sheet.fail(made[3], "out of memory")
    other.fail(made[3], "it is no LoRA")
    assert boxes(pages(sheet), (0xD9, 0xD9, 0xDE)).sum() > 128 * 128 / 2
    assert (pages(sheet) != pages(other)).any(), "the reason is not written"
    tiny = Sheet("Mira", made, (16, 16))
    tiny.fail(made[3], "out of memory")


def test_large_pictures_are_shown_smaller_in_their_shape():
    made = cells()
    sheet = Sheet("Mira", made, (1024, 2048))
    sheet.show(made[0], Image.new("RGB", (1024, 2048), RED))
    rows, columns = np.nonzero(boxes(pages(sheet)[0], RED))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert (height, width) == (320, 160)
    assert max(sheet.preview(200).size) <= 200
