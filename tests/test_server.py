"""The pack as ComfyUI loads it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from isengard.workflows.client import Client

pytestmark = pytest.mark.comfyui

SNAPSHOT = Path(__file__).with_name("object_info.json")
IDS = {
    "IsengardDemoBase",
    "IsengardSaveCharacter",
    "IsengardLoadCharacter",
    "IsengardListCharacters",
    "IsengardAddCharacterLora",
    "IsengardChooseCharacterVersion",
    "IsengardCharacterLora",
    "IsengardExportCharacter",
    "IsengardImportCharacter",
    "IsengardLoadDataset",
    "IsengardDatasetFromImages",
    "IsengardDatasetToImages",
    "IsengardSaveDataset",
    "IsengardShowDataset",
    "IsengardDatasetReport",
    "IsengardMeasureDataset",
    "IsengardDropPoorPictures",
    "IsengardDeduplicateDataset",
    "IsengardDropOddOnesOut",
    "IsengardFilterByTag",
    "IsengardFilterByScore",
    "IsengardSampleDataset",
    "IsengardWeighDataset",
    "IsengardMergeDatasets",
    "IsengardSplitDataset",
    "IsengardCropToSubject",
    "IsengardCropToBuckets",
    "IsengardCaptionByTemplate",
    "IsengardCaptionFromText",
    "IsengardEditCaptions",
    "IsengardCheckCaptions",
    "IsengardTrainConfig",
    "IsengardPictureSettings",
    "IsengardPriorPreservation",
    "IsengardAdapterSettings",
    "IsengardLossSettings",
    "IsengardOptimizerSettings",
    "IsengardValidationSettings",
    "IsengardRunSettings",
    "IsengardTrainingPreviews",
    "IsengardLoadLora",
    "IsengardTrainLora",
    "IsengardSaveLora",
    "IsengardApplyCharacter",
    "IsengardCharacterPrompt",
    "IsengardCharacterReferences",
    "IsengardCharacterSampler",
    "IsengardSceneCharacter",
    "IsengardScene",
    "IsengardContactSheet",
    "IsengardLossChart",
    "IsengardIdentity",
    "IsengardScoreImages",
    "IsengardCheckpointGrid",
    "IsengardPickBest",
}
_KEYS = ("display_name", "category", "description", "input", "input_order", "output", "output_name", "output_node")
_NEWER = ("advanced", "rawLink", "hidden", "forceInput")  # said of every input by newer ComfyUIs alone
_FROM_OUTSIDE = {
    "folder": ["[sample] Mira"],
    "lora_name": [],
    "character": [],
    "name": ["[connected]"],
    "file": [],
    "sampler_name": ["euler"],
    "scheduler": ["normal"],
}


@pytest.fixture(scope="module")
def object_info(comfyui):
    async def ask():
        async with Client(comfyui.url) as client:
            return await client.object_info()

    return asyncio.run(ask())


def snapshot(object_info) -> dict:
    """Our nodes, less what another ComfyUI or another folder on disk would say differently."""
    nodes = {
        name: {key: node[key] for key in _KEYS} for name, node in object_info.items() if name.startswith("Isengard")
    }
    for node in nodes.values():
        for group in node["input"].values():
            for name, declared in group.items():
                options = declared[1] if len(declared) > 1 and isinstance(declared[1], dict) else {}
                for key in _NEWER:
                    options.pop(key, None)
                if name in _FROM_OUTSIDE and "options" in options:
                    assert set(_FROM_OUTSIDE[name]) <= set(options["options"])
                    options["options"] = _FROM_OUTSIDE[name]
    return nodes


def test_the_log_shows_no_failed_import(comfyui):
    log = comfyui.log()
    assert "custom_nodes/isengard" in log, "the pack was not even looked at"
    assert "IMPORT FAILED" not in log
    assert "Cannot import" not in log
    assert "Error while calling comfy_entrypoint" not in log


def test_every_node_is_there(object_info):
    ours = {name for name, node in object_info.items() if node["python_module"] == "custom_nodes.isengard"}
    assert ours == IDS


def test_the_schemas_are_those_of_the_snapshot(object_info):
    """UPDATE_SNAPSHOT=1 writes it anew: look at the difference before you commit it, since it is what users wire."""
    now = snapshot(object_info)
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert now == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_every_input_and_every_node_explains_itself(object_info):
    for name in IDS:
        assert object_info[name]["description"]
        for group in ("required", "optional"):
            for key, declared in object_info[name]["input"].get(group, {}).items():
                assert declared[1].get("tooltip"), f"{name}.{key} has no tooltip"
