import pytest

from isengard.nodes.overview import vocabulary
from isengard.nodes.overview.vocabulary import Feature, VocabularyError

WORDS = vocabulary.vocabulary()
VALUE = {"name": "front", "phrases": ["front view"]}


def told(text):
    return {f"{aspect} {value}" for aspect, value in WORDS.named(text)}


@pytest.mark.parametrize(
    "caption, features",
    [
        ("1girl, from_side, upper_body, smile", {"view side", "framing upper_body", "expression smiling"}),
        ("A FULL-BODY shot of Mira", {"framing full_body"}),
        ("mira woman, laughing with tears, round glasses", {"expression laughing"}),
        ("(smile:1.2), (close-up)", {"expression smiling", "framing close_up"}),
        ("three-quarter view", {"view three_quarter"}),
        ("3/4 view", {"view three_quarter"}),
        ("front-right quarter view", {"view three_quarter"}),
        ("three quarter length", {"framing to_the_knees"}),
        ("lavender background", {"background plain"}),
        ("an evening dress", {"outfit formal"}),
        ("in the evening, a dress", {"light low_sun", "outfit dress"}),
        ("standing in a street", {"pose standing", "background built", "background outdoors"}),
        ("a worm’s eye view", {"angle below"}),
        ("looking back", set()),
        ("light from above", set()),
        ("happy birthday", set()),
        ("a portrait, full", {"framing bust"}),
        ("full body portrait", {"framing full_body"}),
        ("smiling, frontal. Sitting", {"expression smiling", "view front", "pose sitting"}),
        ("from, behind", set()),  # a phrase does not go over a comma
        ("understanding, sitter", set()),  # whole words only
        ("", set()),
        ("日本の女の子", set()),
        ("ｓｍｉｌｅ", {"expression smiling"}),
    ],
)
def test_what_captions_tell(caption, features):
    assert told(caption) == features


@pytest.mark.parametrize("caption", ["not smiling", "without a smile", "no smile", "never smiling", "isn’t smiling"])
def test_what_is_denied_is_not_told(caption):
    assert told(caption) == set()


def test_a_denial_ends_with_its_phrase():
    assert told("no hat, smiling") == {"expression smiling"}
    assert told("not sitting but standing") == {"pose standing"}


def test_every_phrase_means_its_value():
    """None is hidden by a longer or another one."""
    for aspect in WORDS.aspects:
        for value in aspect.values:
            for phrase in value.phrases:
                assert Feature(aspect.key, value.key) in WORDS.named(phrase), phrase
    assert not any(map(WORDS.named, WORDS.not_meant))


def test_no_phrase_means_two_values_of_an_aspect():
    for aspect in WORDS.aspects:
        means = [(phrase, value.key) for value in aspect.values for phrase in value.phrases]
        spoken = [vocabulary._tokens(phrase) for phrase, _ in means]
        assert len({tuple(words) for words in spoken}) == len(spoken), sorted(means)


def test_values_are_found_by_their_keys():
    view = WORDS.aspect("view")
    assert (view.name, view.value("three_quarter").name, view.value("side").wanted) == ("view", "three-quarter", True)
    with pytest.raises(VocabularyError, match="there is no aspect 'mood'. Use one of view, angle"):
        WORDS.aspect("mood")
    with pytest.raises(VocabularyError, match="aspect 'view' has no value 'top'. Use one of front, "):
        view.value("top")


def entries(**value):
    return {"aspects": {"view": {"name": "view", "values": {"front": VALUE | value}}}}


def test_colours_stand_for_themselves():
    found = vocabulary.of_entries(entries(phrases=["{colour} wall", "wall"]) | {"colours": ["red", "dark blue"]}, "x")
    assert found.aspect("view").value("front").phrases == ("red wall", "dark blue wall", "wall")


@pytest.mark.parametrize(
    "broken, message",
    [
        ([], "x: got []; expected names"),
        ({}, "x: got {}; expected names"),
        ({"colours": ["red"]}, "x: aspects is missing. Add it."),
        (entries() | {"colors": ["red"]}, "x: colors means nothing here; known are aspects, colours, not_meant."),
        (entries() | {"colours": "red"}, "x, colours: got 'red'; expected a list"),
        (entries() | {"not_meant": [3]}, "x, not_meant: got 3; expected a text with words"),
        ({"aspects": {"view": {"name": "view"}}}, "x, view: values is missing"),
        ({"aspects": {"view": None}}, "x, view: got None"),
        ({"aspects": {True: {}}}, "x, aspects: got {True: {}}"),
        (entries(phrases=[]), "x, view, front, phrases: got []; expected a list with 1 or more"),
        (entries(phrases=["ok", False]), "x, view, front, phrases: got False; expected a text"),
        (entries(phrases=["-"]), "x, view, front, phrases: got '-'; expected a text with words"),
        (entries(wanted="yes"), "x, view, front: wanted is 'yes'; it has to be true or false."),
        (entries(implies="back"), "x, view, front: implies is 'back', which is none of front. Name one."),
        (entries(implies=["front"]), r"x, view, front, implies: got ['front']; expected a text"),
        (entries(shown=1), "x, view, front: shown means nothing here"),
    ],
)
def test_a_broken_vocabulary_is_told(broken, message):
    with pytest.raises(VocabularyError) as raised:
        vocabulary.of_entries(broken, "x")
    assert message in str(raised.value)


def test_a_file_that_is_no_yaml(tmp_path):
    (tmp_path / "words.yml").write_text("a: [", encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"words\.yml cannot be read: .*Mend it there"):
        vocabulary.read(tmp_path / "words.yml")
