import pytest

from isengard.trainers import captions
from isengard.trainers.errors import TrainingError


@pytest.mark.parametrize(
    "caption, class_noun, expected",
    [
        ("mira woman, smiling", "", "woman, smiling"),
        ("mira, smiling", "woman", "woman, smiling"),
        ("mira, smiling", "", "smiling"),
        ("smiling, Mira, red shirt", "", "smiling, red shirt"),
        ("photo of mira in the rain", "a woman", "photo of a woman in the rain"),
        ("mira woman, mira's hat", "", "woman, 's hat"),
        ("admiral mira", "", "admiral"),
        (r"mira, \1 \g<0>", r"\1", r"\1, \1 \g<0>"),
    ],
)
def test_the_trigger_is_replaced(caption, class_noun, expected):
    assert captions.without_trigger([caption], "mira", class_noun) == [expected]


def test_a_trigger_of_several_words_and_signs():
    assert captions.without_trigger(["(ohwx) cat, on a mat"], "(ohwx)", "") == ["cat, on a mat"]
    assert captions.without_trigger(["m1ra girl, m1ra girl2"], " m1ra girl ", "girl") == ["girl, m1ra girl2"]


def test_captions_without_the_trigger_are_named():
    with pytest.raises(TrainingError, match=r"'mira' in every caption; 2 of 3 lack it, the first is 'a miracle'"):
        captions.without_trigger(["mira woman", "a miracle", ""], "mira", "")
