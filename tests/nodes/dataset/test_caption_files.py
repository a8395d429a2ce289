"""Captions in every encoding and form that people have them in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.dataset import caption_files
from isengard.nodes.dataset.caption_files import CaptionError, Words

TEXT = "Mira, fröhlich, “rote” Jacke"


def beside(folder, ending, data: bytes) -> Words:
    (folder / f"a{ending}").write_bytes(data)
    return caption_files.beside(folder / "a.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_the_encoding_is_found(tmp_path, encoding):
    words = beside(tmp_path, ".txt", TEXT.encode(encoding))
    assert words.captions == (TEXT,)
    assert bool(words.note) != encoding.startswith("utf-8")


def test_latin_1_is_read_where_windows_has_no_letter(tmp_path):
    words = beside(tmp_path, ".txt", b"fr\xf6hlich \x81")
    assert words.captions == ("fröhlich \x81",)
    assert words.note == "a.txt was read as latin-1"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_in_utf_8_is_read_as_that(text):
    data = text.encode()
    if not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        assert caption_files.decode(data, "a.txt") == (text, "utf-8")


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data):
    try:
        text, _ = caption_files.decode(data, "a.txt")
    except CaptionError as error:
        assert "save it as UTF-8" in str(error)
    else:
        assert "\x00" not in text


@pytest.mark.parametrize("ending", [".txt", ".caption"])
def test_empty_lines_part_captions(tmp_path, ending):
    assert beside(tmp_path, ending, b"one,\r\ntwo\r\n \r\nthree\r").captions == ("one, two", "three")


def test_text_comes_before_other_files(tmp_path):
    beside(tmp_path, ".json", b'"json"')
    assert beside(tmp_path, ".caption", b"caption").captions == ("caption",)
    assert beside(tmp_path, ".txt", b"text").captions == ("text",)


@pytest.mark.parametrize(
    "found, captions, tags",
    [
        (" a  b ", ("a b",), ()),
        (["a", " ", "b"], ("a", "b"), ()),
        ({"caption": "a"}, ("a",), ()),
        ({"text": "", "prompt": "p", "tags": ["x", " y "]}, ("p",), ("x", "y")),
        ({"captions": ["a", "b"], "caption": "c"}, ("a", "b"), ()),
        ({"tags": "x, y,"}, ("x, y",), ("x", "y")),
    ],
)
def test_json_in_the_forms_that_programs_write(tmp_path, found, captions, tags):
    words = beside(tmp_path, ".json", json.dumps(found).encode())
    assert (words.captions, words.tags) == (captions, tags)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"{", "a.json is no JSON"),
        (b'{"other": 1}', "has no text under captions, caption, text, prompt"),
        (b'{"caption": 3}', "has no text under"),
        (b"[1, 2]", "has no text under"),
        (b"[" * 100_000, "a.json is no JSON"),
        (b"\x00\x01\x02", "is no text"),
    ],
)
def test_what_is_no_caption_is_told(tmp_path, data, message):
    with pytest.raises(CaptionError, match=message):
        beside(tmp_path, ".json", data)
