import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from isengard.nodes import lettering, style
from isengard.nodes.dataset import folder, images
from isengard.nodes.dataset.records import HELD_OUT, Box, Mask
from isengard.nodes.overview import cell, sheet
from isengard.nodes.overview.sheet import Options
from isengard.sota import sample_character

from .samples import dataset, sample

SMALL = Options(columns=3, picture=96, per_page=6)
RED = (255, 0, 0)


def drawn(*samples, options=SMALL):
    return [np.asarray(page) for page in sheet.pages(dataset(*samples), options)]


def box(page, rgb):
    """Left, upper, right, lower of a colour."""
    mask = (page == rgb).all(-1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def differs(**more):
    """Whether a sheet of a sample that has this looks otherwise than one that has not."""
    plain = sample(captions=["mira"])
    before, after = sheet.tensor(dataset(plain), SMALL), sheet.tensor(dataset(replace(plain, **more)), SMALL)
    return before.shape != after.shape or not torch.equal(before, after)


@pytest.mark.parametrize("size", [(64, 64), (400, 100), (100, 400), (3, 3), (700, 20)])
def test_a_picture_is_whole_and_not_distorted(size):
    (page,) = drawn(sample(size=size), sample(size=(96, 96), colour=(0.0, 1.0, 0.0)))
    left, upper, right, lower = box(page, RED)
    width, height = right - left + 2, lower - upper + 2  # with the line around it
    assert max(width / 96, height / 96) == pytest.approx(1, abs=0.03)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.3 if min(size) < 96 / 10 else 0.1)


def test_cells_stand_in_a_grid():
    colours = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    texts = ["mira", "a long caption " * 20, "mira", "mira"]
    samples = [
        sample(str(place), (96, 96), captions=[text], colour=colour)
        for place, (colour, text) in enumerate(zip(colours, texts, strict=True))
    ]
    (page,) = drawn(*samples)
    red, lime, blue, yellow = (box(page, tuple(round(255 * part) for part in colour)) for colour in colours)
    assert red[1] == lime[1] == blue[1]
    assert lime[0] - red[0] == blue[0] - lime[0] > 96
    assert (yellow[0], yellow[2]) == (red[0], red[2])
    assert yellow[1] > red[3] + 80, "there is no room for the texts"


def test_large_sets_come_on_pages_of_one_size():
    pages = drawn(*(sample(str(place)) for place in range(13)))
    assert len(pages) == 3
    assert len({page.shape for page in pages}) == 1
    assert [bool((page == RED).all(-1).any()) for page in pages] == [True] * 3


