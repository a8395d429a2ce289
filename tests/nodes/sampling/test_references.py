from isengard.nodes.sampling import references

CAPTIONS = [
    "mira woman, smiling, red shirt, blue background",
    "mira woman, angry, blue shirt, red background",
    "mira woman, angry, sunglasses, red shirt, white background",
]


def test_the_caption_with_the_most_phrases_in_common_is_nearest():
    assert references.nearest("mira woman, angry, blue shirt, green background", CAPTIONS) == 1
    assert references.nearest("Mira woman, sunglasses, white background", CAPTIONS) == 2


def test_phrases_count_before_words():
    """All words of the second caption are asked for, but in the phrases of the first."""
    assert references.nearest("smiling, red shirt, blue background, angry", CAPTIONS[:2]) == 0


def test_words_decide_where_no_phrase_is_shared():
    assert references.nearest("a woman in a white room wearing sunglasses", CAPTIONS) == 2


def test_without_anything_in_common_the_first_is_taken():
    assert references.nearest("", CAPTIONS) == 0
    assert references.nearest("dog", ["", ""]) == 0
