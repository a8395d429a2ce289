"""How well pictures show their prompts, by vectors."""

from __future__ import annotations

import pytest
import torch

from isengard.nodes.evaluation import adherence
from isengard.nodes.evaluation.adherence import Adherence, AdherenceError


def test_the_score_is_2_5_times_the_cosine_and_at_least_0():
    texts = torch.eye(3)
    pictures = torch.tensor([[0.6, 0.8, 0.0], [-0.6, 0.0, 0.8], [0.0, 0.0, 1.0]])
    found = adherence.adherences(pictures, texts, own=(0, 0, 2))
    assert [each.value for each in found] == pytest.approx([1.5, 0.0, 2.5])
    assert [each.is_own for each in found] == [False, False, True]


def test_of_one_prompt_there_is_no_likeliest():
    assert adherence.adherences(torch.eye(2), torch.eye(2)[:1], own=(0, 0)) == (
        Adherence(2.5, None),
        Adherence(0, None),
    )


def test_prompts_are_one_for_all_or_one_for_each():
    assert adherence.prompts(["a", "b", "a"], 3) == adherence.Prompts(("a", "b"), (0, 1, 0))
    assert adherence.prompts(["a"], 3) == adherence.Prompts(("a",), (0, 0, 0))
    with pytest.raises(AdherenceError, match="there are 2 prompts for 3 pictures. Write one for all, or one for each"):
        adherence.prompts(["a", "b"], 3)
