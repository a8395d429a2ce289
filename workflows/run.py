#!/usr/bin/env python3
"""Run a workflow in ComfyUI's API format without the editor, and fetch what comes out.

    python workflows/run.py workflows/api/train_character.json --server http://127.0.0.1:8188 \\
        --upload ~/pictures/hero --set dataset.folder=hero --set train.steps=1500 --set save.name=hero

Without --server it boots the ComfyUI that the tests use, for this run alone; it has the demo base, and checkpoints of
random weights that draw nothing. A text of several lines, as sheet.prompts takes, is $'one\\ntwo' in bash. Ends with 0;
1 where ComfyUI rejected the prompt, a node failed or somebody interrupted it; 2 for wrong arguments; 3 where no server
answers; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[1]

if not __package__:  # run as a script, from anywhere: give the modules beside it the names they have in the pack
    _pack = types.ModuleType("isengard")
    _pack.__path__ = [str(ROOT)]
    sys.modules["isengard"] = _pack
    __package__ = "isengard.workflows"

from . import settings, uploads  # noqa: E402
from .client import Client, Finished, NotFinished, Prompt, PromptRejected, title  # noqa: E402
from .progress import Printer, duration  # noqa: E402

OK, FAILED, BAD_ARGUMENTS, NO_SERVER, CTRL_C = 0, 1, 2, 3, 130


class NoServer(RuntimeError):
    """No ComfyUI answers; the message says what to do."""


@dataclass
class Results:
    """What came out, below `folder`. rows: what it is from, and where it is or what it says."""

    folder: Path
    rows: list[tuple[str, str]] = field(default_factory=list)

    def tell(self) -> None:
        width = max((len(source) for source, _ in self.rows), default=0)
        for source, what in self.rows:
            print(f"{source:<{width}}  {what}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results = Results(options.out)
    started = time.monotonic()
    try:
        _run(options, results)
    except aiohttp.InvalidURL as error:
        return _failed(BAD_ARGUMENTS, f"--server {error.url} is no address of a server.", results)
    except (settings.WorkflowError, settings.SettingError, uploads.UploadError) as error:
        return _failed(BAD_ARGUMENTS, f"{error}", results)
    except NoServer as error:
        return _failed(NO_SERVER, f"{error}", results)
    except (PromptRejected, NotFinished, aiohttp.ClientError, OSError) as error:
        return _failed(FAILED, f"{error}", results)
    except KeyboardInterrupt:
        return _failed(CTRL_C, "interrupted by Ctrl-C; the prompt was stopped.", results)
    _say(f"Finished in {duration(time.monotonic() - started)}. What came out:")
    results.tell()
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path, help="a JSON file in the API format")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", metavar="URL", help="a running ComfyUI, as in http://127.0.0.1:8188")
    where.add_argument(
        "--base",
        metavar="FOLDER",
        type=Path,
        help="without --server: a folder of its own in which the booted ComfyUI keeps models and pictures from run to "
        "run; else they are removed when the run ends",
    )
    parser.add_argument(
        "--set",
        metavar="NODE.INPUT=VALUE",
        action="append",
        default=[],
        help="set a value of a node, named by its title or id (again for more)",
    )
    parser.add_argument(
        "--upload",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="send a picture, or a folder or zip of pictures and captions, to ComfyUI's input folder (again for more)",
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("out"), help="for what comes out (./out)")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _failed(code: int, message: str, results: Results) -> int:
    if results.rows:
        _say("Not finished. What came out before:")
        results.tell()
    _say(message)
    return code


def _run(options: argparse.Namespace, results: Results) -> None:
    prompt = settings.load(options.workflow)
    for path in options.upload:
        uploads.files(path)  # a wrong path is told before a server boots
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # now, not after hours of training
    except OSError as error:
        raise settings.SettingError(f"--out {options.out} cannot be made: {error.strerror}.") from error
    if not options.server and any(node["class_type"] == "CheckpointLoaderSimple" for node in prompt.values()):
        _say(
            "Without --server there are only checkpoints of random weights, which draw nothing. Give --server, or run "
            "quickstart.json."
        )
    with _server(options, results) as url:
        try:
            asyncio.run(_run_on(url, prompt, options, results))
        except aiohttp.ClientConnectionError as error:
            raise NoServer(f"no ComfyUI answers at {url} ({error}). Start it, or give another --server.") from error


async def _run_on(url: str, prompt: Prompt, options: argparse.Namespace, results: Results) -> None:
    async with Client(url) as client:
        info = await _object_info(client)
        if options.upload:
            for path in options.upload:
                _say(await uploads.send(client, path, _dataset_folders(info)))
            info = await client.object_info()  # what was uploaded is among the choices now
        prompt = settings.apply(prompt, options.set, info)
        printer = Printer({node: title(prompt, node) for node in prompt}, sys.stderr)
        try:
            finished = await client.run(prompt, printer)
        except NotFinished as error:
            await _fetch(client, prompt, error.so_far, results)
            raise
        finally:
            printer.close()
        await _fetch(client, prompt, finished, results)


async def _object_info(client: Client) -> dict:
    try:
        return await client.object_info()
    except aiohttp.InvalidURL:
        raise
    except (aiohttp.ClientResponseError, ValueError) as error:
        raise NoServer(f"what answers at {client.url} is no ComfyUI: no /object_info ({error}).") from error


def _dataset_folders(info: dict) -> list[str]:
    inputs = settings.declared_inputs(info.get("IsengardLoadDataset", {"input": {}}))
    return inputs["folder"][1]["options"] if inputs else []


async def _fetch(client: Client, prompt: Prompt, finished: Finished, results: Results) -> None:
    results.rows += [(title(prompt, node), text) for node, text in finished.texts]
    for file in finished.files:
        path = _unused(results.folder / Path(file.filename).name)
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(await client.download(file))
        os.replace(partial, path)
        results.rows.append((title(prompt, file.node), str(path)))


@contextmanager
def _server(options: argparse.Namespace, results: Results) -> Iterator[str]:
    """The URL of the server to run on; an embedded one ends with the block, and what it trained is copied out."""
    if options.server:
        yield options.server if "://" in options.server else f"http://{options.server}"
        return
    with ExitStack() as stack:
        base = options.base or stack.enter_context(_temporary_folder())
        server = stack.enter_context(_booted(base.resolve()))
        loras = base / "models" / "loras"
        before = set(loras.rglob("*.safetensors"))
        try:
            yield server.url
        except NoServer as error:
            raise NoServer(f"{error}\nThe end of its log:\n{server.log()[-2000:]}") from error
        finally:
            for lora in sorted(set(loras.rglob("*.safetensors")) - before):
                results.rows.append(("LoRA", str(shutil.copy2(lora, _unused(results.folder / lora.name)))))


@contextmanager
def _booted(base: Path) -> Iterator:
    """The ComfyUI of the tests, booted on a base folder. Raises NoServer."""
    if not (ROOT / "tests" / "comfyui").is_dir():
        raise NoServer("no ComfyUI to boot: this copy of the pack came without tests/. Give --server URL.")
    from ..tests.comfyui.server import Server

    with ExitStack() as stack:
        _say("Booting ComfyUI …")
        try:
            server = stack.enter_context(Server(base))
        except (Exception, SystemExit) as error:  # whatever it is, there is no server
            raise NoServer(f"ComfyUI could not be booted: {error}") from error
        _say(f"ComfyUI {server.comfyui.version} answers at {server.url}")
        yield server


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="isengard-run-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _unused(path: Path) -> Path:
    """`path`, or the same with -2, -3, … where there is such a file: what a run brought is never written over."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


if __name__ == "__main__":
    sys.exit(main())
