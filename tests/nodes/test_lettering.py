import math

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import fontManager
from PIL import Image, ImageDraw

from isengard.nodes import lettering
from isengard.nodes.lettering import CUT, UNKNOWN, Lettering

PLAIN = Lettering(14)


def ink(text, within=0.0, size=(400, 40), bold=False):
    """Where a text is drawn: the columns that have something dark."""
    sheet = Image.new("L", size, 255)
    Lettering(14, bold).write(ImageDraw.Draw(sheet), (10, 5), text, "black", within)
    return np.flatnonzero((np.asarray(sheet) < 128).any(0))


@given(st.text(max_size=200), st.integers(60, 300), st.integers(1, 5))
def test_lines_fit_and_are_no_more_than_asked_for(text, width, most):
    lines = PLAIN.wrapped(text, width, most)
    assert len(lines) <= most
    assert all(PLAIN.width(line) <= width for line in lines)


@given(st.text(alphabet="abc ,_-äß日本。", max_size=120), st.integers(40, 200))
def test_nothing_is_lost_where_there_is_room(text, width):
    lines = PLAIN.wrapped(text, width, 200)
    assert "".join("".join(lines).split()) == "".join(lettering.clean(text).split())


def test_what_does_not_fit_is_marked():
    lines = PLAIN.wrapped("word " * 50, 100, 3)
    assert len(lines) == 3
    assert lines[-1].endswith(CUT)
    assert not any(CUT in line for line in lines[:-1])
    assert not PLAIN.wrapped("two words", 200, 1)[0].endswith(CUT)


def test_a_line_that_is_cut_ends_with_a_whole_word():
    width = PLAIN.width("alpha beta gam")
    assert PLAIN.wrapped("alpha beta gammadelta epsilon", width, 1) == [f"alpha beta{CUT}"]
    assert PLAIN.wrapped("alphabetagamma " * 3, PLAIN.width("alphabe"), 1) == [f"alpha{CUT}"]


def test_words_stay_whole_and_a_longer_one_is_broken():
    assert PLAIN.wrapped("alpha beta", PLAIN.width("alpha") + 5, 5) == ["alpha", "beta"]
    parts = PLAIN.wrapped("x" * 100, 100, 50)
    assert len(parts) > 3
    assert "".join(parts) == "x" * 100


def test_a_tag_is_broken_behind_its_underscore():
    width = PLAIN.width("very_long_") + 4
    assert PLAIN.wrapped("very_long_booru", width, 5) == ["very_long_", "booru"]


def test_japanese_is_broken_between_signs_and_not_before_a_full_stop(monkeypatch):
    monkeypatch.setattr(lettering, "_drawable", lambda sign: sign)  # as if there were a font
    width = PLAIN.width("日本語") + 1
    assert PLAIN.wrapped("日本語日本語。", width, 9) == ["日本語", "日本", "語。"]


@given(st.text(max_size=100), st.integers(15, 200), st.booleans())
def test_a_cut_text_fits(text, width, middle):
    assert PLAIN.width(PLAIN.cut(text, width, middle)) <= width


def test_cutting_in_the_middle_keeps_both_ends():
    name = "a folder with a long name/another one/picture_0123.png"
    cut = PLAIN.cut(name, 200, middle=True)
    assert cut.startswith("a folder")
    assert cut.endswith("0123.png")
    assert CUT in cut
    assert PLAIN.cut(name, 2000, middle=True) == name


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("a\nb\tc  d\x00e", "a b c d e"),
        ("\u202eevil\u202c", "evil"),  # marks of direction
        ("\udcff", UNKNOWN),  # of a file name that is no UTF-8
        ("\ue000", UNKNOWN),  # private use
        ("é ß Ω Ж … × ▯", "é ß Ω Ж … × ▯"),
        ("  ", ""),
    ],
)
def test_texts_are_cleaned(text, cleaned):
    assert lettering.clean(text) == cleaned


def test_signs_without_a_font_are_named():
    assert lettering.lacking(["plain", UNKNOWN]) == []
    assert lettering.lacking(["a\udcff", "\udcff\ue000"]) == ["\udcff", "\ue000"]
    assert lettering.unicode_names(["日", "\udcff"]) == "CJK UNIFIED IDEOGRAPH-65E5, U+DCFF"
    assert lettering.unicode_names("abcd").endswith(f"LETTER C, {CUT}")


def test_a_sign_without_a_font_is_drawn_as_unknown(monkeypatch):
    monkeypatch.setattr(lettering, "_others", lambda: ())
    lettering._face_of.cache_clear()
    lettering._drawable.cache_clear()
    try:
        assert lettering.clean("日a") == f"{UNKNOWN}a"
        assert lettering.lacking(["日a"]) == ["日"]
    finally:
        lettering._face_of.cache_clear()
        lettering._drawable.cache_clear()


@given(st.text(max_size=60))
def test_any_text_can_be_drawn(text):
    ink(PLAIN.cut(text, math.inf))


def test_bold_is_wider():
    assert len(ink("Mira", bold=True)) > len(ink("Mira"))


def test_text_from_right_to_left_ends_at_the_right_edge():
    assert ink("שלום", within=300)[-1] > 300
    assert ink("שלום")[-1] < 100
    assert ink("Mira", within=300)[-1] < 100


@pytest.mark.parametrize(
    "logical, visual",
    [
        ("abc def", "abc def"),
        ("שלום", "םולש"),
        ("שלום עולם", "םלוע םולש"),
        ("mira שלום, עולם end", "mira םלוע ,םולש end"),
        ("שלום 12 עולם", "םלוע 12 םולש"),
        ("", ""),
    ],
)
def test_order_from_left_to_right(logical, visual):
    assert lettering.visual(logical) == visual


def test_the_families_are_known_to_matplotlib():
    found = lettering.families(["Mira", "日本"])
    assert found[0] == "DejaVu Sans"
    assert set(found) <= set(fontManager.get_font_names())


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """A system with two fonts: one that is asked for and has one Han sign, and a broken one."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "sun"])
    builder.setupCharacterMap({ord("日"): "sun"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "sun": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "sun": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Noto Sans CJK JP", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "sun.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(lettering, "findSystemFonts", lambda: [str(file) for file in tmp_path.iterdir()])
    caches = (lettering._others, lettering._face_of, lettering._drawable)
    for cache in caches:
        cache.cache_clear()
    yield
    fontManager.ttflist[:] = [entry for entry in fontManager.ttflist if not entry.fname.startswith(str(tmp_path))]
    for cache in caches:
        cache.cache_clear()


def test_a_font_of_the_system_is_used_for_signs_that_the_main_one_lacks(fonts):
    assert lettering.clean("日a本") == f"日a{UNKNOWN}"
    assert lettering.lacking(["日a本"]) == ["本"]
    assert PLAIN.width("日") == pytest.approx(14, abs=1)
    assert len(ink("日")) == pytest.approx(13, abs=1)
    assert lettering.families(["a日"]) == ["DejaVu Sans", "Noto Sans CJK JP"]
    assert "Noto Sans CJK JP" in fontManager.get_font_names()
    assert lettering.families(["a"]) == ["DejaVu Sans"]
