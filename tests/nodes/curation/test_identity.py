"""Somebody else among a character's pictures, by vectors of a network that sees pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isengard.nodes.curation import identity
from isengard.nodes.dataset.records import Dataset, Origin, Sample
from isengard.tests import pictures
from isengard.tests.benchmarks import embedding


def dataset(shown: list) -> Dataset:
    tensors = [torch.from_numpy(np.asarray(each, np.float32) / 255)[None] for each in shown]
    return Dataset(
        "x", tuple(Sample(f"{n}", each, (1, 1), ("c",), Origin("x", f"{n}")) for n, each in enumerate(tensors))
    )


def seen(pixels: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(embedding.embed([(pixels[0].numpy() * 255).astype(np.uint8)]))


@pytest.mark.parametrize("who, other", [(1, 7), (4, 10)])
def test_somebody_else_is_odd(who, other):
    shown = dataset([*(pictures.person(who, look, 224) for look in range(12)), pictures.person(other, 3, 224)])
    kept, dropped = identity.without_others(shown, identity.vectors(shown, seen), 2.0)
    found = {sample.name: sample for sample in dropped.samples}
    assert "12" in found
    assert len(found) <= 2
    assert found["12"].reason.startswith("somebody else (identity -")
    assert all(sample.scores[identity.SCORE] >= -2 for sample in kept.samples)


def around(direction: int, count: int, seed: int) -> torch.Tensor:
    noise = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(torch.eye(16)[direction] * 12 + noise, dim=1)


def named(count: int) -> Dataset:
    return Dataset("x", tuple(Sample(f"{n}", None, (1, 1), (), Origin("x", f"{n}")) for n in range(count)))


def test_several_odd_ones_do_not_hide_each_other():
    vectors = torch.cat([around(0, 20, 0), around(5, 4, 1)])
    _, dropped = identity.without_others(named(24), vectors, 3.5)
    assert [sample.name for sample in dropped.samples] == ["20", "21", "22", "23"]


def test_references_say_who_is_meant_even_where_most_show_another():
    vectors = torch.cat([around(0, 4, 0), around(5, 12, 1)])
    _, dropped = identity.without_others(named(16), vectors, 10.0, references=around(0, 8, 2))
    assert [sample.name for sample in dropped.samples] == [str(n) for n in range(4, 16)]


def test_copies_of_one_picture_have_no_odd_one():
    same = around(0, 1, 0).repeat(6, 1)
    assert identity.without_others(named(6), same, 3.5)[1].samples == ()


@pytest.mark.parametrize("given", [{"count": 3}, {"count": 9, "references": 2}])
def test_too_few_pictures_are_refused(given):
    references = around(0, given["references"], 3) if "references" in given else None
    with pytest.raises(identity.TooFew, match="it takes 4 to say which is odd"):
        identity.without_others(named(given["count"]), around(0, given["count"], 0), 3.5, references)
