"""The character library over HTTP, for programs and the editor.

Nothing changes by GET. What changes takes JSON, a picture or an archive as its body, or a method of its own: a page of
another site cannot send these without a browser asking ComfyUI first. A change of what may have changed meanwhile wants
the state's ETag in If-Match (RFC 9110, section 13.1.1), so that two tabs do not overwrite each other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from ..dataset import images
from ..rest import ZIP, Handler, Refused, answered, check_type, json_object, save_body
from . import archive, records
from .library import REFERENCES, Conflict, Library, Stored, UnknownCharacter
from .records import CharacterError

ROOT = "/isengard/characters"
TRASH = "/isengard/trash"
_FIELDS = ("name", "trigger", "class_noun", "description", "notes", "chosen")
_ABOUT = ("run", "base", "note", "scores")
_SIDES = (64, 512)  # of a thumbnail, in pixels


def handlers(library: Callable[[], Library], find_lora: Callable[[str], Path | None]) -> list[tuple[str, str, Handler]]:
    """Method, path and handler of each address. find_lora: gives the file of a name in ComfyUI's LoRA folders."""
    one, reference = f"{ROOT}/{{slug}}", f"{ROOT}/{{slug}}/references/{{file}}"
    made = _Handlers(library, find_lora)
    return [
        ("GET", ROOT, made.listed),
        ("POST", ROOT, made.created),
        ("POST", f"{ROOT}/import", made.imported),
        ("GET", one, made.shown),
        ("PATCH", one, made.changed),
        ("DELETE", one, made.deleted),
        ("GET", f"{one}/archive", made.exported),
        ("POST", f"{one}/references", made.uploaded),
        ("GET", reference, made.picture),
        ("DELETE", reference, made.picture_removed),
        ("POST", f"{one}/versions", made.version_added),
        ("GET", TRASH, made.trash),
        ("POST", f"{TRASH}/{{name}}/restore", made.restored),
        ("DELETE", TRASH, made.emptied),
    ]


_answered = answered({UnknownCharacter: 404, Conflict: 412, CharacterError: 400, images.UnreadableImage: 400})


