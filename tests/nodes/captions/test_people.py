from __future__ import annotations

import pytest

from isengard.nodes.captions import people
from isengard.nodes.captions.findings import Expected, read
from isengard.tests.nodes.captions.making import MIRA, SENTENCES, dataset_of

WHO = Expected("mira", "woman", name="Mira Keller")


def caption(text):
    return read(dataset_of(text), WHO)[0]


@pytest.mark.parametrize(
    "text, found",
    [
        ("mira woman, zorvik", ["zorvik"]),
        ("mira and ZORVIK's hat", ["zorvik"]),
        ("mira, bruno maar", ["Bruno Maar"]),
        ("mira beside Bruno, in the rain", ["Bruno Maar"]),
        ("mira beside a bruno", []),
        ("mira, zorviks", []),
        ("mira woman, keller", []),
        ("mira, red knight", ["The Red Knight"]),
        ("mira, the red hat, a knight", []),
    ],
)
def test_other_characters(text, found):
    others = ["zorvik", "Bruno Maar", "Mira", "mira", "Keller", "The Red Knight", "★"]
    assert people.others_in(caption(text), others, WHO) == found


@pytest.mark.parametrize(
    "text, found",
    [
        ("mira woman stands beside Bruno in the rain", ["Bruno"]),
        ("mira woman, Bruno, smiling", ["Bruno"]),
        ("A photo of mira with Bruno Maar. They smile.", ["Bruno Maar"]),
        ("mira is in Paris with Bruno's dog", ["Paris", "Bruno"]),
        ("Mira Keller, a woman, smiles. She waits.", []),
        ("Mira woman, Smiling, Red shirt, Blue background", []),
        ("mira, Smiling", []),
        ("mira woman, smiling", []),
        ("A Woman On A Bench With Her Dog", []),
        ("mira on a Monday, in a Victorian house, on TV, USA", []),
        ('mira says "Hello" to him', []),
        ("mira in a T-shirt BREAK smiling", []),
        ("ミラとブルーノ", []),
    ],
)
def test_words_that_look_like_names(text, found):
    assert people.capitalised(caption(text), WHO) == found


def test_captions_without_names():
    assert [name for text in MIRA for name in people.capitalised(caption(text), WHO)] == []
    assert [name for text in SENTENCES for name in people.capitalised(caption(text.format("")), WHO)] == []
