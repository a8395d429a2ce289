"""Pictures of a grid that are drawn together, on ComfyUI's networks in this process."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.comfyui

SIZE = 64


@pytest.fixture(scope="module")
def modules(comfy_model):
    """The modules that import comfy."""
    from isengard.nodes.evaluation import comfy_grid
    from isengard.trainers import comfy_sampling

    return comfy_grid, comfy_sampling


@pytest.fixture(scope="module")
def loaded(load_all):
    return load_all("sd3")


def draw(modules, loaded, root, wrapper=None):
    """Three prompts, of two seeds each, by the base. wrapper: ComfyUI's, around the network."""
    from comfy.patcher_extension import WrappersMP

    from isengard.nodes.evaluation.grid_sheet import Sheet
    from isengard.nodes.evaluation.records import THE_BASE, Cell, Column, Row

    comfy_grid, comfy_sampling = modules
    model, clip, vae = loaded
    if wrapper:
        model = model.clone()
        model.add_wrapper(WrappersMP.APPLY_MODEL, wrapper)
    settings = comfy_sampling.SamplerSettings(2, 4.0, "euler", "simple", SIZE, SIZE)
    rows = [Row(text, seed) for text in ("mira woman", "a man", "a cat") for seed in (1, 2)]
    cells = [Cell(Column(THE_BASE, 1.0), row) for row in rows]
    shown = []
    sheet = Sheet("grid", cells, (SIZE, SIZE))
    shared = comfy_grid.Shared(model, clip, vae, "", settings)
    with torch.inference_mode():
        drawn = comfy_grid.draw(cells, shared, root, sheet, lambda done, of, preview: shown.append((done, of)))
    return drawn, shown


def test_all_are_drawn_at_once_and_counted(modules, loaded, tmp_path):
    sizes = []

    def counting(network, x, *arguments, **options):
        sizes.append(len(x))
        return network(x, *arguments, **options)

    drawn, shown = draw(modules, loaded, tmp_path, counting)
    assert drawn.count == 6 and not any(cell.failed for cell in drawn.cells)
    assert set(sizes) == {12}, "six pictures with and without their prompt"
    assert [done for done, _ in shown][:2] == [6, 12] and {of for _, of in shown} == {12}


def test_what_does_not_fit_into_memory_together_is_drawn_one_by_one(modules, loaded, tmp_path):
    def full(network, x, *arguments, **options):
        if len(x) > 2:
            raise MemoryError("not enough memory")
        return network(x, *arguments, **options)

    drawn, shown = draw(modules, loaded, tmp_path, full)
    assert drawn.count == 6 and not any(cell.failed for cell in drawn.cells)
    assert max(done for done, _ in shown) == 12


def test_a_picture_without_numbers_fails_alone(modules, loaded, tmp_path):
    def spoiling(network, x, *arguments, **options):
        found = network(x, *arguments, **options)
        found[len(found) // 2 - 1] = float("nan")  # of six with and without their prompt: the last with it
        return found

    drawn, _ = draw(modules, loaded, tmp_path, spoiling)
    assert [bool(cell.failed) for cell in drawn.cells] == [False] * 5 + [True]
    assert "no number any more (NaN)" in drawn.cells[-1].failed


def test_large_pictures_and_samplers_with_noise_go_one_by_one(modules):
    comfy_grid, comfy_sampling = modules

    def most(sampler: str, width: int, height: int) -> int:
        return comfy_grid.most_together(comfy_sampling.SamplerSettings(2, 4.0, sampler, "simple", width, height))

    assert most("euler", 1024, 1024) == most("euler", 2048, 1024) == most("euler_ancestral", 64, 64) == 1
    assert (most("euler", 512, 512), most("dpmpp_2m", 64, 64)) == (4, 8)


def test_parts_are_of_nearly_the_same_length(modules):
    batched = modules[0].batched
    assert [len(part) for part in batched(range(9), 8)] == [4, 5]
    assert [list(part) for part in batched("abc", 1)] == [["a"], ["b"], ["c"]]
    assert [list(part) for part in batched(range(8), 8)] == [list(range(8))]


def test_texts_are_joined_where_that_can_be_said_of_them(modules):
    together = modules[1].together

    def text(value: float, length: int = 77, **more) -> list:
        return [[torch.full((1, length, 8), value), {"pooled_output": torch.full((1, 4), value), **more}]]

    one, other = text(1.0), text(2.0)
    ((rows, about),) = together([one, other])
    assert rows[:, 0, 0].tolist() == about["pooled_output"][:, 0].tolist() == [1.0, 2.0]
    for unlike in (text(0.0, length=154), text(0.0, guidance=3.5), one + other):
        assert together([one, unlike]) is None
