import pytest

from isengard.trainers import captions
from isengard.trainers.errors import TrainingError


def without(caption, trigger="mira", class_noun=""):
    return captions.class_captions({"a.png": caption}, trigger, class_noun)["a.png"]


@pytest.mark.parametrize(
    "caption, class_noun, expected",
    [
        ("mira woman, smiling", "", "woman, smiling"),
        ("mira woman, smiling", "woman", "woman, smiling"),
        ("mira womanly, smiling", "woman", "woman womanly, smiling"),
        ("mira, smiling", "woman", "woman, smiling"),
        ("mira, smiling", "", "smiling"),
        ("smiling, Mira, red shirt", "", "smiling, red shirt"),
        ("photo of mira in the rain", "a woman", "photo of a woman in the rain"),
        ("mira woman, mira's hat", "", "woman, hat"),
        ("photo of mira's red hat", "woman", "photo of woman's red hat"),
        ("mira woman's hat", "woman", "woman's hat"),
        ("mira woman, smiling", "a woman", "a woman, smiling"),
        ("mira a woman, smiling", "a woman", "a woman, smiling"),
        ("mira_woman, smiling", "", "woman, smiling"),
        ("smiling mira.", "", "smiling."),
        ("((mira)), smiling", "", "smiling"),
        ("[mira:0.5], smiling", "", "smiling"),
        ("(mira:1.2) woman, (smiling:1.1)", "", "woman, (smiling:1.1)"),
        ("admiral mira", "", "admiral"),
        (r"mira, \1 \g<0>", r"\1", r"\1, \1 \g<0>"),
    ],
)
def test_the_trigger_is_replaced(caption, class_noun, expected):
    assert without(caption, class_noun=class_noun) == expected


def test_triggers_of_several_words_signs_and_scripts():
    assert without("(ohwx) cat, on a mat", "(ohwx)") == "cat, on a mat"
    assert without("m1ra  girl, m1ra girl2", " m1ra girl ", "girl") == "girl, m1ra girl2"
    assert without("米拉微笑", "米拉") == "微笑"
    assert without("zoe\u0301 woman", "zo\u00e9") == "woman"  # as macOS writes file names, and as a keyboard does


def test_captions_without_the_trigger_are_named():
    given = {"a.png": "mira woman", "b.png": "a miracle", "c.png": "", "d.png": "x"}
    with pytest.raises(TrainingError, match=r"'mira' in every caption; 3 \(b.png, c.png, …\) of 4 lack it"):
        captions.class_captions(given, "mira", "")


@pytest.mark.parametrize("caption", ["mira", "mira.", " (mira:1.2)! "])
def test_a_caption_that_is_the_trigger_alone_needs_a_class_noun(caption):
    with pytest.raises(TrainingError, match=r"of 1 \(a.png\) of 1 nothing is left. Set class_noun"):
        without(caption)
    assert without("mira", class_noun="woman") == "woman"
