"""Characters on disk, also where two programs write at once."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isengard.nodes.characters import library, records
from isengard.nodes.characters.library import Conflict, Library, UnknownCharacter
from isengard.nodes.characters.records import Character, CharacterError, Reference, Version

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def characters(tmp_path):
    return Library(tmp_path / "characters")


@pytest.fixture
def lora(tmp_path):
    file = tmp_path / "hero.safetensors"
    file.write_bytes(b"weights")
    return file


def test_a_character_is_kept_as_it_was_made(characters):
    made = characters.create(" Mira  Vale ", trigger="mira", class_noun="woman", description="Teal hair.\nKind.")
    assert made.character.slug == "mira-vale"
    assert characters.get("mira-vale") == made
    assert characters.slugs() == ["mira-vale"]
    written = yaml.safe_load((characters.root / "mira-vale" / "character.yaml").read_text())
    assert list(written)[:2] == ["name", "trigger"]
    assert written["name"] == "Mira Vale"
    assert "versions" not in written, "what is empty is left out"


def test_two_of_one_name_live_side_by_side(characters):
    assert [characters.create("Mira").character.slug for _ in range(3)] == ["mira", "mira-2", "mira-3"]


def test_the_folder_stays_when_the_name_changes(characters):
    characters.create("Mira")
    changed = characters.update("mira", lambda each: dataclasses.replace(each, name="Mira Vale"))
    assert (changed.character.slug, changed.character.name) == ("mira", "Mira Vale")


def test_a_folder_may_be_moved(characters):
    """Its name is the slug: nothing in it says another."""
    characters.create("Mira")
    (characters.root / "mira").rename(characters.root / "moved")
    assert characters.get("moved").character.name == "Mira"


@pytest.mark.parametrize(
    "name, slug",
    [("Zoë Ångström", "zoë-ångström"), ("ミラ 2", "ミラ-2"), ("../../etc", "etc"), ("!!!", "character"),
     ("a" * 99, "a" * 60), ("CON", "con-1")],
)  # fmt: skip
def test_names_become_folders(name, slug):
    assert library.slug_of(name) == slug


@pytest.mark.parametrize("slug", ["", "..", "../x", "a/b", "/tmp", ".trash", ".locks"])
def test_no_slug_leads_elsewhere(characters, slug):
    characters.create("Mira")
    with pytest.raises(UnknownCharacter):
        characters.get(slug)
    with pytest.raises(UnknownCharacter):
        characters.update(slug, lambda each: each)


def test_an_etag_of_before_is_refused_and_nothing_is_lost(characters):
    first = characters.create("Mira")
    second = characters.update("mira", lambda each: dataclasses.replace(each, notes="a"), first.etag)
    with pytest.raises(Conflict, match="'mira' was changed meanwhile"):
        characters.update("mira", lambda each: dataclasses.replace(each, notes="b"), first.etag)
    assert characters.get("mira") == second
    assert characters.update("mira", lambda each: each, second.etag) == second, "nothing changed, so no other etag"


def test_references_are_kept_once_and_under_safe_names(characters):
    characters.create("Mira")
    for name, data in (("a b.PNG", b"1"), ("a b.png", b"2"), ("other.png", b"1"), ("..\\..\\x/../e v.jpg", b"3")):
        characters.add_reference("mira", name, data, caption=name)
    files = [reference.file for reference in characters.get("mira").character.references]
    assert files == ["a-b.png", "a-b-2.png", "e-v.jpg"]
    assert {file.name for file in (characters.root / "mira" / "references").iterdir()} == set(files)
    left = characters.remove_reference("mira", "a-b.png").character
    assert [reference.file for reference in left.references] == files[1:]
    assert not (characters.root / "mira" / "references" / "a-b.png").exists()
    with pytest.raises(UnknownCharacter, match="has no reference 'a-b.png'"):
        characters.remove_reference("mira", "a-b.png")


def test_versions_are_numbered_and_the_latest_is_used_unless_one_is_chosen(characters, lora):
    characters.create("Mira")
    assert characters.get("mira").character.version is None
    for score in (0.5, 0.7, 0.6):
        characters.add_version("mira", lora, run="r", scores={"likeness": score})
    assert characters.get("mira").character.version.id == "v3"
    chosen = characters.choose("mira", "v2").character
    assert (chosen.version.id, chosen.version.scores) == ("v2", {"likeness": 0.7})
    assert (characters.root / "mira" / "loras" / chosen.version.file).read_bytes() == b"weights"
    with pytest.raises(CharacterError, match="has no version v9. Choose one of v1, v2, v3"):
        characters.choose("mira", "v9")
    assert characters.choose("mira", "").character.version.id == "v3"


def test_what_is_deleted_comes_back_from_the_trash(characters, lora):
    characters.create("Mira", notes="first")
    characters.add_version("mira", lora)
    characters.delete("mira")
    assert characters.slugs() == []
    characters.create("Mira", notes="second")
    (trashed,) = characters.trash()
    back = characters.restore(trashed).character
    assert (back.slug, back.notes, back.version.id) == ("mira-2", "first", "v1")
    characters.delete("mira")
    characters.empty_trash()
    assert (characters.trash(), characters.slugs()) == ([], ["mira-2"])
    with pytest.raises(UnknownCharacter, match="in the trash"):
        characters.restore(trashed)


def test_a_damaged_file_is_told_and_others_are_there(characters):
    characters.create("Mira")
    characters.create("Other")
    (characters.root / "mira" / "character.yaml").write_text("name: [")
    with pytest.raises(CharacterError, match="character.yaml of mira is damaged"):
        characters.get("mira")
    assert characters.get("other").character.name == "Other"


def test_a_number_where_text_belongs_is_told(characters):
    """As a person may write it by hand."""
    characters.create("Mira")
    file = characters.root / "mira" / "character.yaml"
    file.write_text(file.read_text() + "trigger: 7\n")
    with pytest.raises(CharacterError, match="trigger is 7, and has to be text.*in quotes"):
        characters.get("mira")


def test_a_reference_whose_file_is_gone_can_be_taken_away(characters):
    characters.create("Mira")
    characters.add_reference("mira", "a.png", b"1")
    (characters.root / "mira" / "references" / "a.png").unlink()
    assert characters.remove_reference("mira", "a.png").character.references == ()


@pytest.mark.parametrize(
    "fields, message",
    [({"name": " "}, "needs a name"), ({"name": "x" * 201}, "name has 201 characters; at most 200"),
     ({"name": "x", "notes": "x" * 100_001}, "notes has 100001")],
)  # fmt: skip
def test_fields_that_cannot_be_are_refused(characters, fields, message):
    with pytest.raises(CharacterError, match=message):
        characters.create(**fields)
    assert characters.slugs() == []


WRITER = """
import sys, types
sys.modules["isengard"] = types.ModuleType("isengard")
sys.modules["isengard"].__path__ = [sys.argv[1]]
from pathlib import Path
from isengard.nodes.characters.library import Library
for number in range(25):
    Library(Path(sys.argv[2])).add_reference("mira", "p.png", f"{sys.argv[3]} {number}".encode())
    Library(Path(sys.argv[2])).add_version("mira", Path(sys.argv[4]), note=f"{sys.argv[3]} {number}")
