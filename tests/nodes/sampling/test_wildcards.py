"""Lists that people write."""

from __future__ import annotations

import os

import pytest

from isengard.nodes.names import BadName
from isengard.nodes.sampling import wildcards
from isengard.nodes.sampling.prompts import PromptError


def test_the_lines_of_a_list_are_read(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "place.txt").write_text("\ufeff# where\n in a street \n\nÜber den Dächern\n", encoding="utf-8")
    assert wildcards.lines(tmp_path, "more/place") == ["in a street", "Über den Dächern"]


def test_what_is_no_list_is_told(tmp_path):
    (tmp_path / "place.txt").write_text("a")
    (tmp_path / "latin.txt").write_bytes(b"\xe4\n")
    with pytest.raises(PromptError, match=r"no list places \(there are: latin, place\)"):
        wildcards.lines(tmp_path, "places")
    with pytest.raises(PromptError, match="no text in UTF-8"):
        wildcards.lines(tmp_path, "latin")
    with pytest.raises(PromptError, match="there are: none"):
        wildcards.lines(tmp_path / "gone", "place")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_name_leads_nowhere_else(tmp_path, name):
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "lists").mkdir()
    with pytest.raises(BadName):
        wildcards.lines(tmp_path / "lists", name)
    (tmp_path / "lists" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(BadName):
        wildcards.lines(tmp_path / "lists", "link")


def test_a_change_is_noticed(tmp_path):
    assert wildcards.fingerprint(tmp_path / "gone") == wildcards.fingerprint(tmp_path)
    file = tmp_path / "a.txt"
    file.write_text("one")
    before = wildcards.fingerprint(tmp_path)
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert wildcards.fingerprint(tmp_path) != before
