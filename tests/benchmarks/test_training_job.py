"""What the training benchmark asks for."""

from __future__ import annotations

import pytest
from PIL import Image

from isengard.sota.demo_base import people
from isengard.tests import graph
from isengard.tests.benchmarks import bench_training, likeness_job, training_job

OLD = {"TrainLoraNode": {"input": {"required": {
    "gradient_checkpointing": ["BOOLEAN", {"default": True}],
    "training_dtype": ["COMBO", {"options": ["bf16", "fp32"]}], "lora_dtype": [["bf16", "fp32"], {}],
}}}}  # fmt: skip
NEW = {"TrainLoraNode": {"input": {"required": {
    **OLD["TrainLoraNode"]["input"]["required"], "bypass_mode": ["BOOLEAN", {"default": False}],
    "training_dtype": ["COMBO", {"options": ["bf16", "fp32", "none"]}],
}}}}  # fmt: skip


def test_core_is_tried_with_every_setting_that_its_version_has():
    old, new = training_job.core_variants(OLD), training_job.core_variants(NEW)
    assert {"gradient_checkpointing": False} in old
    assert {"gradient_checkpointing": False, "lora_dtype": "fp32"} in old
    assert not any("bypass_mode" in each or each.get("training_dtype") == "none" for each in old)
    assert {"gradient_checkpointing": False, "bypass_mode": True} in new
    assert any(each.get("training_dtype") == "none" for each in new)
    assert all(each in new for each in old)


def test_the_worst_case_counts_and_the_demo_bases_apart():
    ratios = dict(zip(training_job.CASES, (0.1, 0.2, 0.9, 0.4), strict=True))
    assert bench_training.worst("speed", ratios) == {"speed": 0.9, "speed_demo": 0.2}


@pytest.mark.parametrize("case", training_job.CASES, ids=str)
def test_pictures_are_as_large_as_they_are_trained(tmp_path, case):
    """Core does not resize them, and would train on smaller latents."""
    likeness_job.write_dataset(tmp_path, people.held_out()[4], case.resolution)
    assert {Image.open(file).size for file in tmp_path.glob("*.png")} == {(case.resolution, case.resolution)}


@pytest.mark.comfyui
def test_both_trainers_tell_every_step(comfyui):
    case = training_job.CASES[1]
    likeness_job.write_dataset(comfyui.base / "input" / "bench", people.held_out()[4], case.resolution)
    info = likeness_job.object_info(comfyui.url)
    graph.forget_runs(comfyui)
    for asked in (
        training_job.our_graph(case, "bench", 4, seed=5),
        training_job.core_graph(info, case, "bench", 4, 5, **training_job.core_variants(info)[0]),
    ):
        seconds = training_job.steps_of(comfyui.url, asked)
        assert len(seconds) == 3
        assert all(each > 0 for each in seconds)