"""


def test_two_processes_that_write_at_once_lose_nothing(characters, lora):
    characters.create("Mira")
    command = [sys.executable, "-c", WRITER, str(ROOT), str(characters.root)]
    writers = [subprocess.Popen([*command, name, str(lora)]) for name in ("one", "two")]
    assert [writer.wait(100) for writer in writers] == [0, 0]
    found = characters.get("mira").character
    assert len(found.references) == len(found.versions) == found.numbered == 50
    assert {version.note for version in found.versions} == {f"{name} {n}" for name in ("one", "two") for n in range(25)}
    for reference in found.references:
        assert (characters.root / "mira" / "references" / reference.file).is_file()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.builds(
    Character, slug=st.just("a"), name=TEXTS.filter(str.strip), trigger=TEXTS, description=TEXTS, notes=TEXTS,
    references=st.lists(st.builds(Reference, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    versions=st.lists(st.builds(
        Version, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS,
        st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=2),
    ), max_size=2).map(tuple),
))  # fmt: skip
def test_every_character_reads_back_as_it_was_written(character):
    assert records.from_yaml(records.to_yaml(character), "a") == character


def test_scores_cannot_be_changed_in_place():
    version = Version("v1", "f", "0", "now", scores={"likeness": 0.5})
    assert isinstance(version.scores, types.MappingProxyType)