@pytest.mark.parametrize("count, per_page, columns", [(61, 60, 6), (20, 10, 6), (7, 7, 3), (5, 60, 12), (3, 1, 6)])
def test_every_picture_is_drawn_once_and_pages_are_even(count, per_page, columns):
    """Counted by the frames around dropped pictures."""
    options = Options(columns, 96, per_page)
    samples = [sample(str(place), (8, 8), captions=[]) for place in range(count)]
    layout = sheet._Layout(
        dataset(*samples), options, tuple(cell.measured(each, cell.Frame(96, 96)) for each in samples),
        cell.Frame(96, 96),
    )  # fmt: skip
    assert layout.on_page <= per_page
    assert -(-count // layout.on_page) == layout.count == -(-count // per_page)
    told = []
    pages = list(sheet.pages(dataset(*samples), options, lambda done, of: told.append((done, of))))
    assert len(pages) == layout.count
    assert told == [(done, count) for done in range(1, count + 1)]


@pytest.mark.parametrize(
    "sizes, oblong",
    [
        ([(64, 64)], 1.0),
        ([(100, 150)] * 3 + [(64, 64)], 1.5),
        ([(100, 150)] + [(64, 64)] * 3, 1.0),
        ([(100, 1000)], 1.5),
        ([(1000, 100)], 0.6),
        ([], 1.0),
    ],
)
def test_the_frame_suits_the_pictures(sizes, oblong):
    assert sheet._oblong([sample(size=size) for size in sizes]) == pytest.approx(oblong)


def test_at_most_so_many_are_drawn():
    samples = [sample(str(place)) for place in range(9)]
    all_of_them, some = (sheet.tensor(dataset(*samples), Options(3, 96, 60, most)) for most in (9, 4))
    assert some.shape[1] < all_of_them.shape[1]
    layout = sheet._Layout(dataset(*samples), SMALL, (1, 2, 3, 4), cell.Frame(96, 96))
    assert layout._facts(1) == "9 pictures, the first 4 are shown"
    assert sheet._Layout(dataset(*samples[:1]), SMALL, (1,), cell.Frame(96, 96))._facts(1) == "1 picture"
    many = sheet._Layout(dataset(*samples), SMALL, tuple(range(9)), cell.Frame(96, 96))
    assert many._facts(2) == "9 pictures · page 2 of 2"


@pytest.mark.parametrize(
    "more",
    [
        {"name": "b.png"},
        {"captions": ("zebra",)},
        {"captions": ()},
        {"captions": ("mira", "another")},
        {"scores": {"sharpness": 0.81}},
        {"tags": ("red_hat",)},
        {"repeats": 5},
        {"weight": 0.5},
        {"split": HELD_OUT},
        {"reason": "too dark"},
        {"mask": Mask(torch.ones(48, 64), "white")},
    ],
    ids=lambda more: next(iter(more)),
)
def test_all_that_is_known_is_shown(more):
    assert differs(**more)


def test_nothing_reaches_the_border():
    unkind = sample(
        "folder/" + "n" * 300, captions=["w" * 500, "x"], scores={"s" * 80: 1.0, "t": 2.0}, tags=("g" * 300,),
        repeats=999, weight=1e-9, split=HELD_OUT, reason="because " * 100, mask=Mask(torch.ones(48, 64), "m"),
    )  # fmt: skip
    for page in drawn(unkind, unkind):
        for edge in (page[:8], page[-8:], page[:, :8], page[:, -8:]):
            assert (edge == 255).all()


def test_texts_do_not_reach_into_the_next_cell():
    """Between the two columns nothing is drawn, however long the texts are."""
    unkind = sample(captions=["W" * 500], scores={"S" * 80: 1.0}, tags=("G" * 300,), reason="M" * 300, repeats=9)
    (page,) = drawn(unkind, unkind, options=Options(2, 96))
    layout = sheet._Layout(
        dataset(unkind, unkind), Options(2, 96), (cell.measured(unkind, cell.Frame(96, 72)),) * 2, cell.Frame(96, 72)
    )
    (first, top), (second, _) = layout.places
    assert (page[top:, first + 96 + 1 : second - 1] == 255).all()


def test_what_a_mask_leaves_out_is_tinted():
    mask = torch.ones(96, 96)
    mask[:, :48] = 0
    masked = sample(size=(96, 96), colour=(0.0, 0.0, 1.0), mask=Mask(mask, "half"))
    frame = cell.Frame(96, 96)
    plain, tinted = (np.asarray(cell.thumbnail(masked, frame, with_mask)) for with_mask in (False, True))
    assert (plain == (0, 0, 255)).all()
    assert (tinted[:, 60:] == (0, 0, 255)).all()
    assert (tinted[:, :36, 0] > 100).all()


def test_a_box_of_a_masked_picture_is_shown():
    """Of both the same part."""
    mask = torch.ones(48, 64)
    mask[:, :32] = 0
    cut = replace(sample(size=(64, 48), mask=Mask(mask, "half")), box=Box(32, 0, 64, 48), size=(32, 48))
    assert (np.asarray(cell.thumbnail(cut, cell.Frame(96, 96), True)) == RED).all()


def test_an_empty_data_set_has_a_page_that_says_so():
    pages = drawn()
    assert len(pages) == 1
    assert (pages[0] != 255).any()
    assert sheet.tensor(dataset()).shape[0] == 1


def test_the_pages_are_a_batch_as_comfyui_has_it():
    pages = sheet.tensor(dataset(*(sample(str(place)) for place in range(7))), SMALL)
    assert pages.shape[0] == 2
    assert pages.shape[3] == 3
    assert pages.dtype == torch.float32
    assert (pages.min() >= 0, pages.max()) == (True, 1)
    assert np.array_equal(images.picture(pages[0]), drawn(*(sample(str(place)) for place in range(7)))[0])


def test_every_page_says_of_its_own_pictures():
    """The pictures are the same, their names are not."""
    first, second = drawn(*(sample(str(place)) for place in range(12)))
    assert (first[150:] != second[150:]).any()


def test_a_dropped_picture_has_a_red_frame():
    warning = tuple(bytes.fromhex(style.WARNING[1:]))
    (page,) = drawn(sample(size=(96, 96), reason="M"))
    top, bottom = ((page == warning).all(-1).sum(1) > 90).nonzero()[0][[0, -1]]
    assert bottom - top == 95


def test_a_file_that_was_changed_is_told(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    loaded = folder.load(tmp_path, "x").dataset
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(images.UnreadableImage, match="was changed"):
        list(sheet.pages(loaded))


def test_signs_without_a_font_are_told(monkeypatch):
    plain = sheet.tensor(dataset(sample(captions=["mira \ue000"])), SMALL)
    known = sheet.tensor(dataset(sample(captions=[f"mira {lettering.UNKNOWN}"])), SMALL)
    assert plain.shape[1] > known.shape[1], "there is no line about it"


def test_few_pictures_are_read_at_a_time(monkeypatch):
    """Whatever their number: they may be large."""
    opened, alive, most = images.opened, 0, 0
    lock = threading.Lock()

    def counting(each):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        try:
            return opened(each)
        finally:
            with lock:
                alive -= 1

    monkeypatch.setattr(images, "opened", counting)
    drawn(*(sample(str(place)) for place in range(30)))
    assert most <= sheet._AT_ONCE


def test_the_sample_character_is_shown():
    loaded = folder.load(sample_character.FOLDER, "mira").dataset
    assert sheet.tensor(loaded, Options(5, 96)).shape[0] == 1


@pytest.mark.parametrize(
    "value, said",
    [(0.8123, "0.81"), (1.0, "1"), (0.0, "0"), (-3.25, "-3.25"), (12345.6, "12,346"), (float("nan"), "nan")],
)
def test_scores_are_short(value, said):
    assert cell.number(value) == said
