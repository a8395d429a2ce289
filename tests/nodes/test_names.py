import pytest

from isengard.nodes.names import BadName, confined, mended, unused


@pytest.mark.parametrize("name", ["mira", "my characters/mira 2", "Ünï/ミラ", "a.b/c.d"])
def test_plain_names_are_paths_below_the_root(tmp_path, name):
    assert confined(tmp_path, name, "folder") == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "../..", "a/../../b", "/etc", "a//b", "a/", "./a",
         "..\\..", "C:\\x", "C:x", "a\0b", "\ud800", "nul", "con.txt", "a ", "a.",
    ],
)  # fmt: skip
def test_names_that_are_not_plain_are_refused(tmp_path, name):
    with pytest.raises(BadName) as raised:
        confined(tmp_path, name, "folder")
    assert str(raised.value).startswith(f"folder '{name}'")


def test_a_name_too_long_for_a_file_is_refused(tmp_path):
    with pytest.raises(BadName, match="too long"):
        confined(tmp_path, "ü" * 150, "LoRA name")


def test_a_link_that_leads_out_is_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BadName, match="leads out of inside/"):
        confined(tmp_path / "inside", "link", "folder")
    with pytest.raises(BadName, match="leads out of inside/"):
        confined(tmp_path / "inside", "link/deeper", "folder")


def test_a_root_that_is_itself_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert confined(tmp_path / "root", "mira", "folder") == tmp_path / "real" / "mira"


def test_unused_counts_up(tmp_path):
    path = tmp_path / "mira.v1.safetensors"
    assert unused(path) == path
    path.touch()
    assert unused(path).name == "mira.v1-2.safetensors"
    unused(path).touch()
    assert unused(path).name == "mira.v1-3.safetensors"


@pytest.mark.parametrize(
    "name, good",
    [("mira", "mira"), ("what? / x", "what- - x"), (".hidden.", "hidden"), ("ü" * 200, "ü" * 100), ("..", "none"),
     ("", "none"), ("nul", "none"), ("a\\b", "a-b"), ("\ud800", "-")],
)  # fmt: skip
def test_what_is_no_name_is_made_one(tmp_path, name, good):
    assert mended(name, "none") == good
    assert confined(tmp_path, mended(name, "none"), "folder").parent == tmp_path
