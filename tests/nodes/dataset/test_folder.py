import dataclasses
import json

import numpy as np
import pytest
from PIL import Image, ImageFile

from isengard.nodes.dataset import folder, images
from isengard.nodes.dataset.records import Box
from isengard.sota import sample_character


def picture(path, size=(8, 6), caption="a woman", **options):
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(
        path, **options
    )
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")


OPTIONS = folder.Options()


def loaded(path, options=OPTIONS):
    return folder.load(path, "hero", options).dataset


def refused(path, options=OPTIONS):
    with pytest.raises(folder.FolderError) as raised:
        folder.load(path, "hero", options)
    return str(raised.value)


def test_the_sample_character_loads():
    dataset = folder.load(sample_character.FOLDER, "mira").dataset
    assert len(dataset.samples) == 20
    assert {sample.size for sample in dataset.samples} == {(256, 256)}
    assert dataset.samples[0].caption == (sample_character.FOLDER / "mira_01.txt").read_text().strip()
    assert dataset.samples[0].origin.source == "mira/mira_01.png"


def test_pictures_come_in_the_order_that_people_count(tmp_path):
    for name in ("p10.png", "p2.png", "P1.jpg", "b.webp", "note.md", ".hidden.png"):
        if name.endswith(".md"):
            (tmp_path / name).write_text("x")
        else:
            picture(tmp_path / name)
    assert [sample.name for sample in loaded(tmp_path).samples] == [
        "b.webp",
        "P1.jpg",
        "p2.png",
        "p10.png",
    ]


def test_captions_lose_line_ends_and_byte_order_mark(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "a.txt").write_bytes("\ufeffmira, smiling,\r\n  große Brille \n".encode())
    assert loaded(tmp_path).samples[0].caption == "mira, smiling, große Brille"


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    stored = Image.new("RGB", (40, 20), "black")
    stored.paste("white", (0, 0, 20, 20))  # left half
    stored.save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("x")
    sample = loaded(tmp_path).samples[0]
    pixels = images.read(sample)
    assert sample.size == (20, 40)
    assert pixels.shape == (1, 40, 20, 3)
    assert pixels[0, :18].mean() == 1.0, "the left half is the upper one when upright"
    assert pixels[0, 22:].mean() == 0.0


def test_missing_folder(tmp_path):
    assert "no folder 'hero' in ComfyUI's input folder" in refused(tmp_path / "hero")


def test_folder_without_pictures(tmp_path):
    (tmp_path / "readme.md").write_text("x")
    message = refused(tmp_path)
    assert "'hero' holds no picture (1 other files)" in message
    assert ".png" in message


