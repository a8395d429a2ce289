from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from isengard.nodes.characters.records import Character, Version
from isengard.nodes.evaluation import planning
from isengard.nodes.evaluation.records import BASE, CHARACTER, FILE, RUN, Candidate, Cell, Column, GridError, Row
from isengard.trainers.config import TrainConfig
from isengard.trainers.run import Checkpoint, Progress, Run

METRICS = tuple(Progress(step, 3, 0.1, 1e-4, 0.1) for step in (1, 2, 3))
RUN_OF_THREE = Run("id", "mira", TrainConfig(steps=3), "d", "b", "fp32", "flow", ("SD3",), 1, {}, METRICS)
ONE = Candidate("one", FILE, Path("one.safetensors"))
NO_LISTS = {}.__getitem__


def test_the_checkpoints_of_a_run():
    checkpoints = (Checkpoint(2, Path("a"), 0.3), Checkpoint(3, Path("b")))
    run = dataclasses.replace(RUN_OF_THREE, checkpoints=checkpoints)
    assert planning.of_run(run) == [
        Candidate("step 2", RUN, Path("a"), 2, 0.3), Candidate("step 3", RUN, Path("b"), 3)
    ]  # fmt: skip
    assert run.until(2).checkpoints == checkpoints[:1]
    assert len(run.until(2).metrics) == 2
    with pytest.raises(GridError, match="mira has no checkpoints"):
        planning.of_run(RUN_OF_THREE)


KNOWN = ["mira.safetensors", "mira-2.safetensors", "old\\mira.v1.safetensors", "a[1]+.safetensors"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["mira"], ["mira"]),
        (["mira.safetensors"], ["mira"]),
        (["mira*"], ["mira", "mira-2"]),
        (["*mira*", "mira"], ["mira", "mira-2", "old/mira.v1"]),
        (["old/mira.v1"], ["old/mira.v1"]),
        (["a[1]+"], ["a[1]+"]),
        ([], []),
    ],
)
def test_files_by_their_names(names, found):
    made = planning.of_files(names, KNOWN, lambda name: Path("loras") / name)
    assert [each.label for each in made] == found
    assert all(str(each.file)[6:] in KNOWN for each in made)


@pytest.mark.parametrize("name", ["mir", "../mira", "/etc/passwd", "Mira", "mira?", ".*"])
def test_a_name_that_none_has_is_told(name):
    with pytest.raises(GridError, match="there is no LoRA .*mira.safetensors"):
        planning.of_files([name], KNOWN, Path)


def test_the_versions_of_a_character():
    versions = tuple(Version(f"v{n}", f"v{n}.safetensors", "", "") for n in (1, 3))
    mira = Character("mira", "Mira", versions=versions)
    found = planning.of_character(mira, Path("loras"))
    assert [(each.label, each.source, each.file) for each in found] == [
        ("Mira v1", CHARACTER, Path("loras/v1.safetensors")), ("Mira v3", CHARACTER, Path("loras/v3.safetensors"))
    ]  # fmt: skip


def test_prompts_have_the_characters_words():
    mira = Character("mira", "Mira", trigger="mir4", class_noun="woman")
    lines = ["{trigger} {class}, red", "{a|a}", "mir4 woman, red", "(x:1.2)"]
    assert planning.filled(lines, mira, NO_LISTS, 0) == ["mir4 woman, red", "a", "(x:1.2)"]
    assert planning.filled(["a man"], None, NO_LISTS, 0) == ["a man"]
    with pytest.raises(GridError, match=r"has \{ trigger \} and no character"):
        planning.filled(["a", "{ trigger }"], None, NO_LISTS, 0)
    with pytest.raises(GridError, match="no prompt"):
        planning.filled([], mira, NO_LISTS, 0)


def test_cells_come_column_by_column_with_the_base_first():
    rows = [Row("a", 1), Row("a", 2)]
    found = planning.cells([ONE], (0.5, 1.0), rows, with_base=True)
    assert [(cell.column.label, cell.row) for cell in found] == [
        (label, row) for label in ("base", "one @ 0.5", "one @ 1") for row in rows
    ]
    assert found[0].column.candidate.source == BASE
    assert planning.cells([], (1.0,), rows, with_base=True)
    with pytest.raises(GridError, match="no LoRA to draw with"):
        planning.cells([], (1.0,), rows, with_base=False)


def test_a_picture_is_told_apart_by_all_that_decides_it():
    def key(shared="s", content="c", candidate=ONE, strength=1.0, prompt="a", seed=1):
        return planning.key(shared, content, Cell(Column(candidate, strength), Row(prompt, seed)))

    same = dataclasses.replace(ONE, label="another name", file=Path("elsewhere"))
    assert key() == key() == key(candidate=same)
    others = [key("t"), key(content="d"), key(strength=0.5), key(prompt="b"), key(seed=2), key(content="")]
    assert len({key(), *others}) == 7
    assert key(content="", strength=1.0) == key(content="", strength=0.0), "the base has no strength"


def test_the_report_counts_and_says_why():
    cells = planning.cells([ONE], (1.0,), [Row("a", seed) for seed in range(4)], with_base=False)
    assert planning.report(cells, 3) == "4 pictures: 3 drawn, 1 from disk, 0 failed."
    failed = [dataclasses.replace(cell, failed="out of memory") for cell in cells[:2]]
    assert planning.report([*failed, *cells[2:]], 1).splitlines() == [
        "4 pictures: 1 drawn, 1 from disk, 2 failed.", "one @ 1 (2 failed): out of memory"
    ]  # fmt: skip
