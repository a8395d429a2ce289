"""What counts as one picture twice, which of them stays, and what goes with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from isengard.nodes.curation import duplicates, fingerprints
from isengard.nodes.dataset.records import Box, Dataset, Mask, Origin, Sample
from isengard.tests import pictures
from isengard.tests.graph import DEFAULTS

SIMILARITY = DEFAULTS["IsengardDeduplicateDataset"]["similarity"]


def originals() -> dict[str, Image.Image]:
    """Scenes, photographs, and people who differ in their faces alone."""
    scenes = {f"scene{n}.png": pictures.scene(n, (512, 400)) for n in range(4)}
    photographs = {f"{name}.png": pictures.photograph(name) for name in pictures.PHOTOGRAPHS}
    looks = {f"look{n}.png": pictures.person(3, n, 320) for n in range(6)}
    return scenes | photographs | looks


@pytest.fixture(scope="module")
def distinct(tmp_path_factory) -> Dataset:
    return pictures.dataset(tmp_path_factory.mktemp("distinct"), originals())


def test_distinct_pictures_stay(distinct):
    kept, dropped = duplicates.deduplicated(distinct, SIMILARITY)
    assert [sample.name for sample in dropped.samples] == []
    assert kept == distinct


@pytest.mark.parametrize("how", pictures.COPIES)
def test_a_copy_is_found(distinct, tmp_path, how):
    copies = {f"copy of {name}": pictures.COPIES[how](picture) for name, picture in originals().items()}
    both = distinct.of((*distinct.samples, *pictures.dataset(tmp_path, copies).samples))
    kept, dropped = duplicates.deduplicated(both, SIMILARITY)
    assert len(kept.samples) == len(distinct.samples), sorted(sample.name for sample in kept.samples)
    assert {sample.name.removeprefix("copy of ") for sample in kept.samples} == set(copies_of(distinct))
    for sample in dropped.samples:
        other = sample.name.removeprefix("copy of ") if sample.name.startswith("copy of ") else f"copy of {sample.name}"
        assert f"duplicate of {other} (similarity" in sample.reason


def copies_of(dataset: Dataset) -> list[str]:
    return [sample.name for sample in dataset.samples]


@pytest.mark.parametrize("how", ["jpeg 35", "half as large", "cut all around", "cut, smaller, darker, jpeg 60"])
def test_the_original_stays_whatever_the_order(tmp_path, how):
    original = pictures.scene(3, (640, 640))
    found = pictures.dataset(tmp_path, {"a copy.png": pictures.COPIES[how](original), "original.png": original})
    for order in (found.samples, found.samples[::-1]):
        kept, _ = duplicates.deduplicated(Dataset("x", order), SIMILARITY)
        assert [sample.name for sample in kept.samples] == ["original.png"]


def test_an_upscaled_copy_does_not_win_by_its_pixels(tmp_path):
    original = pictures.photograph("chelsea")
    found = pictures.dataset(tmp_path, {"large.png": pictures.resized(original, 3.0), "original.png": original})
    kept, _ = duplicates.deduplicated(found, SIMILARITY)
    assert [sample.name for sample in kept.samples] == ["original.png"]


def test_the_same_file_twice_is_a_duplicate_whatever_it_shows(tmp_path):
    plain = Image.new("RGB", (64, 64), "white")
    found = pictures.dataset(tmp_path, {"a.png": plain, "b.png": plain})
    kept, dropped = duplicates.deduplicated(found, 1.0)
    assert [sample.name for sample in kept.samples] == ["a.png"]
    assert dropped.samples[0].reason == "duplicate of a.png (similarity 1.00)"


def test_a_plain_picture_is_not_the_copy_of_another_colour(tmp_path):
    found = pictures.dataset(tmp_path, {f"{name}.png": Image.new("RGB", (64, 64), name) for name in ("red", "blue")})
    assert duplicates.deduplicated(found, SIMILARITY)[1].samples == ()


def test_a_changed_mouth_is_another_picture(tmp_path):
    face = np.asarray(pictures.person(0, 1, 256)).copy()
    changed = face.copy()
    changed[140:160, 110:146] = 255 - changed[140:160, 110:146]
    both = {"a.png": Image.fromarray(face), "b.png": Image.fromarray(changed)}
    assert duplicates.deduplicated(pictures.dataset(tmp_path, both), SIMILARITY)[1].samples == ()


def test_captions_masks_and_all_else_stay_with_their_pictures(distinct, tmp_path):
    copies = {f"copy of {name}": pictures.recompressed(picture, 60) for name, picture in originals().items()}
    found = pictures.dataset(tmp_path, copies).samples
    tagged = [dataclasses.replace(sample, tags=(sample.name,), repeats=3, weight=0.5) for sample in found]
    both = distinct.of([each for pair in zip(distinct.samples, tagged, strict=True) for each in pair])
    before = {sample.name: sample for sample in both.samples}
    kept, dropped = duplicates.deduplicated(both, SIMILARITY)
    assert len(dropped.samples) == len(tagged)
    for sample in kept.samples + dropped.samples:
        assert dataclasses.replace(sample, reason="", tags=before[sample.name].tags) == before[sample.name]


def test_a_picture_without_caption_takes_its_copys(tmp_path):
    picture = pictures.scene(1, (300, 300))
    found = pictures.dataset(tmp_path, {"original.png": picture, "small.png": pictures.resized(picture, 0.5)})
    bare = dataclasses.replace(found.samples[0], captions=())
    kept, _ = duplicates.deduplicated(found.of((bare, found.samples[1])), SIMILARITY)
    assert [(sample.name, sample.captions) for sample in kept.samples] == [("original.png", ("small",))]


def test_more_copies_than_neighbours_are_all_found(tmp_path):
    """Each picture is compared with its nearest few; the rest hang together with them."""
    picture = pictures.scene(5, (256, 256))
    copies = {f"{n:02}.png": pictures.brightened(picture, 0.8 + 0.02 * n) for n in range(24)}
    kept, dropped = duplicates.deduplicated(pictures.dataset(tmp_path, copies), SIMILARITY)
    assert (len(kept.samples), len(dropped.samples)) == (1, 23)


def test_boxes_count_and_not_the_whole_file(tmp_path):
    file = pictures.saved(pictures.scene(2, (600, 300)), tmp_path / "two.png")
    whole = pictures.sample(file)
    halves = [
        dataclasses.replace(whole, name=f"{left}", box=Box(left, 0, left + 300, 300), size=(300, 300))
        for left in (0, 300)
    ]
    again = dataclasses.replace(halves[0], name="again", box=Box(3, 3, 300, 300), size=(297, 297))
    kept, dropped = duplicates.deduplicated(Dataset("x", (*halves, again)), SIMILARITY)
    assert [sample.name for sample in kept.samples] == ["0", "300"]
    assert [sample.name for sample in dropped.samples] == ["again"]


def test_pictures_in_memory_are_compared_too():
    shown = [np.asarray(pictures.scene(n, (200, 160)), np.float32) / 255 for n in (0, 1)]
    tensors = [torch.from_numpy(each)[None] for each in (*shown, shown[0] * 0.9)]
    found = [Sample(f"{n}", each, (200, 160), (), Origin("x", f"{n}")) for n, each in enumerate(tensors)]
    kept, dropped = duplicates.deduplicated(Dataset("x", tuple(found)), SIMILARITY)
    assert len(kept.samples) == 2
    assert len(dropped.samples) == 1


def test_vectors_find_what_pixels_do_not(distinct):
    vectors = torch.eye(len(distinct.samples))
    vectors[4] = vectors[2] + 0.1 * vectors[5]
    kept, dropped = duplicates.deduplicated(distinct, SIMILARITY, vectors=vectors, vector_similarity=0.97)
    (gone,) = dropped.samples
    names = [distinct.samples[place].name for place in (2, 4)]
    assert gone.name in names
    assert gone.reason.startswith("look-alike of ")
    assert len(kept.samples) == len(distinct.samples) - 1


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(distinct, count):
    few = distinct.of(distinct.samples[:count])
    assert duplicates.deduplicated(few, SIMILARITY) == (few, few.of(()))


def test_progress_is_told(distinct):
    told = []
    duplicates.deduplicated(distinct, SIMILARITY, lambda done, of: told.append((done, of)))
    assert told[-1] == (len(distinct.samples), len(distinct.samples))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_fingerprints_of_a_window_are_those_of_the_cut_picture():
    whole = pictures.scene(9, (512, 512))
    for window in fingerprints._windows():
        box = [round(each * 512) for each in window]
        two = np.stack([fingerprints.thumbnail(each) for each in (whole, whole.crop(box))])
        grey = torch.from_numpy(two).float().mean(-1) / 255
        cut, shown = (
            fingerprints._fingerprints(grey, window)[0],
            fingerprints._fingerprints(grey, fingerprints.WHOLE)[1],
        )
        assert float((cut - shown).square().sum()) < 0.02


def test_tags_and_a_mask_are_not_lost_with_a_copy(tmp_path):
    picture = pictures.scene(4, (300, 300))
    found = pictures.dataset(tmp_path, {"a.png": picture, "b.png": pictures.recompressed(picture, 40)})
    mask = Mask(torch.ones(300, 300), "f" * 64)
    better = dataclasses.replace(found.samples[0], tags=("red",))
    masked = dataclasses.replace(found.samples[1], tags=("blue", "red"), mask=mask)
    kept, dropped = duplicates.deduplicated(found.of((better, masked)), SIMILARITY)
    assert [(sample.name, sample.tags, sample.mask) for sample in kept.samples] == [("a.png", ("red", "blue"), mask)]
    small = pictures.dataset(tmp_path, {"c.png": pictures.resized(picture, 0.5)}).samples[0]
    smaller = dataclasses.replace(small, mask=Mask(torch.ones(150, 150), "e" * 64))
    kept, dropped = duplicates.deduplicated(found.of((better, smaller)), SIMILARITY)
    assert kept.samples[0].mask is None
    assert dropped.samples[0].reason.endswith("; its mask is lost")
