from __future__ import annotations

import pytest
import torch

from isengard.trainers.cache import Cache


class Encoder:
    """Encodes place n as n + 0.5, and notes what it was asked for."""

    def __init__(self, fails_at: int | None = None):
        self.asked: list[int] = []
        self._fails_at = fails_at

    def __call__(self, places):
        for place in places:
            if place == self._fails_at:
                raise InterruptedError
            self.asked.append(place)
            yield torch.tensor(place + 0.5)


def test_what_was_encoded_is_not_encoded_again(tmp_path):
    first, second = Encoder(), Encoder()
    made = Cache(tmp_path).values(["aa", "bb"], first)
    again = Cache(tmp_path).values(["bb", "cc", "aa"], second)
    assert (first.asked, second.asked) == ([0, 1], [1])
    assert [float(value) for value in made] == [0.5, 1.5]
    assert [float(value) for value in again] == [1.5, 1.5, 0.5]


def test_equal_keys_are_encoded_once(tmp_path):
    for folder in (tmp_path, None):
        encoder = Encoder()
        values = Cache(folder).values(["aa", "bb", "aa"], encoder)
        assert encoder.asked == [0, 1]
        assert [float(value) for value in values] == [0.5, 1.5, 0.5]


def test_conditions_come_back_as_they_were(tmp_path):
    condition = [[torch.randn(1, 77, 8), {"pooled_output": torch.randn(1, 8), "guidance": 3.5, "tuple": (1, None)}]]
    Cache(tmp_path).values(["aa"], lambda places: [condition])
    ((again,),) = Cache(tmp_path).values(["aa"], Encoder())
    assert torch.equal(again[0], condition[0][0])
    assert torch.equal(again[1]["pooled_output"], condition[0][1]["pooled_output"])
    assert (again[1]["guidance"], again[1]["tuple"]) == (3.5, (1, None))


def test_an_interrupt_loses_nothing_that_was_encoded(tmp_path):
    with pytest.raises(InterruptedError):
        Cache(tmp_path).values(["aa", "bb", "cc"], Encoder(fails_at=2))
    rest = Encoder()
    Cache(tmp_path).values(["aa", "bb", "cc"], rest)
    assert rest.asked == [2]


def test_what_is_not_good_is_encoded_again(tmp_path):
    first, second = Encoder(), Encoder()
    for encoder in (first, second):
        Cache(tmp_path).values(["aa", "bb"], encoder, is_good=lambda value: float(value) > 1)
    assert (first.asked, second.asked) == ([0, 1], [0])


def test_a_folder_that_cannot_be_written_is_told_once_and_does_without(tmp_path):
    told = []
    (tmp_path / "cache").write_text("a file where the folder should be")
    values = Cache(tmp_path / "cache", told.append).values(["aa", "bb"], Encoder())
    assert [float(value) for value in values] == [0.5, 1.5]
    assert len(told) == 1
    assert "cannot be kept" in told[0]


def test_a_file_that_is_cut_off_is_made_anew(tmp_path):
    Cache(tmp_path).values(["aa"], Encoder())
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-3])
    again = Encoder()
    assert [float(value) for value in Cache(tmp_path).values(["aa"], again)] == [0.5]
    assert again.asked == [0]
    Cache(tmp_path).values(["aa"], Encoder(fails_at=0))