class _Handlers:
    def __init__(self, library: Callable[[], Library], find_lora: Callable[[str], Path | None]):
        self._library, self._find_lora = library, find_lora

    @_answered
    async def listed(self, request: web.Request) -> web.Response:
        return web.json_response({"characters": await asyncio.to_thread(_all, self._library())})

    @_answered
    async def created(self, request: web.Request) -> web.Response:
        fields = await _json(request, _FIELDS[:-1])
        stored = await asyncio.to_thread(lambda: self._library().create(fields.pop("name", ""), **fields))
        return _one(stored, 201)

    @_answered
    async def shown(self, request: web.Request) -> web.StreamResponse:
        stored = await asyncio.to_thread(self._library().get, request.match_info["slug"])
        if request.headers.get("If-None-Match") == f'"{stored.etag}"':
            return web.Response(status=304, headers={"ETag": f'"{stored.etag}"'})
        return _one(stored)

    @_answered
    async def changed(self, request: web.Request) -> web.Response:
        fields, etag = await _json(request, _FIELDS), _if_match(request)
        change = functools.partial(_with, fields)
        return _one(await asyncio.to_thread(self._library().update, request.match_info["slug"], change, etag))

    @_answered
    async def deleted(self, request: web.Request) -> web.Response:
        etag = _if_match(request)
        trashed = await asyncio.to_thread(self._library().delete, request.match_info["slug"], etag)
        return web.json_response({"trashed": trashed})

    @_answered
    async def exported(self, request: web.Request) -> web.StreamResponse:
        slug = request.match_info["slug"]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{slug}.zip"
            await asyncio.to_thread(archive.write, self._library(), slug, file)
            return await _download(request, file)

    @_answered
    async def imported(self, request: web.Request) -> web.Response:
        check_type(request, ZIP)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "import.zip"
            await save_body(request, file)
            return _one(await asyncio.to_thread(archive.read, self._library(), file), 201)

    @_answered
    async def uploaded(self, request: web.Request) -> web.Response:
        """The body is the picture's file; ?name= its name, ?caption= what it shows."""
        check_type(request, "image/")
        data = await request.read()
        await asyncio.to_thread(images.decode, data)
        name, caption = request.query.get("name", "picture"), request.query.get("caption", "")
        add = self._library().add_reference
        return _one(await asyncio.to_thread(add, request.match_info["slug"], name, data, caption), 201)

    @_answered
    async def picture(self, request: web.Request) -> web.StreamResponse:
        """A reference's file, or with ?side= a thumbnail of at most so many pixels."""
        slug, file = request.match_info["slug"], request.match_info["file"]
        found = await asyncio.to_thread(_reference, self._library(), slug, file)
        side = request.query.get("side")
        if side is None:
            return web.FileResponse(found, headers={"X-Content-Type-Options": "nosniff"})
        if not side.isdecimal() or not _SIDES[0] <= int(side) <= _SIDES[1]:
            raise Refused(400, f"side is {side!r}; give a number from {_SIDES[0]} to {_SIDES[1]}.")
        body = await asyncio.to_thread(_thumbnail, found, int(side))
        return web.Response(body=body, content_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})

    @_answered
    async def picture_removed(self, request: web.Request) -> web.Response:
        etag, remove = _if_match(request), self._library().remove_reference
        slug, file = request.match_info["slug"], request.match_info["file"]
        return _one(await asyncio.to_thread(remove, slug, file, etag))

    @_answered
    async def version_added(self, request: web.Request) -> web.Response:
        about = await _json(request, ("lora_name", *_ABOUT))
        name = about.pop("lora_name", "")
        file = self._find_lora(name)
        if file is None:
            raise Refused(404, f"there is no LoRA '{name}' in ComfyUI's LoRA folders.")
        add = functools.partial(self._library().add_version, request.match_info["slug"], file, **about)
        return _one(await asyncio.to_thread(add), 201)

    @_answered
    async def trash(self, request: web.Request) -> web.Response:
        return web.json_response({"trash": await asyncio.to_thread(self._library().trash)})

    @_answered
    async def restored(self, request: web.Request) -> web.Response:
        await _json(request, ())
        return _one(await asyncio.to_thread(self._library().restore, request.match_info["name"]))

    @_answered
    async def emptied(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(self._library().empty_trash)
        return web.json_response({"trash": []})


def _all(library: Library) -> list[dict[str, Any]]:
    """Every character, without its lists; of one whose file is damaged the error."""
    found = []
    for slug in library.slugs():
        try:
            stored = library.get(slug)
        except CharacterError as error:
            found.append({"slug": slug, "error": str(error)})
            continue
        about = records.to_json(stored.character)
        first = next(iter(about.pop("references")), None)
        about |= {"versions": len(about["versions"]), "picture": first and first["file"], "etag": stored.etag}
        found.append(about)
    return found


def _with(fields: dict[str, Any], character: records.Character) -> records.Character:
    return dataclasses.replace(character, **fields)


def _one(stored: Stored, status: int = 200) -> web.Response:
    about = records.to_json(stored.character)
    return web.json_response(about, status=status, headers={"ETag": f'"{stored.etag}"'})


async def _json(request: web.Request, known: tuple[str, ...]) -> dict[str, Any]:
    """The body's fields. Raises Refused for another type of body, unknown fields, and fields that are not text."""
    fields = await json_object(request, known)
    for name, value in fields.items():
        if name == "scores":
            _check_scores(value)
        elif not isinstance(value, str):
            raise Refused(400, f"{name} is {value!r}; it has to be text.")
    return fields


def _check_scores(scores: Any) -> None:
    numbers = isinstance(scores, dict) and all(type(score) in (int, float) for score in scores.values())
    if not numbers:
        raise Refused(400, f"scores are {scores!r}; send an object of numbers.")


def _if_match(request: web.Request) -> str:
    """Raises Refused where the request does not say which state it is for (RFC 6585, section 3)."""
    etag = request.headers.get("If-Match", "").strip().strip('"')
    if not etag:
        raise Refused(428, "say which state you change: send its ETag in If-Match.")
    return etag


def _reference(library: Library, slug: str, file: str) -> Path:
    """Only of what the character names, so no other file can be asked for."""
    character = library.get(slug).character
    if file not in {reference.file for reference in character.references}:
        raise UnknownCharacter(f"'{slug}' has no reference '{file}'.")
    found = library.folder(slug) / REFERENCES / file
    inside = found.parent.resolve() == found.resolve().parent
    if not (inside and found.is_file() and found.suffix.lower() in images.SUFFIXES):
        raise UnknownCharacter(f"the file of reference '{file}' of '{slug}' is gone.")
    return found


def _thumbnail(file: Path, side: int) -> bytes:
    image, buffer = images.decode(file.read_bytes()), io.BytesIO()
    image.thumbnail((side, side))
    image.save(buffer, "webp", quality=80)
    return buffer.getvalue()


async def _download(request: web.Request, file: Path) -> web.StreamResponse:
    """Sent before its folder goes."""
    name = urllib.parse.quote(file.name)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Type": "application/zip"}
    response = web.StreamResponse(headers=headers)
    response.content_length = file.stat().st_size
    await response.prepare(request)
    with open(file, "rb") as source:
        while block := await asyncio.to_thread(source.read, 2**20):
            await response.write(block)
    await response.write_eof()
    return response
