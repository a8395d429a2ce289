import pytest

from isengard.nodes.dataset import folder
from isengard.nodes.dataset.records import HELD_OUT
from isengard.nodes.overview import report
from isengard.sota import sample_character

from .samples import captioned, dataset, sample


def told(samples, resolution=64):
    return report.gathered(dataset(*samples), resolution, 16)


def advised(samples, resolution=64):
    return "\n".join(told(samples, resolution).advice)


def test_the_sample_character():
    loaded = folder.load(sample_character.FOLDER, "mira").dataset
    text = report.text(report.gathered(loaded, 256, 64))
    assert text.startswith("mira: 20 pictures, 256 x 256 pixels\n\n## Worth a look\n\n- ")
    assert "View, by the words of 20 pictures: side in all; front, three-quarter and back in none." in text
    assert "| square       |       20 |" in text
    assert "| 256 x 256 |       20 |       20 |      0% |        0 |" in text
    assert "- In every one: background, facing, mira, shirt, woman." in text
    assert "| facing left" in text
    assert "enlarged for training" not in text
    assert "20 of 20 pictures are enlarged" in report.text(report.gathered(loaded, 512, 64))


def test_every_table_is_as_wide_in_all_its_lines():
    samples = [sample("a", (64, 48), captions=["a | pipe, b"]), sample("b", (640, 480))]
    tables = [line for line in report.text(told(samples)).splitlines() if line.startswith("|")]
    blocks = report.text(told(samples)).split("\n\n")
    assert len(tables) > 8
    for block in blocks:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) <= 1
        cells = {line.replace("\\|", "").count("|") for line in lines}
        assert len(cells) <= 1


def test_what_an_epoch_shows():
    text = report.text(told([sample("a", repeats=3, weight=0.5), sample("b"), sample("c", split=HELD_OUT)]))
    assert "An epoch shows 4 pictures, repeats included. By their weights they count as 2.5. 1 held out." in text


def test_an_empty_data_set_and_one_without_captions():
    assert report.text(told([])) == "hero: 0 pictures"
    assert told([]).advice == ()
    assert "There are none." in report.text(told([sample(captions=[])]))


@pytest.mark.parametrize(
    "samples, sentence",
    [
        (
            [sample("a"), sample("b", captions=[])],
            "1 of 2 pictures has no caption (b). Write some, or give a default one when you load them.",
        ),
        (
            [sample("a"), sample("b")],
            "2 pictures have the same caption, “mira, red” (a, b). Name what tells them apart.",
        ),
        (
            [sample("a", captions=["x y"]), sample("b", captions=["z"])],
            "No word is in every caption. A trigger word in all of them is what calls the character later.",
        ),
        (
            [sample("a", (32, 32)), sample("b", (64, 64), captions=["mira, blue"])],
            "1 of 2 pictures is enlarged for training at 64, up to 2.0 times (a at 32 x 32). Take larger ones, or "
            "train at a lower resolution.",
        ),
        (
            [sample("a", (500, 100))],
            "1 picture loses more than 20% at the edges, up to 67% (a at 500 x 100). Crop them yourself to a less "
            "oblong part.",
        ),
        (
            [sample("a", (64, 64)), sample("b", (64, 64)), sample("c", (96, 48))],
            "1 bucket has a single picture (c), which fills a batch alone. With a batch size above 1, crop to fewer "
            "shapes.",
        ),
    ],
)
def test_what_stands_out_is_told(samples, sentence):
    assert sentence in advised(samples)


def test_a_good_data_set_is_not_blamed():
    views, frames = ("front view", "three-quarter view", "side view", "from behind"), ("close-up", "full body")
    captions = [
        f"mira, {view}, {frame}, {more}, number {view} {frame}"
        for view in views
        for frame, more in zip(
            (*frames, "head and shoulders", "upper body"),
            (
                "eye level, smile, standing, day, indoors, shirt",
                "from above, sad, sitting, night, plain background, suit",
                "from below, serious, running, sunset, outdoors, kimono",
                "dutch angle, angry, arms crossed, soft light, in a street, bikini",
            ),
            strict=True,
        )
    ]
    pictures = captioned(*captions)
    assert report.gathered(pictures, 48, 8).advice == ()
    assert "- Nothing stands out." in report.text(report.gathered(pictures, 48, 8))


def test_many_doubled_captions_are_summed_up():
    names = [f"{text}{twice}" for text in range(6) for twice in "abc"[: 2 + text // 5]]
    samples = [sample(name, captions=[f"mira {name[0]}"]) for name in names]
    sentence = "3 pictures have the same caption, “mira 5” (5a, 5b, 5c). 5 more captions are on several."
    assert sentence in advised(samples)
    assert "1 more caption is on several." in advised(samples[:4])


def test_a_long_name_is_shortened():
    long = "folder/" * 9 + "0001.png"
    assert "(folder/f…folder/0001.png)" in advised([sample(long, captions=[])])
