"""Training jobs on a server, and what they leave."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from isengard.tests.comfyui.server import DIRECT
from isengard.workflows.client import Interrupted

from . import graph


def lora_folder(server) -> Path:
    return server.base / "models" / "loras"


def train_to_file(server, name: str, **inputs) -> dict[str, torch.Tensor]:
    events = []
    graph.forget_runs(server)
    prompt = graph.without(graph.job(save__name=name, save__precision="fp32", **inputs), "sheet", "chart")
    graph.run(server, prompt, events.append)
    assert graph.losses(events), "ComfyUI gave the cached result: nothing was trained"
    return load_file(lora_folder(server) / f"{name}.safetensors")


class Job(NamedTuple):
    """The LoRA that a job saved, the losses that its node showed, and how many steps it made."""

    lora: dict[str, torch.Tensor]
    losses: list[float]
    made: int


def train(server, prompt: dict, name: str) -> Job:
    events = []
    (save,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "save"]
    save |= {"name": name, "precision": "fp32"}
    graph.run(server, graph.without(prompt, "sheet", "chart"), events.append)
    (node,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    steps = [event["data"] for event in events if event["type"] == "isengard.train" and event["data"]["node"] == node]
    begun = next((event["step"] for event in steps if event["step"]), 0)  # those made before come in one event
    resumed = begun if begun == len(next((event["losses"] for event in steps if event["step"]), [])) > 1 else 0
    shown = graph.losses(events)
    return Job(load_file(lora_folder(server) / f"{name}.safetensors"), shown, len(shown) - resumed)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def again(prompt: dict) -> dict:
    """The same job, told apart by ComfyUI alone: the default caption is used by no picture of Mira's."""
    (dataset,) = [node["inputs"] for node in prompt.values() if node["_meta"]["title"] == "dataset"]
    dataset["default_caption"] = str(time.time())
    return prompt


def interrupted_at(server, prompt) -> dict[str, int]:
    """Interrupt a job at its third step; the step then, and the last step that was made."""
    steps = {"when asked": 0, "at the end": 0}
    (train,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "train"]
    with ThreadPoolExecutor() as threads:

        def on_event(event):
            if (
                event["type"] == "progress" and event["data"]["node"] == train
            ):  # one for every step; our own events come five times a second at most
                steps["at the end"] = event["data"]["value"]
                if steps["at the end"] >= 3 and not steps["when asked"]:
                    steps["when asked"] = steps["at the end"]
                    threads.submit(interrupt, server)

        with pytest.raises(Interrupted, match="IsengardTrainLora"):
            graph.run(server, prompt, on_event)
    return steps


def interrupt(server) -> None:
    request = urllib.request.Request(f"{server.url}/interrupt", method="POST")
    DIRECT.open(request, timeout=10).close()
