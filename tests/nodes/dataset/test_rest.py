"""Data sets over HTTP, on a real ComfyUI."""

from __future__ import annotations

import http.client
import io
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from typing import NamedTuple

import psutil
import pytest
from PIL import Image

from isengard.tests.comfyui.server import DIRECT

pytestmark = pytest.mark.comfyui

JSON, ZIP, BYTES = "application/json", "application/zip", "application/octet-stream"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@pytest.fixture
def ask(comfyui):
    """A function that sends a request and gives the answer, whatever its status."""

    def ask(method: str, path: str, body=None, kind: str = JSON, **headers) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Content-Type": kind} if data is not None else {}
        request = urllib.request.Request(f"{comfyui.url}/isengard/datasets{path}", data, sent, method=method)
        try:
            with DIRECT.open(request, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    return ask


@pytest.fixture
def name(request, comfyui):
    """Of a data set for this test; and all that was there before is there afterwards, with nothing half-made."""
    inputs, named = comfyui.base / "input", re.sub(r"\W+", " ", request.node.name).strip()[:60]
    before = {path.name for path in inputs.iterdir()}
    yield named
    after = {path.name for path in inputs.iterdir()}
    assert before <= after
    assert [path for path in after - before if path.startswith(".")] == []


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "png")
    return buffer.getvalue()


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for inside, content in contents.items():
            archive.writestr(inside, content)
    return buffer.getvalue()


def quoted(name: str) -> str:
    return urllib.parse.quote(name)


def options(comfyui) -> list[str]:
    """Of the node's drop-down."""
    with DIRECT.open(f"{comfyui.url}/object_info/IsengardLoadDataset", timeout=60) as answer:
        declared = json.load(answer)["IsengardLoadDataset"]["input"]["required"]["folder"]
    return declared[0] if isinstance(declared[0], list) else declared[1]["options"]


def test_an_archive_becomes_a_data_set(ask, comfyui, name):
    data = packed({"a/01.png": picture(), "a/01.txt": b"mira", "a/notes.docx": b"x"})
    made = ask("POST", f"?name={quoted(name)}", data, ZIP)
    assert (made.status, made.json) == (201, {"name": name, "pictures": 1, "left_out": ["a/notes.docx"]})
    assert {path.name for path in (comfyui.base / "input" / name).iterdir()} == {"01.png", "01.txt"}
    assert name in options(comfyui)
    assert {"name": name, "pictures": 1} in ask("GET", "").json["datasets"]
    again = ask("POST", f"?name={quoted(name)}", data, ZIP)
    assert again.json["name"] == f"{name}-2"
    replaced = ask("POST", f"?name={quoted(name)}&replace=true", packed({"02.png": picture()}), ZIP)
    assert replaced.json["name"] == name
    assert [path.name for path in (comfyui.base / "input" / name).iterdir()] == ["02.png"]


def test_files_become_a_data_set_when_all_are_there(ask, comfyui, name):
    files = {f"{name}/01.png": picture(), f"{name}/a.docx": b"x", f"{name}/x/01.txt": b"mira"}
    listed = [{"name": path, "size": len(content)} for path, content in files.items()]
    begun = ask("POST", "/uploads", {"files": listed})
    assert (begun.status, begun.json["wanted"], begun.json["left_out"]) == (201, [0, 2], [f"{name}/a.docx"])
    place = f"/uploads/{begun.json['id']}"
    data, half = picture() + b"mira", len(picture()) // 2
    assert ask("PUT", place, data[:half], BYTES).json == {"received": half}
    assert ask("POST", place, {}).status == 409
    assert ask("PUT", f"{place}?from={half}", data[half:], BYTES).json == {"received": len(data)}
    assert name not in options(comfyui)
    done = ask("POST", place, {})
    assert (done.status, done.json) == (201, {"name": name, "pictures": 1, "left_out": [f"{name}/a.docx"]})
    assert (comfyui.base / "input" / name / "x" / "01.txt").read_bytes() == b"mira"
    assert name in options(comfyui)


def test_an_archive_comes_in_pieces(ask, comfyui, name):
    data = packed({"01.png": picture()})
    begun = ask("POST", "/uploads", {"files": [{"name": "x.zip", "size": len(data)}], "name": name}).json
    for start in range(0, len(data), 100):
        ask("PUT", f"/uploads/{begun['id']}?from={start}", data[start : start + 100], BYTES)
    assert ask("POST", f"/uploads/{begun['id']}", {}).json["name"] == name
    assert (comfyui.base / "input" / name / "01.png").read_bytes() == picture()


def test_what_is_cancelled_leaves_nothing(ask, comfyui, name):
    begun = ask("POST", "/uploads", {"files": [{"name": f"{name}/01.png", "size": 4}]}).json
    place = f"/uploads/{begun['id']}"
    ask("PUT", place, b"ab", BYTES)
    assert ask("DELETE", place).status == 200
    assert ask("PUT", f"{place}?from=2", b"cd", BYTES).status == 404
    assert ask("DELETE", place).status == 404


