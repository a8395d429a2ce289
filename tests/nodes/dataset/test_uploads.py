"""Data sets that come in piece by piece."""

from __future__ import annotations

import io
import threading
import zipfile

import pytest

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


def send(taken: Uploads, id: str, number: int, *blocks: bytes, start: int = 0) -> None:
    with taken.receiving(id, number, start) as write:
        for block in blocks:
            write(block)


def send_all(taken: Uploads, id: str, files: dict[str, bytes] = FILES) -> None:
    for number, (name, content) in enumerate(files.items()):
        if not name.endswith("docx"):
            send(taken, id, number, content)


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
    assert list(upload.wanted) == [0, 2, 3]
    assert upload.left_out == ("hero/notes.docx",)
    send_all(taken, upload.id)
    assert visible(root) == []
    assert taken.finish(upload.id) == Added("hero", 2, ("hero/notes.docx",))
    assert below(root) == {"hero/01.png": b"first", "hero/01.txt": b"mira", "hero/x/02.png": b"second"}
    assert list(root.iterdir()) == [root / "hero"]
    with pytest.raises(UnknownUpload, match="no such upload"):
        taken.finish(upload.id)


def test_a_file_may_come_in_pieces(taken, root):
    id = begun(taken, {"a.png": b"0123456789"})
    send(taken, id, 0, b"01", b"2")
    send(taken, id, 0, b"3456", start=3)
    send(taken, id, 0, b"789", start=7)
    taken.finish(id)
    assert below(root) == {"dataset/a.png": b"0123456789"}


def test_a_piece_that_did_not_come_whole_is_sent_again(taken, root):
    id = begun(taken, {"a.png": b"0123456789"})
    with pytest.raises(ConnectionError), taken.receiving(id, 0, 0) as write:
        write(b"0123")
        raise ConnectionError
    with pytest.raises(OutOfTurn, match="'a.png' did not come whole: 4 of 10 bytes"):
        taken.finish(id)
    send(taken, id, 0, b"01234", start=0)
    send(taken, id, 0, b"56789", start=5)
    taken.finish(id)
    assert below(root) == {"dataset/a.png": b"0123456789"}


def test_a_gap_is_refused(taken):
    id = begun(taken, {"a.png": b"0123456789"})
    send(taken, id, 0, b"012")
    with pytest.raises(OutOfTurn, match="byte 3 is the next; got a piece that begins at 5"):
        send(taken, id, 0, b"56789", start=5)


def test_more_than_was_offered_is_refused(taken):
    id = begun(taken, {"a.png": b"0123"})
    with pytest.raises(IncomingError, match="'a.png' has more than the 4 bytes"):
        send(taken, id, 0, b"0123", b"4")
    with pytest.raises(IncomingError, match="more than the 4 bytes"):
        send(taken, id, 0, b"34", start=3)


def test_a_file_that_was_left_out_is_not_taken(taken):
    id = begun(taken, FILES)
    for number in (1, 4, -1):
        with pytest.raises(UnknownUpload, match=f"file {number} of the upload is not wanted"):
            send(taken, id, number, b"x")


def test_one_file_is_sent_once_at_a_time(taken):
    id = begun(taken, FILES)
    with taken.receiving(id, 0, 0), pytest.raises(OutOfTurn, match="another piece of file 0 is still coming"):
        send(taken, id, 0, b"x")
    send(taken, id, 0, b"x")


def test_missing_files_are_told_and_may_follow(taken, root):
    id = begun(taken, FILES)
    send(taken, id, 0, FILES["hero/01.png"])
    with pytest.raises(OutOfTurn, match="'hero/01.txt' did not come whole: 0 of 4 bytes. Send the rest"):
        taken.finish(id)
    assert visible(root) == []
    send_all(taken, id)
    assert taken.finish(id).name == "hero"


