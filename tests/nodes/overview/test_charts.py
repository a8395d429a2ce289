import warnings

import numpy as np
import pytest

from isengard.nodes import style
from isengard.nodes.overview import charts, report
from isengard.nodes.overview.vocabulary import vocabulary

from .samples import captioned, dataset, sample

BAR, MARKED, WARNING = (tuple(bytes.fromhex(colour[1:])) for colour in (style.FILL, style.MILD_WARNING, style.WARNING))


def drawn(samples, resolution=64):
    return np.asarray(charts.draw(report.gathered(dataset(*samples), resolution, 16)))


def ink(picture, colour, left, top, right, bottom):
    return int((picture[top:bottom, left:right] == colour).all(-1).sum())


def coverage_ink(picture, colour=BAR):
    return ink(picture, colour, 920, 140, 1600, 1000)


def test_the_chart_has_its_size_and_nothing_reaches_the_border():
    picture = drawn([sample("x" * 300, captions=["mira, " + "word " * 200]), sample("b", (3000, 20))])
    assert picture.shape == (charts.HEIGHT, charts.WIDTH, 3)
    for edge in (picture[:8], picture[-8:], picture[:, :20], picture[:, -20:]):
        assert (edge == 255).all()


def test_each_panel_shows_its_numbers():
    """A change of what a panel is about changes it, and no other panel but the title."""
    left, right = slice(40, 440), slice(480, 900)
    upper, lower, buckets = slice(130, 540), slice(560, 970), slice(560, 640)
    before = drawn([sample("a", (64, 64)), sample("b", (64, 64), captions=["mira, side view"])])
    others = drawn([sample("a", (64, 64)), sample("b", (64, 64), captions=["mira, zebra"])])
    assert (before[upper, left] == others[upper, left]).all()
    assert (before[upper, right] == others[upper, right]).all()
    assert (before[buckets, left] == others[buckets, left]).all()
    assert (before[lower, right] != others[lower, right]).any()
    assert coverage_ink(before) > coverage_ink(others) == 0
    wider = drawn([sample("a", (64, 64)), sample("b", (128, 64), captions=["mira, side view"])])
    assert (before[upper, left] != wider[upper, left]).any()
    assert (before[upper, right] != wider[upper, right]).any()
    assert (before[buckets, left] != wider[buckets, left]).any()
    assert (before[lower, right] == wider[lower, right]).all()


def test_enlarged_pictures_are_marked_in_their_bucket():
    bucket_panel = (40, 600, 440, 970)
    assert ink(drawn([sample("a", (64, 64))]), MARKED, *bucket_panel) == 0
    assert ink(drawn([sample("a", (32, 32))]), MARKED, *bucket_panel) > 1000


def test_what_is_lacking_is_a_warning_where_pictures_tell_of_it():
    told, untold = (drawn([sample("a", (64, 64), captions=[text])]) for text in ("side view", "mira"))
    assert coverage_ink(told, WARNING) > 30
    assert coverage_ink(untold, WARNING) == 0


def test_as_much_advice_is_given_as_there_is_room_for():
    """With little below the buckets of many shapes, and nothing below the last line."""
    many = [sample(f"{width}", (width, 96), captions=[]) for width in range(40, 300, 10)]
    few = [sample("a", (32, 32), captions=[])]
    for samples in (many, few):
        assert (drawn(samples, 256)[976:] == 255).all()
    assert (drawn(few)[700:900, 40:440] != 255).any()


def test_a_bar_is_as_long_as_its_share():
    def length(*captions):
        picture = np.asarray(charts.draw(report.gathered(captioned(*captions), 64, 16)))[140:, 920:]
        rows = (picture == BAR).all(-1).sum(1)
        return int(rows.max())

    half, whole = length("side view", "mira"), length("side view", "side view, mira")
    assert whole == pytest.approx(2 * half, abs=2)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_any_number_of_pictures_can_be_drawn(count):
    samples = [sample(str(place), (20 + 7 * place, 60), captions=[f"mira {place}"]) for place in range(count)]
    assert (drawn(samples) != 255).any()


@pytest.mark.parametrize("text", ["$x^$ $$", "日本の女の子, 赤い", "שלום", "\udcff\x00", "a_b\\c{d}", "%s"])
def test_any_caption_can_be_drawn(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of signs without a font
        drawn([sample(text, captions=[text])])


def test_signs_without_a_font_are_told():
    known, unknown = (drawn([sample("a", captions=[text])]) for text in ("mira", "mira \ue000"))
    assert ink(known, WARNING, 40, 970, 700, 995) == 0
    assert ink(unknown, WARNING, 40, 970, 700, 995) > 50


def test_the_columns_of_the_coverage_are_even_and_in_order():
    found = report.gathered(captioned("mira"), 64, 16).coverage
    first, second = charts._halves(found.aspects)
    assert [*first, *second] == list(found.aspects)
    assert abs(charts._rows(first) - charts._rows(second)) < max(len(each.values) for each in vocabulary().aspects)