@pytest.mark.parametrize("silently", [False, True])
def test_a_connection_that_breaks_does_no_harm(ask, comfyui, name, silently):
    before = len(comfyui.log())
    begun = ask("POST", "/uploads", {"files": [{"name": f"{name}/01.png", "size": 10}]}).json
    place, address = f"/uploads/{begun['id']}", urllib.parse.urlsplit(comfyui.url)
    broken = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    broken.putrequest("PUT", f"/isengard/datasets{place}")
    broken.putheader("Content-Type", BYTES)
    broken.putheader("Content-Length", "10")
    broken.endheaders()
    broken.sock.sendall(b"01234")
    time.sleep(0.3)
    if not silently:
        broken.close()
    assert ask("PUT", place, b"0123456789", BYTES).status == 200
    if silently:
        broken.sock.sendall(b"xxxxx")
        assert broken.getresponse().status == 409
    assert ask("POST", place, {}).status == 201
    assert ask("POST", place, {}).status == 201, "whose answer was lost asks again"
    assert (comfyui.base / "input" / name / "01.png").read_bytes() == b"0123456789"
    assert "Traceback" not in comfyui.log()[before:]


def test_a_large_body_is_not_held_in_memory(ask, comfyui, name):
    server, size = psutil.Process(comfyui.pid), 2**28
    begun = ask("POST", "/uploads", {"files": [{"name": f"{name}/01.png", "size": size}]}).json
    before = server.memory_info().rss
    assert ask("PUT", f"/uploads/{begun['id']}", bytes(size), BYTES).json == {"received": size}
    assert server.memory_info().rss - before < 2**26
    assert ask("DELETE", f"/uploads/{begun['id']}").status == 200


ONE = {"files": [{"name": "a.png", "size": 1}]}


@pytest.mark.parametrize(
    "method, path, body, kind, status, message",
    [
        ("POST", "", b"no zip", ZIP, 400, "no zip file that can be read"),
        ("POST", "", packed({"../a.png": b"x"}), ZIP, 400, "leads out of it"),
        ("POST", "", packed({"a.doc": b"x"}), ZIP, 400, "no picture among 1 files: a.doc"),
        ("POST", "", packed({"a?.png": b"x"}), ZIP, 400, "cannot be a file name"),
        ("POST", "", b"x", "multipart/form-data", 415, "send application/zip"),
        ("POST", "", b"x", "text/plain", 415, "send application/zip"),
        ("POST", "?name=..", packed({"a.png": b"x"}), ZIP, 400, "not a plain name"),
        ("POST", "?name=a%2Fb", packed({"a.png": b"x"}), ZIP, 400, "not that of a folder"),
        ("POST", "?replace=yes", packed({"a.png": b"x"}), ZIP, 400, "give true or false"),
        ("POST", "/uploads", {}, JSON, 400, "files are missing"),
        ("POST", "/uploads", {"files": []}, JSON, 400, "files are missing"),
        ("POST", "/uploads", {"files": ["a.png"]}, JSON, 400, "'a.png' is no file"),
        ("POST", "/uploads", {"files": [{"name": "a.png", "size": -1}]}, JSON, 400, "is no file"),
        ("POST", "/uploads", {"files": [{"name": "a.png", "size": True}]}, JSON, 400, "is no file"),
        ("POST", "/uploads", {"files": [{"name": "../a.png", "size": 1}]}, JSON, 400, "not a plain name"),
        ("POST", "/uploads", {"files": [{"name": "\ud800.png", "size": 1}]}, JSON, 400, "cannot be a file name"),
        ("POST", "/uploads", {"files": [{"name": "a.zip", "size": 2**40}]}, JSON, 400, "at most"),
        ("POST", "/uploads", {**ONE, "name": 3}, JSON, 400, "send text"),
        ("POST", "/uploads", {**ONE, "replace": "x"}, JSON, 400, "send text, and true or false"),
        ("POST", "/uploads", {**ONE, "x": 1}, JSON, 400, "no field 'x'"),
        ("POST", "/uploads", b"{}", "text/plain", 415, "send application/json"),
        ("POST", "/uploads", b"[" * 100_000, JSON, 400, "no JSON"),
        ("POST", "/uploads/nobody", {}, JSON, 404, "no such upload"),
        ("POST", "/uploads/nobody", b"", "text/plain", 415, "send application/json"),
        ("PUT", "/uploads/nobody", b"x", BYTES, 404, "no such upload"),
        ("PUT", "/uploads/nobody?from=-1", b"x", BYTES, 400, "from is '-1'"),
        ("PUT", "/uploads/nobody", b"x", "text/plain", 415, "send application/octet-stream"),
        ("DELETE", "/uploads/nobody", None, "", 404, "no such upload"),
    ],
)
def test_what_cannot_be_is_answered_with_why(ask, name, method, path, body, kind, status, message):
    answer = ask(method, path, body, kind)
    assert (answer.status, message in answer.json["error"]) == (status, True), answer.body


def test_nothing_is_changed_for_a_page_of_another_site(ask):
    """A browser asks first (a preflight), and ComfyUI does not let it."""
    for method, path in (("POST", ""), ("POST", "/uploads"), ("PUT", "/uploads/x"), ("DELETE", "/uploads/x")):
        asked = ask(
            "OPTIONS", path, Origin="http://evil.example", Access_Control_Request_Method=method,
            Access_Control_Request_Headers="content-type",
        )  # fmt: skip
        assert "Access-Control-Allow-Origin" not in asked.headers
