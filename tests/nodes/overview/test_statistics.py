import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.dataset.records import HELD_OUT
from isengard.nodes.overview import statistics
from isengard.trainers import buckets

from .samples import captioned, dataset, sample


def counted(*sizes):
    return {shape.name: shape.count for shape in statistics.shapes(sizes) if shape.count}


def test_aspect_ratios_have_names():
    assert counted((512, 768), (1000, 1490), (512, 512), (1920, 1080), (768, 1024)) == {
        "portrait 2:3": 2,
        "portrait 3:4": 1,
        "square": 1,
        "landscape 16:9": 1,
    }
    assert counted((100, 2000), (2000, 100)) == {"portrait 1:2": 1, "landscape 2:1": 1}


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_turned_picture_has_the_turned_ratio(width, height):
    """But in the middle between two, where either will do."""
    (upright,) = (shape for shape in statistics.shapes([(width, height)]) if shape.count)
    (turned,) = (shape for shape in statistics.shapes([(height, width)]) if shape.count)
    near = abs(width / height - upright.width / upright.height)
    assert (turned.height, turned.width) == (upright.width, upright.height) or near > 0.01


@given(st.integers(16, 3000), st.integers(16, 3000), st.sampled_from([256, 512, 1024]))
def test_a_fit_is_what_training_does(width, height, resolution):
    """The bucket is the trainer's; what is lost is what its cut leaves out of a picture of that size."""
    found = statistics.fit(sized(width, height), resolution, 64)
    assert found.bucket[::-1] == buckets.size_of(height, width, resolution, 64)
    scaled = width * found.scale, height * found.scale
    assert scaled[0] >= found.bucket[0] - 1e-6
    assert scaled[1] >= found.bucket[1] - 1e-6
    kept = found.bucket[0] * found.bucket[1] / (scaled[0] * scaled[1])
    assert found.lost == pytest.approx(1 - kept, abs=1e-9)


def sized(width, height):
    """A sample that says so; its picture is not looked at."""
    found = sample(size=(1, 1))
    object.__setattr__(found, "size", (width, height))
    return found


def test_what_is_lost_is_what_the_trainer_cuts_off():
    """Of a picture three times as wide as high the middle third stays."""
    found = statistics.fit(sized(300, 100), 64, 64)
    assert (found.bucket, found.lost, found.scale) == ((64, 64), pytest.approx(2 / 3), pytest.approx(0.64))
    picture = torch.zeros(100, 300, 1)
    picture[:, 100:200] = 1
    assert buckets.cut(picture, 64, 64).mean() == pytest.approx(1, abs=0.02)


def test_a_picture_of_the_buckets_size_is_neither_cut_nor_enlarged():
    found = statistics.fit(sized(512, 512), 512, 64)
    assert (found.bucket, found.lost, found.scale) == ((512, 512), 0.0, 1.0)


def test_pictures_are_counted_by_bucket():
    found = statistics.measured(
        dataset(
            sample("a", (64, 64), repeats=3),
            sample("b", (128, 128), split=HELD_OUT),
            sample("c", (32, 32), weight=0.5),
            sample("d", (96, 48)),
        ),
        64,
        16,
    )
    square, wide = found.buckets
    assert (square.size, [fit.name for fit in square.fits], square.shown, square.enlarged) == (
        (64, 64),
        ["a", "b", "c"],
        4,
        1,
    )
    assert wide.size[0] > wide.size[1]
    assert (found.shown, found.weighted, found.held_out) == (5, 4.5, 1)
    assert [fit.name for fit in found.enlarged] == ["c"]
    assert found.enlarged[0].scale == 2
    assert sum(shape.count for shape in found.shapes) == 4


def test_pictures_that_lose_most_come_first():
    samples = [sample("a", (300, 100)), sample("b", (400, 100)), sample("c", (100, 100))]
    found = statistics.measured(dataset(*samples), 64, 64)
    assert [fit.name for fit in found.losing(0.2)] == ["b", "a"]


def test_captions_are_counted():
    found = statistics.of_captions(
        [
            sample("a", captions=["mira, red shirt", "Mira smiles"]),
            sample("b", captions=["mira, red shirt, red shirt"]),
            sample("c", captions=[]),
        ]
    )
    assert (found.count, found.without, found.lengths) == (3, ("c",), (3, 2, 5))
    assert dict(found.words) == {"mira": 3, "red": 2, "shirt": 2, "smiles": 1}
    assert list(found.words)[0] == "mira"
    assert dict(found.tags) == {"mira": 2, "red shirt": 2, "Mira smiles": 1}
    assert found.in_all == ("mira",)
    assert found.doubled == {}


def test_a_caption_of_several_pictures_is_doubled_and_of_one_picture_is_not():
    found = statistics.of_captions(
        [sample("a", captions=["x", "x"]), sample("b", captions=["y"]), sample("c", captions=["y", "z"])]
    )
    assert found.doubled == {"y": ("b", "c")}


@pytest.mark.parametrize(
    "text, count",
    [("", 0), ("a girl's red_hat, close-up", 6), ("日本の女の子", 6), ("ミラ smiles", 3), ("… !!", 0), ("don’t", 1)],
)
def test_words_are_counted(text, count):
    assert len(statistics.words(text)) == count


def test_fillers_and_lone_signs_are_no_words_of_a_caption():
    assert list(statistics.of_captions([sample(captions=["The woman with 日本 a hat :d"])]).words) == ["hat", "woman"]


@pytest.mark.parametrize(
    "texts, are_tags",
    [
        (["1girl, solo, red hair, smile"], True),
        (["A woman with red hair stands in the street, smiling at somebody who cannot be seen."], False),
        ([], False),
    ],
)
def test_tags_are_told_from_sentences(texts, are_tags):
    assert statistics.of_captions(captioned(*texts).samples).are_tags is are_tags


def test_an_empty_data_set_has_statistics():
    found = statistics.measured(dataset(), 512, 64)
    assert (found.fits, found.buckets, found.shown, found.enlarged, found.losing(0)) == ((), (), 0, (), ())