def test_a_text_file_called_png_is_named(tmp_path):
    picture(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("this is text")
    (tmp_path / "bad.txt").write_text("x")
    assert "1 of 2 pictures could not be read (hero/bad.png: not a picture, 12 bytes)" in refused(tmp_path)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_truncated_picture_is_named(tmp_path, monkeypatch, ending, lenient):
    """Also where another pack told Pillow to be lenient, whose word stands afterwards."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    whole = tmp_path / f"a.{ending}"
    picture(whole, size=(200, 200))
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    message = refused(tmp_path)
    assert (
        f"1 of 1 pictures could not be read (hero/a.{ending}: damaged or cut off after {len(data) // 2} bytes"
        in message
    )


def test_pictures_of_other_kinds_are_not_left_out_silently(tmp_path):
    picture(tmp_path / "good.png")
    (tmp_path / "b.psd").touch()
    (tmp_path / "a.HEIC").touch()
    message = refused(tmp_path)
    assert "2 pictures in 'hero' are of a kind that is not read (a.HEIC; b.psd)" in message
    assert ".png" in message


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    assert "hero/a.png: not a picture, 0 bytes" in refused(tmp_path)


def test_many_broken_pictures_are_counted_and_three_are_named(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_text("no")
    message = refused(tmp_path)
    assert message.startswith("5 of 5 pictures")
    assert "2.png" in message
    assert "3.png" not in message


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_parts_captions(tmp_path, end):
    text = end.join(["", "mira,", "smiling", "", "  ", "a portrait of mira", " ", "mira again", ""])
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "a.txt").write_bytes(text.encode())
    (sample,) = loaded(tmp_path).samples
    assert sample.captions == ("mira, smiling", "a portrait of mira", "mira again")
    assert sample.caption == "mira, smiling"


def test_blank_and_missing_captions_are_filled(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    picture(tmp_path / "b.png", caption=" \n")
    picture(tmp_path / "c.png")
    assert [sample.captions for sample in loaded(tmp_path).samples] == [(), (), ("a woman",)]
    captions = [sample.caption for sample in loaded(tmp_path, folder.Options(" mira ")).samples]
    assert captions == ["mira", "mira", "a woman"]


def test_the_encoding_of_a_caption_is_noted(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "a.txt").write_bytes("Mira, fröhlich".encode("latin-1"))
    found = folder.load(tmp_path, "hero")
    assert found.dataset.samples[0].caption == "Mira, fröhlich"
    assert list(map(str, found.notes)) == ["a.png: a.txt was read as cp1252 (Western European)"]


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no")
    assert refused(tmp_path).endswith("Replace or remove them, or turn 'skip_unreadable' on.")
    found = folder.load(tmp_path, "hero", folder.Options(skip_unreadable=True))
    assert [sample.name for sample in found.dataset.samples] == ["a.png"]
    assert list(map(str, found.unread)) == ["hero/b.png: not a picture, 2 bytes"]
    (tmp_path / "a.png").unlink()
    assert refused(tmp_path, folder.Options(skip_unreadable=True)).endswith("Replace or remove them.")


def test_folders_below_are_loaded_and_counted_like_files(tmp_path):
    for name in ("2/a.png", "10/a.png", "b.png", ".trash/c.png", "__MACOSX/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name)
    assert [sample.name for sample in loaded(tmp_path).samples] == ["2/a.png", "10/a.png", "b.png"]
    assert [sample.name for sample in loaded(tmp_path, folder.Options(subfolders=False)).samples] == ["b.png"]


def test_kohyas_folders_repeat_their_pictures_and_name_them(tmp_path):
    for name in ("10_hero man", "1_hero man", "0_other", "x_10"):
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "a.png", caption="written" if name[0] == "1" and name[1] == "_" else None)
    found = {sample.name: (sample.repeats, sample.caption) for sample in loaded(tmp_path).samples}
    assert found == {
        "0_other/a.png": (1, ""),
        "1_hero man/a.png": (1, "written"),
        "10_hero man/a.png": (10, "hero man"),
        "x_10/a.png": (1, ""),
    }


def test_captions_and_tags_come_from_a_metadata_file(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("a.png", "b.png", "train/c.png", "d.png"):
        picture(tmp_path / name, caption="beside" if name == "d.png" else None)
    rows = [
        {"file_name": "a.png", "text": " of  a "},
        {"file_name": "b.png", "tags": "red, blue "},
        {"file_name": "train\\c.png", "captions": ["one", "two"], "tags": ["x"]},
        {"file_name": "d.png", "text": "of the file"},
        {"file_name": "../up.png", "text": "no"},
        ["no object"],
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = {sample.name: (sample.captions, sample.tags) for sample in loaded(tmp_path).samples}
    assert found == {
        "a.png": (("of a",), ()),
        "b.png": (("red, blue",), ("red", "blue")),
        "d.png": (("beside",), ()),
        "train/c.png": (("one", "two"), ("x",)),
    }
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text('file_name,text\na.png,"comma, and all"\n')
    assert loaded(tmp_path).samples[0].caption == "comma, and all"


def test_a_broken_metadata_file_is_told_with_its_line(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.png", "text": "x"}\n{"file_name"')
    assert "line 2 of metadata.jsonl is no JSON" in refused(tmp_path)


def test_progress_counts_every_picture(tmp_path):
    for number in range(40):
        picture(tmp_path / f"{number}.png")
    told = []
    folder.load(tmp_path, "hero", progress=lambda done, of: told.append((done, of)))
    assert told == [(number, 40) for number in range(1, 41)]


def test_an_interrupt_ends_the_loading(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png")

    def interrupt(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.load(tmp_path, "hero", progress=interrupt)


def test_two_pictures_that_differ_in_their_ending_are_told_apart_and_share_their_caption(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg", caption="both")
    samples = loaded(tmp_path).samples
    assert [(sample.name, sample.caption) for sample in samples] == [("a.jpg", "both"), ("a.png", "both")]


def test_the_hash_covers_pixels_captions_and_order(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "bb.png")
    before = loaded(tmp_path).hash
    assert folder.load(tmp_path, "other name").dataset.hash == before
    (tmp_path / "a.txt").write_text("another")
    changed = loaded(tmp_path).hash
    assert changed != before
    picture(tmp_path / "a.png", size=(9, 9), caption="another")
    assert loaded(tmp_path).hash != changed


@pytest.mark.parametrize(
    "change",
    [{"repeats": 2}, {"weight": 0.5}, {"split": "held_out"}, {"background": "black"}, {"box": Box(0, 0, 4, 4)}],
)
def test_the_hash_covers_what_training_sees(tmp_path, change):
    picture(tmp_path / "a.png")
    dataset = loaded(tmp_path)
    changed = dataclasses.replace(dataset, samples=(dataclasses.replace(dataset.samples[0], **change),))
    assert changed.hash != dataset.hash


@pytest.mark.parametrize("change", [{"repeats": 0}, {"weight": 0.0}, {"weight": float("nan")}, {"split": "test"}])
def test_numbers_that_training_cannot_use_are_refused(tmp_path, change):
    picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png has " + next(iter(change))):
        dataclasses.replace(loaded(tmp_path).samples[0], **change)


def test_the_hash_covers_the_order(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "bb.png")
    dataset = loaded(tmp_path)
    assert dataclasses.replace(dataset, samples=dataset.samples[::-1]).hash != dataset.hash


def test_the_fingerprint_sees_edits_on_disk(tmp_path):
    picture(tmp_path / "a.png")
    before = folder.fingerprint(tmp_path)
    assert folder.fingerprint(tmp_path) == before
    (tmp_path / "a.txt").write_text("longer caption")
    changed = folder.fingerprint(tmp_path)
    assert changed != before
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    assert folder.fingerprint(tmp_path) != changed


def test_a_picture_that_changed_after_loading_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    sample = loaded(tmp_path).samples[0]
    picture(tmp_path / "a.png", size=(9, 9))
    with pytest.raises(images.UnreadableImage, match="a.png was changed after the data set was loaded"):
        images.read(sample)
    (tmp_path / "a.png").unlink()
    with pytest.raises(images.UnreadableImage, match="cannot be read any more"):
        images.read(sample)


def test_the_drop_down_lists_folders_with_pictures(tmp_path):
    for name in ("mira", "deep/er/one", "empty", ".hidden", "a/b/c/too deep"):
        (tmp_path / name).mkdir(parents=True)
        if name != "empty":
            picture(tmp_path / name / "a.png")
    picture(tmp_path / "loose.png")
    assert folder.with_pictures(tmp_path) == ["deep", "deep/er", "deep/er/one", "mira"]


def test_pictures_are_counted_as_they_are_loaded(tmp_path):
    for name in ("a.png", "b/c.JPG", "a-masklabel.png", ".hidden/d.png", "__MACOSX/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name)
    (tmp_path / "a.txt").write_text("mira")
    assert folder.number_of_pictures(tmp_path) == len(loaded(tmp_path).samples) == 2
    (tmp_path / "manifest.jsonl").write_text("damaged")
    assert folder.number_of_pictures(tmp_path) == 2
