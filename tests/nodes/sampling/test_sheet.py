import numpy as np
from PIL import Image

from isengard.nodes.sampling import sheet


def colour(name, size=(64, 48)):
    return Image.new("RGB", size, name)


def group(heading="a prompt"):
    return sheet.Group(
        heading, (("before", (colour("red"), colour("lime"))), ("after", (colour("blue"), colour("cyan"))))
    )


def box(drawn, rgb):
    """Left, upper, right, lower of a colour, which must fill its box."""
    mask = (np.asarray(drawn) == rgb).all(-1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_pictures_are_whole_in_their_rows_and_columns():
    drawn = sheet.draw("Mira", ["seed 1", "seed 2"], [group()])
    red, lime, blue, cyan = (box(drawn, c) for c in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 255, 255)])
    assert {(r - le, lo - u) for le, u, r, lo in (red, lime, blue, cyan)} == {(64, 48)}
    assert red[0] == blue[0] < lime[0] == cyan[0]
    assert red[1] == lime[1] < blue[1] == cyan[1]


def test_labels_are_drawn_and_nothing_is_cut_off_at_the_border():
    drawn = np.asarray(sheet.draw("Mira", ["seed 1", "seed 2"], [group("word " * 60), group()]))
    border = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (border == 255).all(), "something reaches the border"
    with_text = sheet.draw("Mira", ["seed 1", "seed 2"], [group("x")])
    without = sheet.draw("Mira", ["seed 1", "seed 2"], [group(" ")])
    assert with_text.size == without.size
    assert np.asarray(with_text).tobytes() != np.asarray(without).tobytes()


def test_a_long_prompt_takes_more_lines():
    short, long = sheet.draw("", ["1", "2"], [group()]), sheet.draw("", ["1", "2"], [group("word " * 60)])
    assert long.height > short.height
    assert long.width == short.width
