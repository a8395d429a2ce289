"""Which of the files that a person brings make a data set, and how that becomes a folder."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isengard.nodes.dataset import incoming
from isengard.nodes.dataset.incoming import IncomingError, NoSpace
from isengard.nodes.names import BadName, checked


def kept(*names: str, called: str = "") -> list[str]:
    return list(incoming.plan(names, called).places.values())


def test_files_of_a_data_set_are_kept_and_others_told():
    names = ["01.PNG", "01.txt", "02.jpg", "02.caption", "03.webp", "03.json", "01-masklabel.png", "metadata.jsonl"]
    others = ["notes.docx", "04.heic", "train.csv", "log.jsonl", "hero.zip", "run.exe", "page.svg", "noending"]
    planned = incoming.plan([*names, "metadata.csv", "manifest.jsonl", *others])
    assert list(planned.places) == [*names, "metadata.csv", "manifest.jsonl"]
    assert planned.left_out[:2] == ("04.heic", "page.svg"), "pictures that are missed are named first"
    assert sorted(planned.left_out) == sorted(others)


def test_what_systems_add_is_left_out_without_a_word():
    junk = [
        "__MACOSX/._01.png",
        "__MACOSX/01.png",
        ".DS_Store",
        "Thumbs.db",
        "a/desktop.ini",
        ".git/01.png",
        "._01.png",
    ]
    planned = incoming.plan(["a/01.png", *junk])
    assert (list(planned.places), planned.left_out) == (["a/01.png"], ())


def test_the_folder_around_all_is_taken_off():
    planned = incoming.plan(["hero/01.png", "hero/face/02.png", "hero/01.txt"])
    assert list(planned.places.values()) == ["01.png", "face/02.png", "01.txt"]
    assert planned.name == "hero"


def test_what_is_left_out_is_not_in_the_way_of_that():
    assert kept("hero/01.png", "readme.md", "__MACOSX/hero/._01.png") == ["01.png"]


def test_two_folders_stay():
    names = ["hero/01.png", "villain/01.png"]
    assert (kept(*names), incoming.plan(names).name) == (names, "")
    assert kept("hero/01.png", "metadata.jsonl") == ["hero/01.png", "metadata.jsonl"]


def test_one_folder_alone_is_taken_off():
    assert kept("data/img/10_hero/01.png") == ["img/10_hero/01.png"]


def test_a_folder_that_says_how_often_to_repeat_stays():
    planned = incoming.plan(["10_zorvik man/01.png", "10_zorvik man/02.png"])
    assert list(planned.places.values()) == ["10_zorvik man/01.png", "10_zorvik man/02.png"]
    assert planned.name == "zorvik man"


def test_an_archive_is_called_as_it_is():
    assert incoming.plan(["hero/01.png"], "my hero").name == "my hero"


@pytest.mark.parametrize(
    "names, message",
    [
        (["a.txt", "b.heic", "c.heic"], r"no picture among 3 files: b.heic; c.heic. Give .*\.png"),
        (["01-masklabel.png"], "no picture among 1 files. Give"),
        ([".hidden.png"], "no picture among 0 files"),
        (["a.png", "A.png"], "'a.png' and 'A.png' are one file on some systems"),
        (["a.png", "a.png/b.png"], "'a.png' is a file and the folder of 'a.png/b.png' at once"),
        (["a.png", "A.PNG/x/b.png"], "is a file and the folder of"),
        (["x.png", "/".join("abcdefghijkl") + "/a.png"], "more than 10 folders deep"),
    ],
)
def test_files_that_make_no_data_set_are_refused(names, message):
    with pytest.raises(IncomingError, match=message):
        incoming.plan(names)


@pytest.mark.parametrize(
    "name",
    ["../a.png", "/a.png", "x/../../a.png", "x\\a.png", "C:/a.png", "what?.png", "con.png", "a /b.png", "a\nb.png",
     "x//a.png", "./a.png", "\ud800.png", "a\0.png", "ü" * 130 + ".png"],
)  # fmt: skip
def test_names_that_no_file_can_have_everywhere_are_refused(name):
    with pytest.raises(BadName):
        incoming.plan(["good.png", name])


def test_a_name_as_long_as_a_file_system_takes_is_taken():
    assert kept("x" * 251 + ".png") == ["x" * 251 + ".png"]


@given(some.lists(some.text(some.characters(codec=None), max_size=30), max_size=6, unique=True))
def test_whatever_the_names_are_no_place_leads_out(names):
    """And each is a place, left out, or junk."""
    try:
        planned = incoming.plan([*names, "good.png"])
    except (IncomingError, BadName):
        return
    for place in planned.places.values():
        assert checked(place, "file", 255) == place
        assert (incoming.PurePosixPath("/root") / place).is_relative_to("/root/")
    assert not set(planned.places) & set(planned.left_out)


@pytest.fixture
def stage(tmp_path):
    """With a picture in it, in an input folder that has others."""
    made = incoming.make_stage(tmp_path / "input")
    (made / "01.png").write_bytes(b"x")
    (made / "01.txt").write_text("mira")
    return made


PLAN = incoming.Plan({"01.png": "01.png", "01.txt": "01.txt"}, ("notes.docx",), "hero")


def test_a_stage_becomes_a_data_set(stage):
    added = incoming.settle(stage, "", PLAN)
    assert added == incoming.Added("hero", 1, ("notes.docx",))
    assert sorted(path.name for path in stage.parent.rglob("*")) == ["01.png", "01.txt", "hero"]
    before = os.umask(0)
    os.umask(before)
    assert (stage.parent / "hero").stat().st_mode & 0o777 == 0o777 & ~before


def test_a_name_that_is_taken_gets_a_number(stage):
    for name in ("hero", "hero-2"):
        (stage.parent / name).mkdir()
    (stage.parent / "hero-3").write_text("a file")
    (stage.parent / "hero-4").symlink_to(stage.parent / "nowhere")
    assert incoming.settle(stage, "hero", PLAN).name == "hero-5"
    assert list((stage.parent / "hero").iterdir()) == []


@pytest.mark.parametrize(
    "called, name",
    [("", "dataset"), ("..", "dataset"), (".hidden", "hidden"), ("what? / x", "what- - x"), ("con", "dataset"),
     ("  a.b. ", "a.b"), ("\ud800", "-"), ("ü" * 200, "ü" * 100)],
)  # fmt: skip
def test_what_files_call_it_is_made_a_name(stage, called, name):
    assert incoming.settle(stage, "", incoming.Plan(PLAN.places, (), called)).name == name


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "/etc", "a\\b", "con", " "])
def test_a_name_that_no_folder_can_have_is_refused(name):
    with pytest.raises((IncomingError, BadName)):
        incoming.check_name(name)


def test_a_data_set_is_replaced_when_asked(stage):
    old = stage.parent / "hero"
    (old / "below").mkdir(parents=True)
    for name in ("old.png", ".DS_Store", "below/old.txt"):
        (old / name).write_bytes(b"x")
    assert incoming.settle(stage, "hero", PLAN, replace=True).name == "hero"
    assert sorted(path.name for path in stage.parent.rglob("*")) == ["01.png", "01.txt", "hero"]


@pytest.mark.parametrize("other", ["thesis.docx", ".git/config", "below/film.mp4", "__MACOSX_not/x.y"])
def test_a_folder_with_anything_else_is_not_replaced(stage, other):
    file = stage.parent / "hero" / other
    file.parent.mkdir(parents=True)
    file.write_bytes(b"work of years")
    with pytest.raises(IncomingError, match=f"holds 1 files that are no data set's .{other}."):
        incoming.settle(stage, "hero", PLAN, replace=True)
    assert file.read_bytes() == b"work of years"


def test_a_link_is_not_replaced(stage, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (stage.parent / "hero").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IncomingError, match="is no folder"):
        incoming.settle(stage, "hero", PLAN, replace=True)
    (stage.parent / "villain").mkdir()
    (stage.parent / "villain" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IncomingError, match="no data set's .link."):
        incoming.settle(stage, "villain", PLAN, replace=True)


def test_what_was_to_be_replaced_comes_back_where_that_fails(stage):
    (stage.parent / "hero").mkdir()
    (stage.parent / "hero" / "old.png").write_bytes(b"x")
    shutil.rmtree(stage)
    with pytest.raises(FileNotFoundError):
        incoming.settle(stage, "hero", PLAN, replace=True)
    assert [path.name for path in stage.parent.rglob("*")] == ["hero", "old.png"]


def test_a_disk_without_room_is_told(tmp_path):
    incoming.check_space(tmp_path / "input", 1)
    with pytest.raises(NoSpace, match="the files have 1048576.0 GB, and the disk .* left. Make room"):
        incoming.check_space(tmp_path / "input", 2**50)


def test_stages_that_were_forgotten_are_removed(stage):
    old = incoming.make_stage(stage.parent)
    (old / "part.png").write_bytes(b"x")
    (stage.parent / "hero").mkdir()
    for folder in (old, stage.parent / "hero"):
        os.utime(folder, (time.time() - 25 * 3600,) * 2)
    incoming.remove_forgotten(stage.parent)
    assert {path.name for path in stage.parent.iterdir()} == {stage.name, "hero"}
