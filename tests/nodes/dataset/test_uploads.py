"""Data sets that come in piece by piece."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isengard.nodes.dataset import incoming, uploads
from isengard.nodes.dataset.incoming import Added, IncomingError, NoSpace
from isengard.nodes.dataset.uploads import Cancelled, Offered, OutOfTurn, UnknownUpload, Uploads
from isengard.nodes.names import BadName
from isengard.nodes.zips import ZipError

FILES = {"hero/01.png": b"first", "hero/notes.docx": b"", "hero/01.txt": b"mira", "hero/x/02.png": b"second"}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "input"


@pytest.fixture
def taken(root):
    return Uploads(lambda: root)


def begun(taken: Uploads, files: dict[str, bytes], **more) -> str:
    return taken.begin([Offered(name, len(content)) for name, content in files.items()], **more).id


def send(taken: Uploads, id: str, *blocks: bytes, start: int = 0) -> None:
    with taken.receiving(id, start) as write:
        for block in blocks:
            write(block)


def whole(files: dict[str, bytes] = FILES) -> bytes:
    """What is to be sent."""
    return b"".join(content for name, content in files.items() if not name.endswith("docx"))


def below(root) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def visible(root) -> list[str]:
    return [path.name for path in root.iterdir() if path.name[0] != "."]


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_files_become_a_data_set_when_all_are_there(taken, root):
    upload = taken.begin([Offered(name, len(content)) for name, content in FILES.items()])
    assert [file.number for file in upload.wanted] == [0, 2, 3]
    assert upload.left_out == ("hero/notes.docx",)
    send(taken, upload.id, whole())
    assert visible(root) == []
    assert taken.finish(upload.id) == Added("hero", 2, ("hero/notes.docx",))
    assert below(root) == {"hero/01.png": b"first", "hero/01.txt": b"mira", "hero/x/02.png": b"second"}
    assert list(root.iterdir()) == [root / "hero"]
    assert taken.finish(upload.id) == Added("hero", 2, ("hero/notes.docx",)), "also for who asks again"
    assert list(root.iterdir()) == [root / "hero"]
    with pytest.raises(UnknownUpload, match="no such upload"):
        send(taken, upload.id, b"x")


CONTENTS = some.lists(some.binary(max_size=20), min_size=1, max_size=8)


@given(CONTENTS, some.lists(some.tuples(some.integers(1, 30), some.integers(0, 10), some.booleans()), max_size=40))
def test_files_arrive_whole_however_they_are_cut(contents, pieces):
    """Pieces of any length, of blocks of any length; some are broken off and sent again, some twice."""
    files = {f"{number}.png": content for number, content in enumerate(contents)}
    with tempfile.TemporaryDirectory() as folder:
        taken = Uploads(lambda: Path(folder))
        id, data, sent = begun(taken, files), whole(files), 0
        for length, cut, again in [*pieces, (len(data), 7, False)]:
            piece = data[sent : sent + length]
            with taken.receiving(id, sent) as write:
                write(piece[:cut])
                write(piece[cut:] if not again else b"")
            if again:
                send(taken, id, piece, start=sent)
            sent += len(piece)
        assert taken.finish(id).name == "dataset"
        assert below(Path(folder) / "dataset") == files


def test_a_piece_that_broke_off_is_sent_again(taken, root):
    id = begun(taken, FILES)
    send(taken, id, b"fir")
    with pytest.raises(ConnectionError), taken.receiving(id, 3) as write:
        write(b"stmirasec")
        raise ConnectionError
    with pytest.raises(OutOfTurn, match="12 of 15 bytes are there. Send the rest"):
        taken.finish(id)
    send(taken, id, whole()[3:], start=3)
    taken.finish(id)
    assert below(root / "hero") == {"01.png": b"first", "01.txt": b"mira", "x/02.png": b"second"}


def test_a_gap_is_refused(taken):
    id = begun(taken, FILES)
    send(taken, id, b"fir")
    with pytest.raises(OutOfTurn, match="byte 3 is the next; got a piece that begins at 5"):
        send(taken, id, b"mira", start=5)


def test_more_than_was_offered_is_refused(taken, root):
    id = begun(taken, FILES)
    with pytest.raises(IncomingError, match="got more than the 15 bytes that were offered"):
        send(taken, id, whole(), b"x")
    with pytest.raises(IncomingError, match="more than the 15 bytes"):
        send(taken, id, b"xx", start=14)
    send(taken, id, b"d", start=14)
    taken.finish(id)
    assert below(root)["hero/x/02.png"] == b"second"


def test_a_piece_takes_the_place_of_one_that_still_comes(taken, root):
    """Its connection went silently: nothing tells the server."""
    id = begun(taken, FILES)
    with pytest.raises(OutOfTurn, match="another piece came in place"), taken.receiving(id, 0) as write:
        write(b"first and")
        send(taken, id, b"stm", start=3)
        write(b" last")
    with pytest.raises(OutOfTurn, match="6 of 15 bytes"):
        taken.finish(id)
    with taken.receiving(id, 6) as write:
        write(whole()[6:])
        with pytest.raises(OutOfTurn, match="Send the rest"):
            taken.finish(id)  # the piece could write more
    taken.finish(id)
    assert below(root / "hero") == {"01.png": b"first", "01.txt": b"mira", "x/02.png": b"second"}


def test_what_the_disk_did_not_take_has_to_come_again(taken, root, monkeypatch):
    class Full(io.BytesIO):
        def write(self, block):
            raise OSError(28, "No space left on device")

    id, opened = begun(taken, FILES), uploads._opened_at
    send(taken, id, b"fi")
    monkeypatch.setattr(
        uploads, "_opened_at", lambda file, start: Full() if file.suffix == ".txt" else opened(file, start)
    )
    with pytest.raises(OSError, match="No space left"):
        send(taken, id, whole()[2:], start=2)
    monkeypatch.setattr(uploads, "_opened_at", opened)
    with pytest.raises(OutOfTurn, match="byte 2 is the next"):
        send(taken, id, whole()[5:], start=5)
    send(taken, id, whole()[2:], start=2)
    taken.finish(id)
    assert below(root / "hero") == {"01.png": b"first", "01.txt": b"mira", "x/02.png": b"second"}


def test_empty_files_are_there_too(taken, root):
    id = begun(taken, {"0.txt": b"", "a.png": b"", "x/b.txt": b""})
    taken.finish(id)
    assert below(root) == {"dataset/0.txt": b"", "dataset/a.png": b"", "dataset/x/b.txt": b""}


def test_an_archive_is_unpacked_at_the_end(taken, root):
    data = packed({"hero/01.png": b"x", "hero/notes.docx": b"x"})
    upload = taken.begin([Offered("my hero.ZIP", len(data))])
    assert ([file.number for file in upload.wanted], upload.left_out) == ([0], ())
    send(taken, upload.id, data[:50])
    send(taken, upload.id, data[50:], start=50)
    assert taken.finish(upload.id) == Added("my hero", 1, ("hero/notes.docx",))
    assert below(root) == {"my hero/01.png": b"x"}


def test_an_archive_that_is_none_leaves_nothing(taken, root):
    id = begun(taken, {"a.zip": b"no zip"})
    send(taken, id, b"no zip")
    for _ in range(2):  # asked again it tells the same
        with pytest.raises(ZipError, match="no zip file that can be read"):
            taken.finish(id)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "files, more, error, message",
    [
        ({"../a.png": b""}, {}, BadName, "not a plain name"),
        ({"a.heic": b""}, {}, IncomingError, "no picture among 1 files: a.heic"),
        ({"a.zip": b"", "b.zip": b""}, {}, IncomingError, "no picture among 2 files: a.zip; b.zip"),
        ({"a.png": b""}, {"name": "../x"}, BadName, "not a plain name"),
        ({"a.png": b""}, {"name": "a/b"}, IncomingError, "not that of a folder"),
    ],
)
def test_what_would_not_be_taken_is_refused_before_it_is_sent(taken, root, files, more, error, message):
    with pytest.raises(error, match=message):
        begun(taken, files, **more)
    assert not root.exists()


def test_two_files_of_one_name_are_refused(taken):
    with pytest.raises(IncomingError, match="two of the 2 files have the same name"):
        taken.begin([Offered("a.png", 1), Offered("a.png", 1)])


def test_more_than_fits_is_refused(taken):
    with pytest.raises(IncomingError, match="1 files of 128.0 GB; at most 200000 of 64 GB"):
        taken.begin([Offered("a.zip", 2**37)])
    with pytest.raises(IncomingError, match="these are 200001 files"):
        taken.begin([Offered(f"{number}.png", 1) for number in range(200_001)])


def test_a_disk_without_room_is_told(taken, root, monkeypatch):
    monkeypatch.setattr(incoming, "_SPARE", 2**60)
    with pytest.raises(NoSpace):
        begun(taken, FILES)
    assert list(root.iterdir()) == []


def test_a_name_may_be_given_and_replaced(taken, root):
    for content in (b"old", b"new"):
        id = begun(taken, {"x/a.png": content}, name="mine", replace=True)
        send(taken, id, content)
        assert taken.finish(id).name == "mine"
    assert below(root) == {"mine/a.png": b"new"}


def test_what_is_cancelled_leaves_nothing(taken, root):
    id = begun(taken, FILES)
    send(taken, id, b"first")
    taken.cancel(id)
    assert list(root.iterdir()) == []
    for ask in (taken.cancel, taken.finish, lambda id: send(taken, id, b"first")):
        with pytest.raises(UnknownUpload):
            ask(id)


def test_what_is_cancelled_while_a_file_comes_leaves_nothing(taken, root):
    id = begun(taken, FILES)
    with pytest.raises(Cancelled), taken.receiving(id, 0) as write:
        write(b"fi")
        taken.cancel(id)
        assert list(root.iterdir()) == [], "also where nothing comes any more"
        write(b"rst")
    assert list(root.iterdir()) == []


def test_what_is_cancelled_while_it_is_unpacked_leaves_nothing(taken, root, monkeypatch):
    data = packed({f"{number}.png": b"x" for number in range(50)})
    id = begun(taken, {"a.zip": data})
    send(taken, id, data)
    unpack, reached, go_on = uploads.archive.unpack, threading.Event(), threading.Event()

    def slowly(*arguments, progress):
        def halted(done, of):
            reached.set()
            assert go_on.wait(20)
            progress(done, of)

        return unpack(*arguments, progress=halted)

    monkeypatch.setattr(uploads.archive, "unpack", slowly)
    raised = []

    def finish():
        try:
            taken.finish(id)
        except IncomingError as error:
            raised.append(error)

    thread = threading.Thread(target=finish)
    thread.start()
    assert reached.wait(20)
    again = threading.Thread(target=finish)
    again.start()
    taken.cancel(id)
    go_on.set()
    thread.join(20)
    again.join(20)
    assert [type(each) for each in raised] == [Cancelled, Cancelled]
    assert list(root.iterdir()) == []


def test_what_is_asked_twice_is_finished_once(taken, root, monkeypatch):
    """A proxy gave the first connection up."""
    id, settle, go_on, added = begun(taken, FILES), incoming.settle, threading.Event(), []
    send(taken, id, whole())
    monkeypatch.setattr(incoming, "settle", lambda *all: go_on.wait(20) and settle(*all))
    threads = [threading.Thread(target=lambda: added.append(taken.finish(id))) for _ in range(3)]
    assert taken.outcome(id) is None
    for thread in threads:
        thread.start()
    while (outcome := taken.outcome(id)) is None:
        time.sleep(0.01)
    assert not outcome.cancel(), "who waits no longer ends it for all"
    assert not outcome.done()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert taken.outcome(id) is outcome and outcome.done()
    assert added == [Added("hero", 2, ("hero/notes.docx",))] * 3
    assert visible(root) == ["hero"]


def test_uploads_that_nobody_goes_on_with_are_dropped(taken, root):
    old = taken.begin([Offered("a.png", 1)])
    old.used -= 2 * 3600
    id = begun(taken, {"b.png": b"x"})
    with pytest.raises(UnknownUpload):
        send(taken, old.id, b"x")
    send(taken, id, b"x")
    taken.finish(id)
    assert [path.name for path in root.iterdir()] == ["dataset"]


def test_what_another_comfyui_left_behind_is_removed_and_what_it_still_gets_is_not(taken, root):
    other = Uploads(lambda: root)
    gone, going = (other.begin([Offered("a.png", 2)]) for _ in range(2))
    send(other, going.id, b"x")
    for upload in (gone, going):
        os.utime(upload.stage, (time.time() - 25 * 3600,) * 2)
    send(other, going.id, b"y", start=1)
    id = begun(taken, FILES)
    assert not gone.stage.exists() and going.stage.exists()
    taken.cancel(id)


def test_many_uploads_come_at_once(taken, root):
    """Each its own, whatever the others do."""
    contents = {
        f"hero{number}": {f"hero{number}/{n}.png": bytes([number, n]) * 99 for n in range(20)} for number in range(8)
    }
    failed = []

    def upload(files: dict[str, bytes]) -> None:
        try:
            id, data = begun(taken, files), whole(files)
            for start in range(0, len(data), 100):
                send(taken, id, data[start : start + 100], start=start)
            taken.finish(id)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=upload, args=(files,)) for files in contents.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert below(root) == {name: data for files in contents.values() for name, data in files.items()}
