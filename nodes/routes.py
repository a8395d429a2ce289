"""Our addresses on ComfyUI's server, under /isengard/.

ComfyUI answers other sites' requests too where it listens on a network, so nothing changes by GET, and what changes
asks for a JSON body, which a form of another site cannot send without the browser asking first.
"""

from pathlib import Path

import folder_paths
from aiohttp import web
from server import PromptServer

from .characters import rest as characters
from .characters.nodes import library
from .dataset import rest as datasets
from .training.finish import REQUESTS


def register() -> None:
    """Add the routes; ComfyUI does so once, when it loads the pack."""
    routes = PromptServer.instance.routes
    routes.post("/isengard/train/finish")(finish)
    for method, path, handler in (*characters.handlers(library, _lora), *datasets.handlers(_input)):
        routes.route(method, path)(handler)


def _input() -> Path:
    return Path(folder_paths.get_input_directory())


def _lora(name: str) -> Path | None:
    """By a name of ComfyUI's own list, never by a path."""
    known = name in folder_paths.get_filename_list("loras")
    return Path(folder_paths.get_full_path("loras", name)) if known else None


async def finish(request: web.Request) -> web.Response:
    """POST {"node": id of a Train node}: its training ends after this step, and its LoRA goes on through the graph."""
    if request.content_type != "application/json":
        return web.json_response({"error": f"got {request.content_type}; send application/json"}, status=415)
    try:
        node = (await request.json())["node"]
    except (ValueError, KeyError, TypeError):
        return web.json_response({"error": 'send {"node": "<id of the Train node>"}'}, status=400)
    if not REQUESTS.ask(str(node)):
        return web.json_response({"error": f"no training runs on node {node}"}, status=404)
    return web.json_response({"node": str(node), "asked": True})
