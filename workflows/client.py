"""A client for a running ComfyUI: queue a prompt, follow it, and fetch what came out."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

Event = dict[str, Any]  # {"type": ..., "data": {...}} as ComfyUI sends it over the websocket
Prompt = dict[str, dict[str, Any]]  # nodes by id, as POST /prompt takes them

LOST: Event = {"type": "connection_lost", "data": {}}  # ours: the websocket dropped while the prompt ran

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_TIMEOUT_OF_UNPACKING = aiohttp.ClientTimeout(total=None, sock_connect=10)  # an answer may take long
_HEARTBEAT = 30.0  # seconds between pings: a connection that went away silently is noticed
_RETRY_SECONDS = 1.0
_RETRIES = 5
_STOP_SECONDS = 5.0
_LAST_EVENTS_SECONDS = 1.0  # for events that are under way when the queue shows that the prompt ended
_CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class PromptRejected(RuntimeError):
    """ComfyUI did not take the prompt; the message names each node and input that it faulted."""


class UploadRefused(RuntimeError):
    """The server does not take a data set; the message is its reason."""


class NotFinished(RuntimeError):
    """A prompt that did not run to its end. so_far: what came out before."""

    def __init__(self, message: str, so_far: Finished):
        super().__init__(message)
        self.so_far = so_far


class NodeFailed(NotFinished):
    """A node raised while the prompt ran; the message is ComfyUI's own, after the node."""


class Interrupted(NotFinished):
    """Somebody interrupted the prompt, or took it out of the queue."""


@dataclass(frozen=True)
class OutputFile:
    """A file that a node put out: what /view needs to serve it."""

    node: str
    filename: str
    subfolder: str
    type: str  # "output", "temp" or "input"


@dataclass(frozen=True)
class Finished:
    """What came out of a prompt. outputs: by node id, what each output node showed."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    @property
    def files(self) -> list[OutputFile]:
        return [
            OutputFile(node, entry["filename"], entry.get("subfolder", ""), entry.get("type", "output"))
            for node, entry in self._entries()
            if isinstance(entry, dict) and "filename" in entry
        ]

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Node id and text, for each text that a node showed."""
        return [(node, entry) for node, entry in self._entries() if isinstance(entry, str)]

    def _entries(self):
        for node, shown in self.outputs.items():
            for entries in shown.values():
                for entry in entries:
                    yield node, entry


