"""A LoRA learns a character: the likeness benchmark in short, and the proof that it can fail."""

from __future__ import annotations

import pytest

from isengard.sota.demo_base import people
from isengard.tests.benchmarks import bench_likeness, figures, likeness_job
from isengard.tests.workflows.validate import problems

pytestmark = pytest.mark.comfyui

STEPS, RATE = 250, 6e-3
ENOUGH = 0.3  # 1 is the real character, 0 the base
LITTLE = 0.5  # change of other people; 1 is another seed, and 1.5 was measured without prior preservation
WHO = (people.held_out()[0], people.held_out()[10])  # a head shape that the base has never seen, and one it has


@pytest.fixture(scope="module")
def base(comfyui):
    return likeness_job.trained(comfyui.url, {}, ["base", 0])


@pytest.fixture(scope="module")
def spread(comfyui):
    return figures.spread(likeness_job.sampled(comfyui.url, figures.bare_prompts(), seeds=4))


def measured(comfyui, base, spread, identity, steps: int, learning_rate: float) -> figures.Measured:
    folder = f"learning_{likeness_job.slug(identity)}"
    likeness_job.write_dataset(comfyui.base / "input" / folder, identity)
    graph = likeness_job.training_graph(folder, steps, learning_rate, seed=0)
    trained = likeness_job.trained(comfyui.url, graph, ["train", 1])
    return figures.measure(trained, base, spread, identity)


@pytest.mark.parametrize("identity", WHO, ids=likeness_job.slug)
def test_a_character_is_learned(comfyui, base, spread, identity):
    got = measured(comfyui, base, spread, identity, STEPS, RATE)
    assert got.likeness.value > ENOUGH
    assert got.likeness.low > ENOUGH / 2
    assert got.mean_bleed < LITTLE
    assert got.adherence > 0.85 * figures.adherence(base.pictures)


def test_nothing_is_learned_at_a_learning_rate_of_nearly_0(comfyui, base, spread):
    """If this reached what the others must reach, they would measure nothing."""
    got = measured(comfyui, base, spread, WHO[0], 10, 1e-12)  # 0 on the node is as its config has it
    assert got.likeness.value == pytest.approx(0, abs=0.01)
    assert got.mean_bleed == pytest.approx(0, abs=0.01)


def test_the_base_draws_what_it_is_asked_for(comfyui):
    """Held-out combinations of hair, skin, background and direction, each right in nine of ten pictures."""
    shares, _ = bench_likeness.base_accuracy(comfyui.url, count=10)
    assert shares["attribute_accuracy_worst"] >= 0.9, shares


def test_comfyuis_own_trainer_runs(comfyui, base):
    """A few steps with the settings of the benchmark; the base has been sampled with before, as there."""
    place = "core_fits"
    likeness_job.write_dataset(comfyui.base / "input" / place, WHO[0])
    info = likeness_job.object_info(comfyui.url)
    job = likeness_job.core_training_graph(info, place, 10, 1e-2, seed=0)
    assert problems(job | likeness_job.sampling_graph(["trained", 0], ["person"], "p"), info) == []
    trained = likeness_job.trained(comfyui.url, job, ["trained", 0])
    assert trained.seconds > 0
    assert (trained.pictures != base.pictures).any(), "sampled without its LoRA"
