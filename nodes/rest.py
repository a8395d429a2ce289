"""What the addresses under /isengard/ have in common: what they take as a body, and how they tell of errors."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

Handler = Callable[..., Awaitable[web.StreamResponse]]

JSON, ZIP, BYTES = "application/json", "application/zip", "application/octet-stream"
_BLOCK = 2**20


class Refused(Exception):
    """What is answered in place of what was asked for."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def answered(statuses: Mapping[type[Exception], int]) -> Callable[[Handler], Handler]:
    """A decorator of handlers: errors are answered as {"error": message}. statuses: of the errors that it may raise
    beside Refused; the first that fits counts."""

    def decorated(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answering(*arguments: Any) -> web.StreamResponse:
            try:
                return await handler(*arguments)
            except Refused as error:
                status, message = error.status, str(error)
            except tuple(statuses) as error:
                status = next(status for kind, status in statuses.items() if isinstance(error, kind))
                message = _told(error)
            return web.json_response({"error": message}, status=status)

        return answering

    return decorated


def _told(error: Exception) -> str:
    """Without the server's own paths."""
    if isinstance(error, OSError):
        return f"the server could not do it ({error.strerror or type(error).__name__})."
    return str(error)


def check_type(request: web.Request, wanted: str) -> None:
    """Raises Refused for a body of another type. What a form of another site can send is never wanted."""
    if not request.content_type.startswith(wanted):
        raise Refused(415, f"got {request.content_type}; send {wanted}")


async def json_object(request: web.Request, known: tuple[str, ...]) -> dict[str, Any]:
    """The body. Raises Refused for another type of body, and for fields that are not known."""
    check_type(request, JSON)
    try:
        fields = await request.json()
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON ({error}).") from error
    if not isinstance(fields, dict):
        raise Refused(400, f"the body is a {type(fields).__name__}; send an object.")
    for name in fields:
        if name not in known:
            raise Refused(400, f"there is no field '{name}'; there are: {', '.join(known) or 'none'}.")
    return fields


async def save_body(request: web.Request, file: Path, most: int | None = None) -> None:
    """Write a body of any size. Raises Refused where it has more than `most` bytes."""
    received = 0
    with open(file, "wb") as out:
        async for block in request.content.iter_chunked(_BLOCK):
            received += len(block)
            if most is not None and received > most:
                raise Refused(413, f"the body has more than {most / 2**30:.0f} GB.")
            await asyncio.to_thread(out.write, block)