def test_an_empty_file_has_to_come_too(taken, root):
    id = begun(taken, {"a.png": b"x", "a.txt": b""})
    send(taken, id, 0, b"x")
    with pytest.raises(OutOfTurn, match="'a.txt' did not come whole"):
        taken.finish(id)
    send(taken, id, 1)
    taken.finish(id)
    assert below(root)["dataset/a.txt"] == b""


def test_an_upload_does_not_end_while_a_file_is_coming(taken):
    id = begun(taken, {"a.png": b"x"})
    send(taken, id, 0, b"x")
    with taken.receiving(id, 0, 0) as write:
        with pytest.raises(OutOfTurn, match="1 files are still coming"):
            taken.finish(id)
        write(b"x")
    assert taken.finish(id).pictures == 1


def test_an_archive_is_unpacked_at_the_end(taken, root):
    data = packed({"hero/01.png": b"x", "hero/notes.docx": b"x"})
    upload = taken.begin([Offered("my hero.ZIP", len(data))])
    assert (list(upload.wanted), upload.left_out) == ([0], ())
    send(taken, upload.id, 0, data[:50])
    send(taken, upload.id, 0, data[50:], start=50)
    assert taken.finish(upload.id) == Added("my hero", 1, ("hero/notes.docx",))
    assert below(root) == {"my hero/01.png": b"x"}


def test_an_archive_that_is_none_leaves_nothing(taken, root):
    id = begun(taken, {"a.zip": b"no zip"})
    send(taken, id, 0, b"no zip")
    with pytest.raises(ZipError, match="no zip file that can be read"):
        taken.finish(id)
    assert list(root.iterdir()) == []
    with pytest.raises(UnknownUpload):
        taken.finish(id)


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
        send(taken, id, 0, content)
        assert taken.finish(id).name == "mine"
    assert below(root) == {"mine/a.png": b"new"}


def test_what_is_cancelled_leaves_nothing(taken, root):
    id = begun(taken, FILES)
    send(taken, id, 0, b"first")
    taken.cancel(id)
    assert list(root.iterdir()) == []
    for ask in (taken.cancel, taken.finish, lambda id: send(taken, id, 0, b"first")):
        with pytest.raises(UnknownUpload):
            ask(id)


def test_what_is_cancelled_while_a_file_comes_leaves_nothing(taken, root):
    id = begun(taken, FILES)
    with pytest.raises(Cancelled), taken.receiving(id, 0, 0) as write, taken.receiving(id, 3, 0):
        write(b"fi")
        taken.cancel(id)
        write(b"rst")
    assert list(root.iterdir()) == []


def test_what_is_cancelled_while_it_is_unpacked_leaves_nothing(taken, root, monkeypatch):
    data = packed({f"{number}.png": b"x" for number in range(50)})
    id = begun(taken, {"a.zip": data})
    send(taken, id, 0, data)
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
    with pytest.raises(OutOfTurn, match="being finished already"):
        taken.finish(id)
    taken.cancel(id)
    go_on.set()
    thread.join(20)
    assert isinstance(raised[0], Cancelled)
    assert list(root.iterdir()) == []


def test_uploads_that_nobody_goes_on_with_are_dropped(taken, root):
    old = taken.begin([Offered("a.png", 1)])
    old.used -= 2 * 3600
    id = begun(taken, {"b.png": b"x"})
    with pytest.raises(UnknownUpload):
        send(taken, old.id, 0, b"x")
    send(taken, id, 0, b"x")
    taken.finish(id)
    assert [path.name for path in root.iterdir()] == ["dataset"]


def test_many_files_come_at_once(taken, root):
    files = {f"hero/{number}.png": bytes([number]) * 1000 for number in range(200)}
    id = begun(taken, files)
    waiting, failed = iter(enumerate(files.values())), []
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                each = next(waiting, None)
            if each is None:
                return
            try:
                send(taken, id, each[0], each[1])
            except Exception as error:  # noqa: BLE001
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert taken.finish(id).pictures == 200
    assert below(root) == files
