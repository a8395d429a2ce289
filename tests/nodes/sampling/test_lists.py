from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.sampling import lists

SEED = st.integers(0, lists.LARGEST_SEED)


@given(
    st.lists(st.integers(-1000, 1000).map(lambda each: each / 100), min_size=1, max_size=20), st.sampled_from(",;\n")
)
def test_strengths_come_back_each_once_in_their_order(numbers, parting):
    text = f" {parting} ".join(map(str, numbers)) + parting
    assert lists.strengths(text) == tuple(dict.fromkeys(numbers))


@given(st.lists(st.one_of(SEED, st.tuples(SEED, st.integers(0, 9))), min_size=1, max_size=20))
def test_seeds_and_ranges_come_back_each_once_in_their_order(wanted):
    spans = [each if isinstance(each, tuple) else (each, 0) for each in wanted]
    spans = [(first, min(first + more, lists.LARGEST_SEED)) for first, more in spans]
    texts = [f"{first} - {last}" if first != last else str(first) for first, last in spans]
    seeds = [seed for first, last in spans for seed in range(first, last + 1)]
    assert lists.seeds(", ".join(texts)) == tuple(dict.fromkeys(seeds))


@given(st.text(max_size=40), st.sampled_from([lists.strengths, lists.seeds]))
def test_any_text_is_read_or_refused_with_a_message(text, read):
    try:
        found = read(text)
    except lists.ListError as error:
        assert str(error).endswith(".")
    else:
        assert 1 <= len(found) <= lists.MOST


def test_what_people_write():
    assert lists.strengths("1.0") == (1.0,)
    assert lists.strengths("0.6, .8,1., +1, -0.5") == (0.6, 0.8, 1.0, -0.5)
    assert lists.seeds("0") == (0,)
    assert lists.seeds("1, 5, 100-103, 5") == (1, 5, 100, 101, 102, 103)
    assert lists.seeds("007") == (7,)
    assert lists.seeds(str(2**64 - 1)) == (2**64 - 1,)
    assert len(lists.seeds("0-255")) == lists.MOST


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "there is no strength. Write one or several into 'strengths'"),
        (" , ", "there is no strength"),
        ("0.8, x", "'x' in strengths is no number"),
        ("0.6 0.8", "'0.6 0.8' in strengths is no number"),
        ("nan", "no number"),
        ("1e3", "no number"),
        ("10.1", "10.1 is too large. Write one from -10 to 10"),
        ("-11", "-11 is too large"),
        ("9" * 400, "is too large"),
        ("1," * 257, "strengths are 257 numbers; at most 256"),
    ],
)
def test_strengths_that_cannot_be(text, message):
    with pytest.raises(lists.ListError, match=message):
        lists.strengths(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "there is no seed"),
        ("7-3", "the range 7-3 in seeds goes backwards. Write 3-7."),
        ("1, two", "'two' in seeds is no seed"),
        ("-5", "'-5' in seeds is no seed"),
        ("1.5", "'1.5' in seeds is no seed"),
        ("1-2-3", "'1-2-3' in seeds is no seed"),
        ("0-256", "seeds are 257 numbers; at most 256"),
        ("0-9999999999999", "seeds are 10000000000000 numbers"),
        (str(2**64), "is too large"),
        ("9" * 5000, "is too large"),
    ],
)
def test_seeds_that_cannot_be(text, message):
    with pytest.raises(lists.ListError, match=message):
        lists.seeds(text)
