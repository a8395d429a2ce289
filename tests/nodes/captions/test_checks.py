from __future__ import annotations

from isengard.nodes.captions import checks
from isengard.nodes.captions.checks import Subject
from isengard.nodes.captions.findings import COMPETING, MISSING
from isengard.nodes.characters.records import Character
from isengard.sota import registry
from isengard.tests.nodes.captions.making import MIRA, captions_of, dataset_of

WHO = Subject("mira", "woman", "Mira", "teal hair", "mira")


def test_a_character_gives_its_words_and_what_is_given_wins():
    mira = Character("mira", "Mira", "mira", "woman", "teal hair")
    assert checks.subject(mira, "", " ") == WHO
    assert checks.subject(mira, "zorvik", "man") == Subject("zorvik", "man", "Mira", "teal hair", "mira")
    assert checks.subject(None, " zorvik ", "") == Subject("zorvik")


def test_others_are_all_but_the_character_itself():
    library = [Character("mira", "Mira", "mira"), Character("bruno", "Bruno", "brn0"), Character("x", "Xenia")]
    assert checks.others(library, WHO) == ("Bruno", "brn0", "Xenia")
    assert checks.others(library, Subject("Mira")) == ("Bruno", "brn0", "Xenia"), "told by its trigger"
    assert checks.others(library, Subject()) == ("Mira", "mira", "Bruno", "brn0", "Xenia")


def test_a_check_changes_nothing_and_flags():
    given = dataset_of(*MIRA, "hat", "coat, coat")
    result = checks.run(given, WHO)
    assert result.dataset is given
    assert [(each.name, each.reason) for each in result.flagged.samples] == [
        ("21.png", "trigger missing (mira)"),
        ("22.png", "trigger missing (mira); tags doubled in a caption (coat)"),
    ]
    assert not any(each.reason for each in result.dataset.samples)


def test_the_report_reads_worst_first():
    captions = [f"{each}, freckles" for each in MIRA]
    result = checks.run(dataset_of(*captions, "", "woman, hat"), WHO, family=registry.families()["demo_base"])
    assert result.report == (
        "hero: 22 pictures, 22 captions; findings in 22 pictures\n\n"
        "No caption (1)\n"
        "- there is no caption, or an empty one. Write what is in the picture. (21.png)\n\n"
        "Trigger missing (1)\n"
        "- the trigger 'mira' is not in the caption. Add it: 'add first: mira' in Edit Captions. "
        "(22.png)\n\n"
        "Competes with the trigger (1)\n"
        "- 'freckles' is in 95% of the captions: the model learns it under these words, and not under the trigger. If "
        "it belongs to the character, take it out: 'remove: freckles' in Edit Captions. (1.png, 2.png, 3.png, 4.png, "
        "5.png and 15 more)\n\n"
        "Tokens were not counted: connect clip.\n\n"
        "For Isengard Demo Base: Write tags, at most 77 tokens. Name what varies from picture to picture "
        "(expression, clothes, pose, place, light, framing). Leave out what the character always has (face, hair, "
        "eyes, build, marks): that is what the trigger learns."
    )


def test_a_clean_report():
    assert checks.run(dataset_of(*MIRA), WHO).report == (
        "hero: 20 pictures, 20 captions; nothing found in any picture\n\nTokens were not counted: connect clip."
    )


def test_what_cannot_be_said_is_told():
    said = checks.run(dataset_of("mira, hat", "mira, coat"), Subject()).report
    assert "No trigger is given" in said
    assert checks.run(dataset_of("mira, hat, hat"), WHO).report.count("(1.png)") == 1
    assert "Phrases that compete are looked for in 3 pictures and more." in said
    assert "With fewer than 5 pictures" in checks.run(dataset_of("a", "b", "c"), Subject()).report


def test_fixed_captions_and_what_is_left():
    captions = [f"{each}, freckles" for each in MIRA[:19]]
    result = checks.run(dataset_of(*captions, "hat", "mira, in teal hair, at night"), WHO, fix=True)
    assert captions_of(result.dataset) == [*MIRA[:19], "mira woman, hat", "mira, in teal hair, at night"]
    assert "Fixed: 20 pictures with other captions than before." in result.report
    assert [each.name for each in result.flagged.samples] == ["21.png"]
    assert not {COMPETING, MISSING} & {each.kind for each in result.findings}


def test_long_lists_are_cut():
    captions = [f"mira, x{number}, x{number}" for number in range(40)]
    said = checks.run(dataset_of(*captions), WHO).report
    assert "Tags doubled in a caption (40)" in said
    assert "… and 28 more" in said
