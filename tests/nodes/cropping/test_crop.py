"""Data sets cropped: what changes of a sample, and what does not."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from isengard.nodes.cropping import crop, report
from isengard.nodes.cropping.crop import DROP, ENLARGE, KEEP, WIDEN, Fit
from isengard.nodes.cropping.framing import BUST, FACE, FRAMINGS, FULL, Framing
from isengard.nodes.cropping.subject import CENTRE, NoSubject, Search, Subject, finder
from isengard.nodes.curation import identity, quality
from isengard.nodes.dataset import export, folder, images
from isengard.nodes.dataset.folder import Remark
from isengard.nodes.dataset.records import HELD_OUT, MEASURED, Box, Dataset, Mask, Origin, Sample
from isengard.tests import pictures


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def written(path, image: Image.Image) -> str:
    image.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def masked(path, name: str, size=(100, 80), white=(20, 10, 60, 70), **more) -> Sample:
    """A file of noise with a mask that is white in a box."""
    origin = Origin(f"hero/{name}", written(path / name, noise(size, len(name))), "CC0", "p" * 64, "sd15", 7)
    mask = Image.new("L", size)
    mask.paste(255, white)
    file = path / f"mask of {name}.png"
    return Sample(name, path / name, size, ("a", "b"), origin, Mask(file, written(file, mask)), **more)


ALL_OF_IT = Framing(margin=0.0)


def to_masks(dataset: Dataset, framing=ALL_OF_IT, not_found=DROP) -> crop.Cropped:
    return crop.to_subject(dataset, finder(dataset, Search("mask")), framing, not_found)


def whole(sample: Sample) -> np.ndarray:
    return np.asarray(images.opened(dataclasses.replace(sample, box=None)))


def test_only_box_size_and_tags_change(tmp_path):
    before = masked(
        tmp_path, "a.png", tags=("red",), repeats=3, weight=0.5, split=HELD_OUT, scores={"mine": 0.5},
        background="black", reason="once",
    )  # fmt: skip
    cropped = to_masks(Dataset("hero", (before,)))
    (sample,) = cropped.dataset.samples
    assert sample == dataclasses.replace(before, box=Box(20, 10, 60, 70), size=(40, 60), tags=("red", "full"))
    assert (cropped.dataset.name, cropped.dropped.samples) == ("hero", ())
    assert np.array_equal(np.asarray(images.opened(sample)), whole(before)[10:70, 20:60])
    assert images.read_mask(sample).min() == 1


def test_a_crop_of_a_crop_is_inside_it(tmp_path):
    before = masked(tmp_path, "a.png")
    shown = crop.cut(before, Box(30, 20, 90, 75))
    (sample,) = to_masks(Dataset("hero", (shown,))).dataset.samples
    assert (sample.box, sample.size) == ((30, 20, 60, 70), (30, 50))
    assert np.array_equal(np.asarray(images.opened(sample)), whole(before)[20:70, 30:60])


def test_a_picture_of_a_node_is_cropped_as_a_file_is():
    pixels, mask = torch.rand(1, 80, 100, 3), torch.zeros(80, 100)
    mask[10:70, 20:60] = 1
    before = Sample("made 0001", pixels, (100, 80), (), Origin("made", "0" * 64), Mask(mask, "1" * 64))
    (sample,) = to_masks(Dataset("made", (before,))).dataset.samples
    assert sample.size == (40, 60)
    assert torch.equal(images.read(sample), pixels[:, 10:70, 20:60])
    assert images.read_mask(sample).shape == (60, 40)


def test_a_crop_that_shows_all_leaves_the_file_as_it_is(tmp_path):
    before = masked(tmp_path, "a.png", white=(0, 0, 100, 80))
    (sample,) = to_masks(Dataset("hero", (before,))).dataset.samples
    assert sample.box is None
    assert images.file_of(sample) == ((tmp_path / "a.png").read_bytes(), ".png")


def test_what_has_no_subject_is_dropped_with_the_reason_or_kept_whole(tmp_path):
    good, bare = masked(tmp_path, "a.png"), masked(tmp_path, "b.png", white=(0, 0, 0, 0))
    none = dataclasses.replace(masked(tmp_path, "c.png"), mask=None)
    dataset = Dataset("hero", (bare, good, none))
    cropped = to_masks(dataset)
    assert [sample.name for sample in cropped.dataset.samples] == ["a.png"]
    assert [(sample.name, sample.reason) for sample in cropped.dropped.samples] == [
        ("b.png", "its mask is nowhere white"),
        ("c.png", "it has no mask"),
    ]
    kept = to_masks(dataset, not_found=KEEP)
    assert [sample.name for sample in kept.dataset.samples] == ["b.png", "a.png", "c.png"]
    assert kept.dataset.samples[0] == bare
    assert kept.dropped.samples == ()
    assert kept.notes[1] == Remark("c.png", "kept whole: it has no mask")


def tall(path, name: str) -> Sample:
    return masked(path, name, (400, 800), (100, 20, 300, 780))


def test_several_framings_make_several_pictures(tmp_path):
    dataset = Dataset("hero", (tall(tmp_path, "a.png"), tall(tmp_path, "b.JPG")))
    made = to_masks(dataset, Framing(FRAMINGS, margin=0.0)).dataset.samples
    assert [sample.name for sample in made] == [
        "a face.png", "a bust.png", "a full.png", "b face.JPG", "b bust.JPG", "b full.JPG",
    ]  # fmt: skip
    assert [sample.tags for sample in made[:3]] == [("face",), ("bust",), ("full",)]
    assert made[0].size < made[1].size < made[2].size == (200, 760)
    assert {sample.origin for sample in made[:3]} == {dataset.samples[0].origin}


def test_names_stay_unique_and_no_dot_is_taken_for_an_ending(tmp_path):
    one = tall(tmp_path, "a.png")
    names = ("a.png", "a face.png", "v1.5 0001", ".png", "sub/b.webp")
    dataset = Dataset("hero", tuple(dataclasses.replace(one, name=name) for name in names))
    made = [sample.name for sample in to_masks(dataset, Framing((FACE, FULL), margin=0.0)).dataset.samples]
    assert made == [
        "a face-2.png", "a full.png", "a face face.png", "a face full.png", "v1.5 0001 face", "v1.5 0001 full",
        ".png face", ".png full", "sub/b face.webp", "sub/b full.webp",
    ]  # fmt: skip


def test_one_framing_keeps_the_name_and_a_tag_is_not_said_twice(tmp_path):
    dataset = Dataset("hero", (dataclasses.replace(tall(tmp_path, "a.png"), tags=("bust", "x")),))
    (sample,) = to_masks(dataset, Framing((BUST,))).dataset.samples
    assert (sample.name, sample.tags) == ("a.png", ("bust", "x"))


def test_crops_are_written_and_read_back(tmp_path):
    dataset = Dataset("hero", (tall(tmp_path, "a.png"),))
    cropped = to_masks(dataset, Framing(FRAMINGS, margin=0.0)).dataset
    export.to_folder(cropped, tmp_path / "out", "folder")
    found = folder.load(tmp_path / "out", "out").dataset
    for old, new in zip(cropped.samples, found.samples, strict=True):
        assert np.array_equal(np.asarray(images.opened(old)), np.asarray(images.opened(new)))
        assert torch.equal(images.read_mask(old), images.read_mask(new))
        assert (new.tags, new.origin.parent) == (old.tags, dataset.samples[0].origin.sha256)


def test_crops_of_one_picture_are_different_to_the_training(tmp_path):
    dataset = Dataset("hero", (tall(tmp_path, "a.png"),))
    cropped = to_masks(dataset, Framing(FRAMINGS, margin=0.0)).dataset
    assert len({sample.content for sample in (*dataset.samples, *cropped.samples)}) == 4


def test_order_and_progress_with_many(tmp_path):
    one = masked(tmp_path, "a.png")
    dataset = Dataset("hero", tuple(dataclasses.replace(one, name=f"{number}.png") for number in range(150)))
    told = []
    find = finder(dataset, Search("mask"))
    cropped = crop.to_subject(dataset, find, Framing(), DROP, lambda done, of: told.append((done, of)))
    assert [sample.name for sample in cropped.dataset.samples] == [sample.name for sample in dataset.samples]
    assert told == [(number, 150) for number in range(1, 151)]


def test_cancelling_ends_it_soon(tmp_path):
    one = masked(tmp_path, "a.png")
    dataset = Dataset("hero", tuple(dataclasses.replace(one, name=f"{number}.png") for number in range(1000)))
    looked = []

    def find(sample: Sample) -> Subject:
        looked.append(sample.name)
        return Subject(Box(0, 0, 10, 10))

    def cancel(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crop.to_buckets(dataset, find, Fit([(64, 64)]), cancel)
    assert len(looked) < 100


def test_an_empty_data_set_stays_empty():
    dataset = Dataset("hero", ())
    assert to_masks(dataset).dataset == dataset
    assert fitted(dataset, [(64, 64)]).dataset == dataset


def fitted(dataset: Dataset, sizes, limit=100.0, too_small=WIDEN, by="mask") -> crop.Cropped:
    return crop.to_buckets(dataset, finder(dataset, Search(by)), Fit(sizes, limit, too_small))


def test_the_subject_is_in_frame_and_not_the_middle(tmp_path):
    dataset = Dataset("hero", (masked(tmp_path, "a.png", (300, 100), (220, 0, 290, 100)),))
    cropped = fitted(dataset, [(64, 64)])
    assert (cropped.dataset.samples[0].box, cropped.buckets) == ((200, 0, 300, 100), ((64, 64),))
    assert cropped.dataset.samples[0].tags == ()
    assert cropped.notes == ()
    assert fitted(dataset, [(64, 64)], by=CENTRE).dataset.samples[0].box == (100, 0, 200, 100)


def test_what_one_should_know_is_noted(tmp_path):
    wide = masked(tmp_path, "a.png", (300, 100), (20, 0, 290, 100))
    none = dataclasses.replace(masked(tmp_path, "b.png", (300, 100)), mask=None)
    cropped = fitted(Dataset("hero", (wide, none)), [(64, 64)])
    assert cropped.notes == (
        Remark("a.png", "its subject is not all in frame"),
        Remark("b.png", "cut around its middle: it has no mask"),
    )
    assert cropped.dataset.samples[1].box == (100, 0, 200, 100)


@pytest.mark.parametrize("too_small", [DROP, WIDEN])
def test_what_would_be_enlarged_too_much_is_dropped_with_the_number(tmp_path, too_small):
    dataset = Dataset("hero", (masked(tmp_path, "a.png"), masked(tmp_path, "b.png", (200, 128))))
    cropped = fitted(dataset, [(256, 256)], 2.0, too_small)
    assert [sample.name for sample in cropped.dataset.samples] == ["b.png"]
    assert cropped.dropped.samples[0].reason == (
        "it would be enlarged 3.20 times to 256 x 256 pixels; at most 2 times is allowed"
    )


def test_it_is_enlarged_all_the_same_where_that_is_asked_for(tmp_path):
    dataset = Dataset("hero", (masked(tmp_path, "a.png"),))
    assert fitted(dataset, [(256, 256)], 2.0, ENLARGE).dataset.samples[0].size == (80, 80)


def test_more_is_shown_of_what_was_cropped_before(tmp_path):
    face = crop.cut(masked(tmp_path, "a.png", (400, 300)), Box(30, 20, 70, 60))
    (sample,) = fitted(Dataset("hero", (face,)), [(256, 256)], 2.0).dataset.samples
    assert (sample.box, sample.size) == ((0, 0, 128, 128), (128, 128))
    assert images.opened(sample).size == (128, 128)
    assert images.read_mask(sample).shape == (128, 128)
    dropped = fitted(Dataset("hero", (face,)), [(256, 256)], 2.0, DROP).dropped.samples
    assert "enlarged 6.40 times" in dropped[0].reason
    hopeless = fitted(Dataset("hero", (face,)), [(1024, 1024)], 2.0).dropped.samples
    assert "enlarged 3.41 times to 1024 x 1024 pixels even if all of it were shown" in hopeless[0].reason


def test_what_grows_to_the_whole_picture_is_the_file_again(tmp_path):
    part = crop.cut(masked(tmp_path, "a.png", (128, 128)), Box(30, 20, 70, 60))
    (sample,) = fitted(Dataset("hero", (part,)), [(256, 256)], 2.0).dataset.samples
    assert (sample.box, sample.size) == (None, (128, 128))


def test_more_is_shown_around_the_subject_that_was_in_the_crop(tmp_path):
    """The cut of the crop alone would be its right half, where the mask is white."""
    part = crop.cut(masked(tmp_path, "a.png", (600, 400), (250, 110, 290, 190)), Box(100, 100, 300, 200))
    assert fitted(Dataset("hero", (part,)), [(256, 256)]).dataset.samples[0].box == (200, 100, 300, 200)
    assert fitted(Dataset("hero", (part,)), [(256, 256)], 2.0).dataset.samples[0].box == (186, 86, 314, 214)


def test_a_part_of_a_nodes_picture_grows_too():
    part = Sample("a", torch.rand(1, 150, 400, 3), (40, 40), (), Origin("a", "0" * 64), box=Box(180, 50, 220, 90))
    (sample,) = fitted(Dataset("made", (part,)), [(256, 256)], 2.0, by=CENTRE).dataset.samples
    assert (sample.box, tuple(images.read(sample).shape)) == ((136, 6, 264, 134), (1, 128, 128, 3))


def test_errors_are_not_taken_for_missing_subjects(tmp_path):
    dataset = Dataset("hero", (masked(tmp_path, "a.png"),))

    def broken(sample: Sample) -> Subject:
        raise ValueError("something else")

    for work in (
        lambda: crop.to_subject(dataset, broken, Framing()),
        lambda: crop.to_buckets(dataset, broken, Fit([(64, 64)])),
    ):
        with pytest.raises(ValueError, match="something else"):
            work()


def test_the_report_says_what_became_of_the_pictures(tmp_path):
    names = [f"{number}.png" for number in range(60)]
    samples = [masked(tmp_path, "a.png", (300, 100), (20, 0, 290, 100)), masked(tmp_path, "b.png", (90, 200))]
    samples += [dataclasses.replace(samples[0], name=name, size=(10, 10)) for name in names]
    cropped = fitted(Dataset("hero", tuple(samples)), [(64, 64), (96, 48)], 2.0, DROP, CENTRE)
    lines = report.of_cropping(cropped).split("\n")
    assert lines[:5] == [
        "hero: 2 pictures, 100 x 100 to 90 x 180 pixels, 2 with several captions, 2 with a mask",
        "",
        "- 64 x 64: 1",
        "- 48 x 96: 1",
        "",
    ]
    assert lines[5:7] == [
        "Dropped, 60:",
        "- 0.png: it would be enlarged 6.40 times to 64 x 64 pixels; at most 2 times is allowed",
    ]
    assert lines[-1] == "… and 10 more"


def test_the_report_of_a_crop_has_no_buckets(tmp_path):
    dataset = Dataset("hero", (masked(tmp_path, "a.png"),))

    def nothing(sample: Sample) -> Subject:
        raise NoSubject("it is empty")

    assert report.of_cropping(to_masks(dataset)) == (
        "hero: 1 picture, 40 x 60 pixels, 1 with several captions, 1 with a mask"
    )
    kept = crop.to_subject(dataset, nothing, Framing((FULL,)), KEEP)
    assert report.of_cropping(kept).endswith("Noted, 1:\n- a.png: kept whole: it is empty")


def test_what_was_measured_of_all_of_a_picture_is_forgotten(tmp_path):
    """A sharp background says nothing of a face."""
    whole = pictures.sample(pictures.saved(Image.new("RGB", (60, 40)), tmp_path / "a.png"))
    scored = dataclasses.replace(whole, scores={**dict.fromkeys(MEASURED, 0.9), "mine": 0.5})
    assert set(quality.SCORES) | {identity.SCORE} == MEASURED
    assert dict(crop.cut(scored, Box(0, 0, 30, 40)).scores) == {"mine": 0.5}
    assert crop.cut(scored, Box(0, 0, 60, 40)) == scored