class Client:
    """One session with a server: `async with Client("http://127.0.0.1:8188") as client`.

    Every method raises aiohttp.ClientConnectionError where the server cannot be reached, and
    aiohttp.ClientResponseError where it answers with an HTTP error.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._id = uuid.uuid4().hex

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_) -> None:
        await self._session.close()

    async def object_info(self) -> dict[str, Any]:
        return await self._get("/object_info")

    async def run(self, prompt: Prompt, on_event: Callable[[Event], None] = lambda event: None) -> Finished:
        """Queue a prompt and follow it to its end; cancelling this stops the prompt on the server.

        A websocket that drops is told as the event LOST and opened again; how the prompt ended comes from
        /history in any case. Raises PromptRejected, NodeFailed or Interrupted.
        """
        prompt_id = str(uuid.uuid4())  # ours, so that it can be stopped before the server has answered
        try:
            async with self._socket() as socket:  # before queueing, to miss nothing
                await self._queue(prompt, prompt_id)
                ended = await self._follow(socket, prompt_id, on_event)
            if not ended:
                on_event(LOST)
                await self._follow_again(prompt_id, on_event)
            entry = await self._entry(prompt_id)
        except asyncio.CancelledError:
            await self.stop(prompt_id)
            raise
        finished = Finished(prompt_id, entry["outputs"])
        _raise_failure(entry, prompt, finished)
        return finished

    async def stop(self, prompt_id: str) -> None:
        """Take a prompt out of the queue or interrupt it, and wait a moment for it to end.

        Nothing is raised: this is called on the way out. Sent again until it worked, since ComfyUI forgets an
        interrupt that comes between taking a prompt from the queue and starting it.
        """
        for _ in range(round(_STOP_SECONDS / 0.25)):
            try:
                await self._post("/queue", {"delete": [prompt_id]})
                await self._post("/interrupt", {"prompt_id": prompt_id})
                await asyncio.sleep(0.25)
                if not await self._is_queued(prompt_id):
                    return
            except aiohttp.ClientError:
                return

    async def upload(self, file: Path, subfolder: str = "") -> str:
        """Put a file into `subfolder` of ComfyUI's input folder, over one of the same name; gives its name there."""
        form = aiohttp.FormData({"subfolder": subfolder, "type": "input", "overwrite": "true"})
        form.add_field("image", file.read_bytes(), filename=file.name)
        async with self._session.post(f"{self.url}/upload/image", data=form) as response:
            response.raise_for_status()
            answer = await response.json()
        return f"{answer['subfolder']}/{answer['name']}".lstrip("/")

    async def upload_dataset(self, archive: Path, name: str) -> dict[str, Any]:
        """Make a zip file the data set `name`, in place of one of that name; gives what the server tells of it. Raises
        UploadRefused."""
        query, headers = {"name": name, "replace": "true"}, {"Content-Type": "application/zip"}
        url = f"{self.url}/isengard/datasets"
        with open(archive, "rb") as body:
            async with self._session.post(
                url, params=query, data=body, headers=headers, timeout=_TIMEOUT_OF_UNPACKING
            ) as response:
                if response.content_type != "application/json":  # not the pack's answer
                    response.raise_for_status()
                answer = await response.json()
        if "error" in answer:
            raise UploadRefused(answer["error"])
        return answer

    async def download(self, file: OutputFile) -> bytes:
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        async with self._session.get(f"{self.url}/view", params=query) as response:
            response.raise_for_status()
            return await response.read()

    def _socket(self):
        url = f"{self.url}/ws?clientId={self._id}"
        return self._session.ws_connect(url, max_msg_size=0, heartbeat=_HEARTBEAT)

    async def _queue(self, prompt: Prompt, prompt_id: str) -> None:
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": self._id}
        async with self._session.post(f"{self.url}/prompt", json=body) as response:
            if response.status not in (200, 400):
                response.raise_for_status()
            answer = await response.json(content_type=None)
        if answer.get("error") or answer.get("node_errors"):
            # with one good output node ComfyUI takes the prompt and leaves the faulted ones out: all or nothing here
            await self.stop(prompt_id)
            raise PromptRejected(_rejection(answer, prompt))

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse, prompt_id: str, on_event) -> bool:
        """Hand on events until the prompt ended (True) or the connection did (False)."""
        ended = False
        while True:
            try:
                message = await socket.receive(timeout=_LAST_EVENTS_SECONDS if ended else None)
            except asyncio.TimeoutError:  # its last event went to a connection before this one
                return True
            if message.type in _CLOSED:
                return ended
            if message.type != aiohttp.WSMsgType.TEXT:  # a preview picture
                continue
            event = json.loads(message.data)
            on_event(event)
            if _is_last(event, prompt_id):
                return True
            # the queue tells of an end that no event does: taken out by somebody, or over while we were away
            ended = ended or (event["type"] == "status" and await self._has_ended(prompt_id))

    async def _has_ended(self, prompt_id: str) -> bool:
        try:
            return not await self._is_queued(prompt_id)
        except aiohttp.ClientError:  # the connection is going: the socket will tell
            return False

    async def _follow_again(self, prompt_id: str, on_event) -> None:
        """Until the prompt ended, over new connections where the server takes them."""
        failures = 0
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                if not await self._is_queued(prompt_id):
                    return
                failures = 0
            except aiohttp.ClientConnectionError:
                failures += 1
                if failures == _RETRIES:
                    raise
                continue
            try:
                async with self._socket() as socket:
                    if await self._follow(socket, prompt_id, on_event):
                        return
            except aiohttp.ClientError:  # no websocket, but it answers: keep asking
                continue

    async def _is_queued(self, prompt_id: str) -> bool:
        """Whether the prompt waits or runs."""
        queue = await self._get("/queue")
        return any(item[1] == prompt_id for item in queue["queue_running"] + queue["queue_pending"])

    async def _entry(self, prompt_id: str) -> dict[str, Any]:
        """The history's entry of a prompt that is no longer in the queue."""
        history = await self._get(f"/history/{prompt_id}")
        if prompt_id not in history:
            message = "the prompt was taken out of the queue, or ComfyUI was started anew. Run it again."
            raise Interrupted(message, Finished(prompt_id, {}))
        return history[prompt_id]

    async def _get(self, path: str) -> Any:
        async with self._session.get(f"{self.url}{path}") as response:
            response.raise_for_status()
            return await response.json()

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"{self.url}{path}", json=body) as response:
            response.raise_for_status()


def title(prompt: Prompt, node: str) -> str:
    """A node's title, or its id where it has none."""
    return (prompt.get(node, {}).get("_meta") or {}).get("title") or node


def _is_last(event: Event, prompt_id: str) -> bool:
    """Whether ComfyUI is done with the prompt; it tells "success" earlier, before the history has it."""
    data = event.get("data") or {}
    return event["type"] == "executing" and data.get("node") is None and data.get("prompt_id") == prompt_id


def _raise_failure(entry: dict[str, Any], prompt: Prompt, so_far: Finished) -> None:
    """Raise what the messages of a history entry tell; its status alone can be that of the prompt before."""
    for kind, data in (entry.get("status") or {}).get("messages") or ():
        if kind == "execution_interrupted":
            raise Interrupted(f"interrupted at {_label(prompt, data['node_id'], data['node_type'])}", so_far)
        if kind == "execution_error":
            label = _label(prompt, data["node_id"], data["node_type"])
            error = data["exception_type"].rpartition(".")[2]
            raise NodeFailed(f"{label} raised {error}: {data['exception_message'].strip()}", so_far)


def _label(prompt: Prompt, node: str, node_type: str) -> str:
    return f"{title(prompt, node)} (node {node}, {node_type})"


def _rejection(answer: dict[str, Any], prompt: Prompt) -> str:
    error = answer.get("error") or {"message": "Some outputs failed validation"}
    error = error if isinstance(error, dict) else {"message": str(error)}
    lines = [_with_details(error)]
    for node, fault in (answer.get("node_errors") or {}).items():
        label = _label(prompt, node, fault["class_type"])
        lines += [f"{label}: {_with_details(each)}" for each in fault["errors"]]
    return "\n".join(lines)


def _with_details(error: dict[str, Any]) -> str:
    details = error.get("details")
    return f"{error['message']}: {details}" if details and details != error["message"] else error["message"]
