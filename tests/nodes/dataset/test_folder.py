import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from isengard.nodes.dataset import folder, images
from isengard.sota import sample_character


def picture(path, size=(8, 6), caption="a woman", **options):
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(
        path, **options
    )
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def refused(path, name="hero", **options):
    with pytest.raises(folder.FolderError) as raised:
        folder.load(path, name, **options)
    return str(raised.value)


def test_the_sample_character_loads():
    dataset = folder.load(sample_character.FOLDER, "mira")
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
    assert [sample.name for sample in folder.load(tmp_path, "hero").samples] == [
        "b.webp",
        "P1.jpg",
        "p2.png",
        "p10.png",
    ]


def test_captions_lose_line_ends_and_byte_order_mark(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "a.txt").write_bytes("\ufeffmira, smiling,\r\n  große Brille \n".encode())
    assert folder.load(tmp_path, "hero").samples[0].caption == "mira, smiling, große Brille"


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    stored = Image.new("RGB", (40, 20), "black")
    stored.paste("white", (0, 0, 20, 20))  # left half
    stored.save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("x")
    sample = folder.load(tmp_path, "hero").samples[0]
    pixels = images.read(sample.image, sample.origin.sha256)
    assert sample.size == (20, 40)
    assert pixels.shape == (1, 40, 20, 3)
    assert pixels[0, :18].mean() == 1.0, "the left half is the upper one when upright"
    assert pixels[0, 22:].mean() == 0.0


@pytest.mark.parametrize("mode, colour", [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0)), ("P", None), ("L", 255)])
def test_every_mode_becomes_rgb_with_transparency_on_white(tmp_path, mode, colour):
    image = Image.new(mode, (4, 4), colour) if colour is not None else Image.new("L", (4, 4), 255).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    pixels = images.pixels(images.decode(buffer.getvalue()))
    assert pixels.shape == (1, 4, 4, 3)
    assert pixels.dtype == torch.float32
    assert pixels.min() > 0.99


def test_sixteen_bits_keep_their_greys():
    ramp = Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256))
    buffer = io.BytesIO()
    ramp.save(buffer, "png")
    pixels = images.pixels(images.decode(buffer.getvalue()))
    torch.testing.assert_close(pixels[0, 0, :, 0], torch.linspace(0, 1, 256), atol=0.5 / 255, rtol=0)


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
    (tmp_path / "b.gif").touch()
    (tmp_path / "a.TIFF").touch()
    message = refused(tmp_path)
    assert "2 pictures in 'hero' are of a kind that is not read (a.TIFF; b.gif)" in message
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
    (sample,) = folder.load(tmp_path, "hero").samples
    assert sample.captions == ("mira, smiling", "a portrait of mira", "mira again")
    assert sample.caption == "mira, smiling"


def test_a_caption_in_latin_1_is_named(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    (tmp_path / "a.txt").write_bytes("Mira, fröhlich".encode("latin-1"))
    message = refused(tmp_path)
    assert "1 of 1 pictures" in message
    assert "hero/a.png: its caption a.txt is not UTF-8 text (byte 0xF6 at position 8; save it as UTF-8)" in message


def test_missing_and_blank_captions_are_named_or_filled(tmp_path):
    picture(tmp_path / "a.png", caption=None)
    picture(tmp_path / "b.png", caption=" \n")
    picture(tmp_path / "c.png")
    assert "2 of 3 pictures in 'hero' have no caption (a.png; b.png)" in refused(tmp_path)
    captions = [sample.caption for sample in folder.load(tmp_path, "hero", " mira ").samples]
    assert captions == ["mira", "mira", "a woman"]


def test_two_pictures_that_differ_in_their_ending_are_told_apart_and_share_their_caption(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg", caption="both")
    samples = folder.load(tmp_path, "hero").samples
    assert [(sample.name, sample.caption) for sample in samples] == [("a.jpg", "both"), ("a.png", "both")]


def test_the_hash_covers_pixels_captions_and_order(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "bb.png")
    before = folder.load(tmp_path, "hero").hash
    assert folder.load(tmp_path, "other name").hash == before
    (tmp_path / "a.txt").write_text("another")
    changed = folder.load(tmp_path, "hero").hash
    assert changed != before
    picture(tmp_path / "a.png", size=(9, 9), caption="another")
    assert folder.load(tmp_path, "hero").hash != changed


def test_the_hash_covers_the_order(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "bb.png")
    dataset = folder.load(tmp_path, "hero")
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
    sample = folder.load(tmp_path, "hero").samples[0]
    picture(tmp_path / "a.png", size=(9, 9))
    with pytest.raises(images.UnreadableImage, match="a.png was changed after the data set was loaded"):
        images.read(sample.image, sample.origin.sha256)
    (tmp_path / "a.png").unlink()
    with pytest.raises(images.UnreadableImage, match="cannot be read any more"):
        images.read(sample.image, sample.origin.sha256)


def test_the_drop_down_lists_folders_with_pictures(tmp_path):
    for name in ("mira", "deep/er/one", "empty", ".hidden", "a/b/c/too deep"):
        (tmp_path / name).mkdir(parents=True)
        if name != "empty":
            picture(tmp_path / name / "a.png")
    picture(tmp_path / "loose.png")
    assert folder.with_pictures(tmp_path) == ["deep/er/one", "mira"]
