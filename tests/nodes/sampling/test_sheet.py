import numpy as np
from PIL import Image

from isengard.nodes.sampling import sheet

SECTIONS = [sheet.Section("before", ("seed 1",)), sheet.Section("after", ("seed 1", "seed 2"))]
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


def row(prompt="a prompt", colours=tuple(COLOURS), size=(64, 48)):
    return sheet.Row(prompt, tuple(Image.new("RGB", size, colour) for colour in colours))


def box(drawn, rgb):
    """Left, upper, right, lower of a colour, which must fill its box."""
    mask = (np.asarray(drawn) == rgb).all(-1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_pictures_are_whole_and_side_by_side_in_their_sections():
    drawn = sheet.draw("Mira", SECTIONS, [row()])
    red, lime, blue = (box(drawn, colour) for colour in COLOURS.values())
    assert {(right - left, lower - upper) for left, upper, right, lower in (red, lime, blue)} == {(64, 48)}
    assert red[1] == lime[1] == blue[1]
    assert red[2] < lime[0]
    assert lime[2] < blue[0]
    assert lime[0] - red[2] > blue[0] - lime[2], "sections stand no further apart than columns"


def test_rows_stand_below_each_other():
    drawn = sheet.draw("Mira", SECTIONS, [row(), row(colours=("cyan", "cyan", "magenta"))])
    assert box(drawn, COLOURS["blue"])[3] < box(drawn, (255, 0, 255))[1]
    assert box(drawn, COLOURS["blue"])[0] == box(drawn, (255, 0, 255))[0]


def test_labels_are_drawn_and_nothing_is_cut_off_at_the_border():
    drawn = np.asarray(sheet.draw("Mira", SECTIONS, [row("word " * 60), row()]))
    border = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (border == 255).all(), "something reaches the border"


def test_every_text_is_drawn():
    full = sheet.draw("Mira", SECTIONS, [row("x")])
    for title, sections, rows in (
        ("", SECTIONS, [row("x")]),
        ("Mira", [sheet.Section("", SECTIONS[0].labels), SECTIONS[1]], [row("x")]),
        ("Mira", [SECTIONS[0], sheet.Section("after", ("seed 1", ""))], [row("x")]),
        ("Mira", SECTIONS, [row(" ")]),
    ):
        without = sheet.draw(title, sections, rows)
        assert without.size == full.size
        assert without.tobytes() != full.tobytes()


def test_a_prompt_in_another_script_is_drawn_as_such():
    """And not as boxes that are all alike."""
    one, other = (sheet.draw("", SECTIONS, [row(prompt)]) for prompt in ("Мира Вале", "Вале Мира"))
    assert one.tobytes() != other.tobytes()


def test_a_long_prompt_takes_more_lines():
    short, long = sheet.draw("", SECTIONS, [row()]), sheet.draw("", SECTIONS, [row("word " * 60)])
    assert long.height > short.height
    assert long.width == short.width
