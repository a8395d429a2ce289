"""A run's folder on disk: found again, gone on from, and not trained again."""

from __future__ import annotations

import json

import pytest
import torch

from isengard.trainers import loop, lora_file, state_file
from isengard.trainers.batch import Examples
from isengard.trainers.config import AdapterConfig, TrainConfig
from isengard.trainers.errors import TrainingError
from isengard.trainers.run import Progress
from isengard.trainers.run_folder import METRICS, RESULT, STATE, RunFolder

from .tiny import TinyBase, pictures

CONFIG = TrainConfig(steps=12, checkpoint_every=4, adapter=AdapterConfig(rank=2))
KEY = "0123456789abcdef"


def folder(root, key=KEY, name="Mira, the first"):
    return RunFolder(root, name, key, CONFIG)


def train(place, report=lambda progress: None):
    trained = loop.train(TinyBase(), Examples(pictures()), CONFIG, loop.Watch(report, place.keep), place.saved())
    place.finish(trained)
    return trained


def same(first, second):
    return all(
        torch.equal(first.weights[p][end], second.weights[p][end]) for p in first.weights for end in first.weights[p]
    )


def test_a_stopped_run_goes_on_and_a_finished_one_is_there(tmp_path):
    whole = train(folder(None))

    def stop(progress):
        if progress.step == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(folder(tmp_path), stop)
    assert folder(tmp_path).finished() is None
    steps = []
    rest = train(folder(tmp_path), lambda progress: steps.append(progress.step))
    assert steps == [8, 9, 10, 11, 12]
    assert same(rest, whole)
    again = folder(tmp_path).finished()
    assert same(again, whole)
    assert again.metrics == rest.metrics
    (place,) = tmp_path.iterdir()
    assert sorted(file.name for file in place.iterdir()) == ["config.yaml", METRICS, RESULT]


def test_what_was_learned_before_an_early_end_is_there_and_so_is_the_way_on(tmp_path):
    def finish(progress):
        if progress.step == 7:
            raise loop.FinishEarly

    early = train(folder(tmp_path), finish)
    kept = folder(tmp_path).finished()
    assert not kept.finished
    assert same(kept, early)
    steps = []
    rest = train(folder(tmp_path), lambda progress: steps.append(progress.step))
    assert steps == [8, 9, 10, 11, 12]
    assert same(rest, train(folder(None)))
    assert folder(tmp_path).finished().finished
    assert folder(tmp_path).saved() is None


def test_the_folder_is_for_people(tmp_path):
    train(folder(tmp_path))
    (place,) = tmp_path.iterdir()
    assert place.name.endswith("-mira-the-first-0123456789ab")
    assert TrainConfig.from_yaml((place / "config.yaml").read_text()) == CONFIG
    rows = [json.loads(line) for line in (place / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))


def test_another_run_has_another_folder(tmp_path):
    train(folder(tmp_path))
    assert folder(tmp_path, key="f" * 64).finished() is None
    assert folder(tmp_path, name="renamed").finished() is not None


def test_a_name_from_a_user_stays_inside(tmp_path):
    for name in ("../../etc", "a/b", "..", "", "Мира"):
        place = folder(tmp_path / "runs", key=name.encode().hex().ljust(12, "0"), name=name)
        assert place.path.parent == tmp_path / "runs"
        assert place.path.is_dir()


def test_a_damaged_state_is_told(tmp_path):
    place = folder(tmp_path)
    place.keep({"metrics": [], "step": 1})
    (place.path / STATE).write_bytes(b"cut off")
    with pytest.raises(state_file.DamagedState, match="Move it away to begin anew"):
        place.saved()


def test_checkpoints_are_lora_files_that_stay(tmp_path):
    place = folder(tmp_path)
    metrics = [Progress(step, 12, 0.1, 1e-4, 0.0, validation_loss=0.5 if step == 8 else None) for step in range(1, 11)]
    assert place.checkpoints(metrics) == ()
    for step in (8, 4, 12):
        assert not place.has_lora(step)
        place.keep_lora(step, {"a.lora_up.weight": torch.full((2, 1), float(step))})
    first, second = folder(tmp_path).checkpoints(metrics)
    assert (first.step, first.validation_loss, second.step, second.validation_loss) == (4, None, 8, 0.5)
    assert place.has_lora(12), "of a step that this run has not made yet, and is not listed"
    weights, said = lora_file.read(second.file)
    assert torch.equal(weights["a.lora_up.weight"], torch.full((2, 1), 8.0))
    assert (said["ss_steps"], said["isengard.run"]) == ("8", place.id)
    with pytest.raises(TrainingError, match="not finite"):
        place.keep_lora(9, {"a.lora_up.weight": torch.tensor([float("nan")])})
    assert not place.has_lora(9)


def test_without_a_root_nothing_is_kept():
    place = folder(None)
    place.keep_lora(4, {"a.lora_up.weight": torch.zeros(1, 1)})
    assert place.has_lora(4), "there is nowhere to write to"
    assert place.checkpoints([Progress(4, 12, 0.1, 1e-4, 0.0)]) == ()
    train(place)
    assert place.saved() is None
    assert place.finished() is None
    assert place.id.endswith("0123456789ab")
