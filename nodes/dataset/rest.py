"""Data sets over HTTP: what there is below ComfyUI's input folder, and new ones from an archive or from many files.

An archive comes as the body of one request:

    POST /isengard/datasets?name=hero                    the zip        -> {"name", "pictures", "left_out"}

Many files, or an archive whose progress shall be seen, come in pieces, as the bytes of all wanted files one after the
other (see uploads.py):

    POST /isengard/datasets/uploads                      {"files": [{"name", "size"}, …], "name", "replace"}
                                                                        -> {"id", "wanted", "left_out"}
    PUT /isengard/datasets/uploads/<id>?from=0           some bytes     -> {"received"}
    POST /isengard/datasets/uploads/<id>                 {}             -> {"name", "pictures", "left_out"}
    DELETE /isengard/datasets/uploads/<id>

Nothing changes by GET, and what changes takes JSON or a zip as its body, or a method of its own: a page of another site
cannot send these without a browser asking ComfyUI first.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import zips
from ..names import BadName
from ..rest import BYTES, ZIP, Handler, Refused, answered, check_type, json_object, save_body
from . import archive, folder, incoming
from .incoming import IncomingError, NoSpace
from .uploads import Cancelled, Offered, OutOfTurn, UnknownUpload, Uploads

ROOT = "/isengard/datasets"
UPLOADS = f"{ROOT}/uploads"
_BLOCK = 2**20
_STATUSES = {
    UnknownUpload: 404,
    OutOfTurn: 409,
    Cancelled: 409,
    NoSpace: 507,
    IncomingError: 400,
    zips.ZipError: 400,
    BadName: 400,
    OSError: 500,  # a disk that is full after all, or may not be written to
}
_answered = answered(_STATUSES)


def handlers(root: Callable[[], Path]) -> list[tuple[str, str, Handler]]:
    """Method, path and handler of each address. root: gives ComfyUI's input folder."""
    made = _Handlers(root)
    return [
        ("GET", ROOT, made.listed),
        ("POST", ROOT, made.unpacked),
        ("POST", UPLOADS, made.begun),
        ("PUT", f"{UPLOADS}/{{id}}", made.received),
        ("POST", f"{UPLOADS}/{{id}}", made.finished),
        ("DELETE", f"{UPLOADS}/{{id}}", made.cancelled),
    ]


class _Handlers:
    def __init__(self, root: Callable[[], Path]):
        self._root = root
        self._uploads = Uploads(root)

    @_answered
    async def listed(self, request: web.Request) -> web.Response:
        return web.json_response({"datasets": await asyncio.to_thread(_all, self._root())})

    @_answered
    async def unpacked(self, request: web.Request) -> web.Response:
        """The body is the archive; ?name= of the folder, ?replace=true where one of that name goes."""
        check_type(request, ZIP)
        name, replace, root = request.query.get("name", ""), _flag(request, "replace"), self._root()
        if name:
            incoming.check_name(name)
        incoming.check_space(root, request.content_length or 0)
        with incoming.staged(root) as stage:  # on the disk that was asked for space
            file = stage / "body.zip"
            await save_body(request, file, archive.LIMITS.bytes)
            added = await asyncio.to_thread(archive.unpack, file, root, "", name, replace)
        return web.json_response(dataclasses.asdict(added), status=201)

    @_answered
    async def begun(self, request: web.Request) -> web.Response:
        fields = await json_object(request, ("files", "name", "replace"))
        name, replace = fields.get("name", ""), fields.get("replace", False)
        if not isinstance(name, str) or not isinstance(replace, bool):
            raise Refused(400, f"name is {name!r} and replace {replace!r}; send text, and true or false.")
        upload = await asyncio.to_thread(self._uploads.begin, _offered(fields.get("files")), name, replace)
        answer = {"id": upload.id, "wanted": [file.number for file in upload.wanted], "left_out": upload.left_out}
        return web.json_response(answer, status=201)

    @_answered
    async def received(self, request: web.Request) -> web.Response:
        """The body is a piece; ?from= the byte at which it begins, counted over all wanted files in their order."""
        check_type(request, BYTES)
        start, opening = _start(request.query.get("from", "0")), ExitStack()
        size = start
        try:
            receiving = self._uploads.receiving(request.match_info["id"], start)
            write = await asyncio.to_thread(opening.enter_context, receiving)
            async for block in request.content.iter_chunked(_BLOCK):
                await asyncio.to_thread(write, block)
                size += len(block)
        finally:
            await asyncio.to_thread(opening.close)
        return web.json_response({"received": size})

    @_answered
    async def finished(self, request: web.Request) -> web.Response:
        """Asked again while it is finished, or afterwards, it answers the same."""
        await json_object(request, ())
        id = request.match_info["id"]
        if outcome := self._uploads.outcome(id):
            added = await asyncio.wrap_future(outcome)  # without a thread: those are few, and who asks may ask often
        else:
            added = await asyncio.to_thread(self._uploads.finish, id)
        return web.json_response(dataclasses.asdict(added), status=201)

    @_answered
    async def cancelled(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(self._uploads.cancel, request.match_info["id"])
        return web.json_response({"cancelled": request.match_info["id"]})


def _all(root: Path) -> list[dict[str, Any]]:
    return [{"name": name, "pictures": folder.number_of_pictures(root / name)} for name in folder.with_pictures(root)]


def _offered(files: Any) -> list[Offered]:
    if not isinstance(files, list) or not files:
        raise Refused(400, 'files are missing; send a list of {"name": …, "size": …}.')
    return [_one_offered(file) for file in files]


def _one_offered(file: Any) -> Offered:
    name, size = (file.get("name"), file.get("size")) if isinstance(file, dict) else (None, None)
    if not isinstance(name, str) or type(size) is not int or size < 0:
        raise Refused(400, f'{file!r} is no file; send {{"name": its path, "size": its bytes}}.')
    return Offered(name, size)


def _start(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused(400, f"from is {text!r}; give a whole number.")
    return int(text)


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(400, f"{name} is {text!r}; give true or false.")
    return text == "true"
