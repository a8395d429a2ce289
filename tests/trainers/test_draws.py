"""The order of pictures: every one its share, the same from the same seed, and no two shapes in one batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from isengard.trainers.draws import Order, Pool, generator


def pool(shapes="aaaaaabbbc", repeats=None, captions=1) -> Pool:
    named = [(16, 4 + "abc".index(shape), 4) for shape in shapes]
    return Pool(named, repeats or [1] * len(shapes), [[1] * captions] * len(shapes))


def examples(order: Order, batches: int) -> list[list[int]]:
    return [[draw.example for draw in order.batch(number)] for number in range(batches)]


def test_every_epoch_of_a_bucket_takes_every_picture_once_in_an_order_of_its_own():
    drawn = [index for batch in examples(Order(pool("aaaaaa"), 4, 0.0, seed=3), 9) for index in batch]
    epochs = [drawn[start : start + 6] for start in range(0, 36, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_no_batch_mixes_shapes_and_every_picture_gets_its_share():
    given = pool()
    batches = examples(Order(given, 2, 0.0, seed=3), 500)
    assert all(len({given.shapes[index] for index in batch}) == 1 for batch in batches)
    counts = Counter(index for batch in batches for index in batch)
    assert min(counts.values()) >= 98
    assert max(counts.values()) <= 102


def test_buckets_take_turns_evenly():
    """After any number of batches, none is a whole batch away from its share."""
    given = pool()
    batches = examples(Order(given, 1, 0.0, seed=3), 200)
    for shape, share in Counter(given.shapes).items():
        of_it = [given.shapes[batch[0]] == shape for batch in batches]
        for end in range(1, 201):
            assert abs(sum(of_it[:end]) - share / 10 * end) < 1


def test_repeats_show_a_picture_more_often():
    drawn = [index for batch in examples(Order(pool("aaa", repeats=[1, 3, 2]), 2, 0.0, 3), 30) for index in batch]
    assert Counter(drawn) == {0: 10, 1: 30, 2: 20}


@pytest.mark.parametrize("dropout", [0.0, 0.2, 1.0])
def test_words_are_left_out_as_often_as_asked_for_and_captions_take_turns(dropout):
    order = Order(pool("aaaa", captions=3), 4, dropout, seed=5)
    shown = [draw.caption for number in range(500) for draw in order.batch(number)]
    counts = Counter(shown)
    assert counts[None] / len(shown) == pytest.approx(dropout, abs=0.02)
    for caption in range(3):
        assert counts[caption] / len(shown) == pytest.approx((1 - dropout) / 3, abs=0.03)


def test_captions_come_equally_often_however_many_orders_they_have():
    order = Order(Pool([(1,)], [1], [[1, 9]]), 4, 0.0, seed=5)
    counts = Counter(draw.caption for number in range(1000) for draw in order.batch(number))
    assert counts[0] / 4000 == pytest.approx(0.5, abs=0.03)
    assert all(counts[place] / 4000 == pytest.approx(0.5 / 9, abs=0.02) for place in range(1, 10))


def test_dropout_changes_no_order():
    """So that runs with and without it can be compared picture by picture."""
    orders = [Order(pool(captions=3), 2, dropout, seed=5) for dropout in (0.0, 0.5)]
    drawn = [[order.batch(number) for number in range(50)] for order in orders]
    for plain, dropped in zip(*drawn, strict=True):
        assert [draw.example for draw in plain] == [draw.example for draw in dropped]
        assert all(b.caption in (a.caption, None) for a, b in zip(plain, dropped, strict=True))


def test_a_batch_is_the_same_whenever_it_is_asked_for():
    forward, fresh = Order(pool(captions=2), 3, 0.3, seed=1), Order(pool(captions=2), 3, 0.3, seed=1)
    wanted = [forward.batch(number) for number in range(40)]
    assert [fresh.batch(number) for number in reversed(range(40))][::-1] == wanted
    assert [Order(pool(captions=2), 3, 0.3, seed=2).batch(number) for number in range(40)] != wanted


def test_smaller_batches_show_the_same_pictures():
    """Four batches of one are one batch of four, captions included."""
    large, small = (Order(pool("aaaaaa", captions=2), size, 0.3, seed=1) for size in (4, 1))
    for number in range(20):
        assert large.batch(number) == [small.batch(4 * number + place)[0] for place in range(4)]


def test_noise_differs_from_picture_to_picture_and_seed_to_seed():
    drawn = [torch.randn(8, generator=generator(seed, step)) for seed, step in ((3, 0), (3, 1), (4, 0), (3, 0))]
    assert torch.equal(drawn[0], drawn[3])
    assert len({tuple(each.tolist()) for each in drawn}) == 3
