"""The character library over HTTP, on a real ComfyUI."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from typing import NamedTuple

import pytest
from PIL import Image

from isengard.tests.comfyui.server import DIRECT

pytestmark = pytest.mark.comfyui


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

    def ask(method: str, path: str, body=None, kind: str = "application/json", **headers) -> Answer:
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Content-Type": kind} if data is not None else {}
        request = urllib.request.Request(f"{comfyui.url}/isengard/{path}", data, sent, method=method)
        try:
            with DIRECT.open(request, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    return ask


@pytest.fixture
def mira(ask, request):
    """A new character; gives its slug and ETag."""
    made = ask("POST", "characters", {"name": f"Mira {request.node.name[:40]}", "trigger": "mira"})
    assert made.status == 201
    return made.json["slug"], made.headers["ETag"]


def picture(size=(300, 200), colour="teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "png")
    return buffer.getvalue()


def test_a_character_is_made_read_listed_and_changed(ask, mira):
    slug, etag = mira
    assert ask("GET", f"characters/{slug}").json["trigger"] == "mira"
    assert slug in {each["slug"] for each in ask("GET", "characters").json["characters"]}
    changed = ask("PATCH", f"characters/{slug}", {"notes": "kind"}, If_Match=etag)
    assert (changed.status, changed.json["notes"], changed.json["trigger"]) == (200, "kind", "mira")
    assert changed.headers["ETag"] != etag
    assert ask("GET", f"characters/{slug}").json["notes"] == "kind"


def test_two_tabs_do_not_overwrite_each_other(ask, mira):
    slug, etag = mira
    assert ask("PATCH", f"characters/{slug}", {"notes": "first tab"}, If_Match=etag).status == 200
    second = ask("PATCH", f"characters/{slug}", {"notes": "second tab"}, If_Match=etag)
    assert second.status == 412
    assert "was changed meanwhile" in second.json["error"]
    assert ask("GET", f"characters/{slug}").json["notes"] == "first tab"
    assert ask("PATCH", f"characters/{slug}", {"notes": "x"}).status == 428
    assert ask("DELETE", f"characters/{slug}").status == 428
    assert ask("DELETE", f"characters/{slug}", If_Match=etag).status == 412


def test_what_is_known_already_is_not_sent_again(ask, mira):
    slug, etag = mira
    assert ask("GET", f"characters/{slug}", If_None_Match=etag).status == 304
    ask("PATCH", f"characters/{slug}", {"notes": "x"}, If_Match=etag)
    assert ask("GET", f"characters/{slug}", If_None_Match=etag).status == 200


def test_pictures_are_uploaded_shown_and_taken_away(ask, mira):
    slug, _ = mira
    added = ask("POST", f"characters/{slug}/references?name=a%20b.png&caption=mira", picture(), "image/png")
    (reference,) = added.json["references"]
    assert (added.status, reference["file"], reference["caption"]) == (201, "a-b.png", "mira")
    whole = ask("GET", f"characters/{slug}/references/a-b.png")
    assert (whole.body, whole.headers["Content-Type"]) == (picture(), "image/png")
    small = ask("GET", f"characters/{slug}/references/a-b.png?side=64")
    assert Image.open(io.BytesIO(small.body)).size == (64, 43)
    left = ask("DELETE", f"characters/{slug}/references/a-b.png", If_Match=added.headers["ETag"])
    assert (left.status, left.json["references"]) == (200, [])
    assert ask("GET", f"characters/{slug}/references/a-b.png").status == 404


def test_a_lora_becomes_a_version_and_one_is_chosen(ask, comfyui, mira):
    slug, _ = mira
    (comfyui.base / "models" / "loras" / "of the library.safetensors").write_bytes(b"weights")
    for score in (0.5, 0.6):
        body = {"lora_name": "of the library.safetensors", "run": "r", "scores": {"likeness": score}}
        added = ask("POST", f"characters/{slug}/versions", body)
    assert (added.status, added.json["version"]) == (201, "v2")
    chosen = ask("PATCH", f"characters/{slug}", {"chosen": "v1"}, If_Match=added.headers["ETag"])
    assert chosen.json["version"] == "v1"
    wrong = ask("PATCH", f"characters/{slug}", {"chosen": "v7"}, If_Match=chosen.headers["ETag"])
    assert (wrong.status, "no version v7" in wrong.json["error"]) == (400, True)


def test_an_archive_is_sent_and_read(ask, mira):
    slug, _ = mira
    ask("POST", f"characters/{slug}/references?name=a.png", picture(), "image/png")
    packed = ask("GET", f"characters/{slug}/archive")
    assert packed.headers["Content-Type"] == "application/zip"
    back = ask("POST", "characters/import", packed.body, "application/zip")
    assert (back.status, back.json["trigger"], len(back.json["references"])) == (201, "mira", 1)
    assert back.json["slug"] != slug
    assert ask("POST", "characters/import", b"no zip", "application/zip").status == 400


def test_the_trash_gives_back_until_it_is_emptied(ask, mira):
    slug, etag = mira
    trashed = ask("DELETE", f"characters/{slug}", If_Match=etag).json["trashed"]
    assert ask("GET", f"characters/{slug}").status == 404
    assert trashed in ask("GET", "trash").json["trash"]
    assert ask("POST", f"trash/{trashed}/restore", {}).json["slug"] == slug
    etag = ask("GET", f"characters/{slug}").headers["ETag"]
    ask("DELETE", f"characters/{slug}", If_Match=etag)
    assert ask("DELETE", "trash").json == {"trash": []}
    assert ask("GET", "trash").json == {"trash": []}


@pytest.mark.parametrize(
    "method, path, body, kind, status, message",
    [
        ("POST", "characters", {"name": ""}, "application/json", 400, "needs a name"),
        ("POST", "characters", {"name": "x", "slug": "y"}, "application/json", 400, "no field 'slug'"),
        ("POST", "characters", {"name": 3}, "application/json", 400, "has to be text"),
        ("POST", "characters", ["x"], "application/json", 400, "send an object"),
        ("POST", "characters", b"{", "application/json", 400, "no JSON"),
        ("POST", "characters", b"name=x", "application/x-www-form-urlencoded", 415, "send application/json"),
        ("POST", "characters", b"{}", "text/plain", 415, "send application/json"),
        ("POST", "characters/{slug}/references", b"x", "multipart/form-data", 415, "send image/"),
        ("POST", "characters/{slug}/references", b"<html>", "image/png", 400, "not a picture"),
        ("POST", "characters/{slug}/versions", {"lora_name": "../x"}, "application/json", 404, "no LoRA '../x'"),
        ("POST", "characters/{slug}/versions", {"scores": {"a": "b"}}, "application/json", 400, "object of numbers"),
        ("GET", "characters/nobody", None, "", 404, "no character 'nobody'"),
        ("GET", "characters/..%2F..", None, "", 404, "no character's folder name"),
        ("GET", "characters/{slug}/references/..%2Fcharacter.yaml", None, "", 404, "has no reference"),
        ("GET", "characters/{slug}/references/character.yaml", None, "", 404, "has no reference"),
        ("POST", "trash/..%2F..%2Fx/restore", {}, "application/json", 404, "in the trash"),
    ],
)
def test_what_cannot_be_is_answered_with_why(ask, mira, method, path, body, kind, status, message):
    answer = ask(method, path.format(slug=mira[0]), body, kind)
    assert (answer.status, message in answer.json["error"]) == (status, True), answer.body


def test_nothing_is_changed_for_a_page_of_another_site(ask, mira):
    """A browser asks first (a preflight), and ComfyUI does not let it."""
    slug, etag = mira
    for method, path in (("DELETE", f"characters/{slug}"), ("PATCH", f"characters/{slug}"), ("POST", "characters")):
        asked = ask(
            "OPTIONS", path, Origin="http://evil.example", Access_Control_Request_Method=method,
            Access_Control_Request_Headers="content-type,if-match",
        )  # fmt: skip
        assert "Access-Control-Allow-Origin" not in asked.headers
