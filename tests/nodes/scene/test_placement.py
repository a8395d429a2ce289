"""On which rows and tokens an adapter acts."""

from __future__ import annotations

import torch

from isengard.nodes.scene.placement import Placement

IMAGE, TEXT, JOINT = "diffusion_model.joint_blocks.0.x_block.attn.qkv", "…0.context_block.attn.qkv", "single.0.linear1"


def placement() -> Placement:
    """Two characters in a latent of 4 x 8. Rows: the whole (each has a half), and the first one's own window."""
    masks = torch.zeros(2, 2, 4, 8)
    masks[0, 0, :, :4], masks[0, 1, :, 4:] = 1, 1
    masks[1, 0] = 1
    words = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    return Placement(masks, words, text=5)


def test_picture_tokens_are_where_the_character_stands():
    rows, weights = placement().of(0, IMAGE, torch.zeros(2, 8, 3))  # patches of 2: 2 x 4 tokens
    assert rows is None
    assert weights[..., 0].tolist() == [[1, 1, 0, 0, 1, 1, 0, 0], [1] * 8]
    rows, weights = placement().of(1, IMAGE, torch.zeros(2, 32, 3))  # patches of 1
    assert rows.tolist() == [0]
    assert weights[0, :, 0].reshape(4, 8).tolist() == [[0] * 4 + [1] * 4] * 4


def test_text_tokens_are_those_of_the_characters_own_words():
    rows, weights = placement().of(0, TEXT, torch.zeros(2, 5, 3))
    assert rows.tolist() == [1] and weights is None
    rows, _ = placement().of(1, TEXT, torch.zeros(2, 5, 3))
    assert rows.tolist() == []


def test_text_of_as_many_tokens_as_the_picture_is_told_by_its_layer():
    here = Placement(placement().masks, placement().words, text=8)
    assert here.of(0, TEXT, torch.zeros(2, 8, 3))[0].tolist() == [1]
    assert here.of(0, IMAGE, torch.zeros(2, 8, 3))[0] is None
    assert here.of(0, "blocks.1.attn2.to_k", torch.zeros(2, 8, 3))[0].tolist() == [1]
    assert here.of(0, "blocks.1.attn2.to_q", torch.zeros(2, 8, 3))[0] is None


def test_a_sequence_of_text_and_picture_has_the_text_first():
    rows, weights = placement().of(0, JOINT, torch.zeros(2, 13, 3))
    assert rows is None
    assert weights[..., 0].tolist() == [[0] * 5 + [1, 1, 0, 0, 1, 1, 0, 0], [1] * 13]


def test_vectors_and_what_has_no_place_act_in_the_characters_own_rows():
    for x in (torch.zeros(2, 3), torch.zeros(2, 999, 3)):
        rows, weights = placement().of(0, IMAGE, x)
        assert rows.tolist() == [1] and weights is None


def test_pictures_have_the_mask_in_their_own_size():
    rows, weights = placement().of(1, "input_blocks.1.0.in_layers.2", torch.zeros(2, 3, 2, 4))
    assert rows.tolist() == [0]
    assert weights[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_weights_have_the_type_of_the_layer():
    _, weights = placement().of(0, IMAGE, torch.zeros(2, 8, 3, dtype=torch.bfloat16))
    assert weights.dtype == torch.bfloat16
