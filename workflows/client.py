"""A client for a running ComfyUI: queue a prompt, follow it, and fetch what came out."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

Event = dict[str, Any]  # {"type": ..., "data": {...}} as ComfyUI sends it over the websocket


class PromptRejected(RuntimeError):
    """ComfyUI did not take the prompt; the message names each node and input that it faulted."""


class NodeFailed(RuntimeError):
    """A node raised while the prompt ran; the message is ComfyUI's own, after the node's id and type."""


class Interrupted(RuntimeError):
    """Somebody interrupted the prompt."""


@dataclass(frozen=True)
class OutputFile:
    """A file that a node put out: what /view needs to serve it."""

    node: str
    filename: str
    subfolder: str
    type: str  # "output", "temp" or "input"


@dataclass(frozen=True)
class Finished:
    """A prompt that ran to its end. outputs: by node id, what each output node showed."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    @property
    def files(self) -> list[OutputFile]:
        return [
            OutputFile(node, entry["filename"], entry["subfolder"], entry["type"])
            for node, shown in self.outputs.items()
            for entries in shown.values()
            for entry in entries
            if isinstance(entry, dict) and "filename" in entry
        ]


class Client:
    """One session with a server: `async with Client("http://127.0.0.1:8188") as client`."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._id = uuid.uuid4().hex

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_) -> None:
        await self._session.close()

    async def object_info(self) -> dict[str, Any]:
        return await self._get("/object_info")

    async def run(self, prompt: dict[str, Any], on_event: Callable[[Event], None] = lambda event: None) -> Finished:
        """Queue a prompt and follow it to its end.

        Raises PromptRejected, NodeFailed or Interrupted; aiohttp.ClientError where the server cannot be reached.
        """
        async with self._session.ws_connect(f"{self.url}/ws?clientId={self._id}", max_msg_size=0) as socket:
            prompt_id = await self.queue(prompt)
            async for event in _events(socket):
                on_event(event)
                if _is_end(event, prompt_id):
                    break
        history = (await self._get(f"/history/{prompt_id}"))[prompt_id]
        return Finished(prompt_id, history["outputs"])

    async def queue(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt and give its id. Raises PromptRejected."""
        body = {"prompt": prompt, "client_id": self._id}
        async with self._session.post(f"{self.url}/prompt", json=body) as response:
            answer = await response.json(content_type=None)
            if response.status != 200 or answer.get("node_errors"):
                raise PromptRejected(_rejection(answer))
        return answer["prompt_id"]

    async def interrupt(self) -> None:
        async with self._session.post(f"{self.url}/interrupt", json={}) as response:
            response.raise_for_status()

    async def upload(self, file: Path, subfolder: str) -> str:
        """Put a file into `subfolder` of ComfyUI's input folder, over one of the same name; gives its name there."""
        form = aiohttp.FormData({"subfolder": subfolder, "type": "input", "overwrite": "true"})
        form.add_field("image", file.read_bytes(), filename=file.name)
        async with self._session.post(f"{self.url}/upload/image", data=form) as response:
            response.raise_for_status()
            answer = await response.json()
        return f"{answer['subfolder']}/{answer['name']}".lstrip("/")

    async def download(self, file: OutputFile) -> bytes:
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        async with self._session.get(f"{self.url}/view", params=query) as response:
            response.raise_for_status()
            return await response.read()

    async def _get(self, path: str) -> Any:
        async with self._session.get(f"{self.url}{path}") as response:
            response.raise_for_status()
            return await response.json()


async def _events(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Event]:
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:  # binary ones are previews
            yield json.loads(message.data)
    raise ConnectionError("ComfyUI closed the connection before the prompt ended. Look at its log.")


def _is_end(event: Event, prompt_id: str) -> bool:
    """Whether the prompt ended well with this event; raises where it ended otherwise."""
    kind, data = event["type"], event.get("data") or {}
    if data.get("prompt_id") != prompt_id:
        return False
    if kind == "execution_error":
        raise NodeFailed(f"node {data['node_id']} ({data['node_type']}): {data['exception_message'].strip()}")
    if kind == "execution_interrupted":
        raise Interrupted(f"interrupted at node {data['node_id']} ({data['node_type']})")
    return kind == "execution_success"


def _rejection(answer: dict[str, Any]) -> str:
    lines = [
        f"node {node} ({fault['class_type']}): {error['message']}: {error['details']}".rstrip(": ")
        for node, fault in (answer.get("node_errors") or {}).items()
        for error in fault["errors"]
    ]
    error = answer.get("error")
    headline = error["message"] if isinstance(error, dict) else str(error or "prompt rejected")
    return "\n".join([headline, *lines])
