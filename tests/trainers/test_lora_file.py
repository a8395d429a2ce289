import dataclasses
import hashlib
import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from isengard.trainers import lora_file
from isengard.trainers.config import AdapterConfig, DataConfig, PriorConfig, TrainConfig
from isengard.trainers.errors import TrainingError
from isengard.trainers.run import Progress, Run

CONFIG = TrainConfig(
    steps=9, adapter=AdapterConfig(rank=2, alpha=1.0), prior=PriorConfig(0.0, "mira"), data=DataConfig(resolution=1024)
)
METRICS = tuple(Progress(step, 9, 0.1, 1e-4, 0.5) for step in range(1, 6))  # finished early
SDXL = lora_file.BaseModel("sdxl_base_v1-0", "stable-diffusion-xl-v1-base")
RUN = Run(
    "20260101-000000-abcd",
    "mira",
    CONFIG,
    "d" * 64,
    "b" * 64,
    "bf16",
    "v",
    ("SDXL", "BASE"),
    10**9,
    {"red shirt": 3, "Mira woman": 2},
    METRICS,
)


def layers():
    return {
        "blocks.0.attn.q": {
            "lora_down.weight": torch.full((2, 3), 0.5),
            "lora_up.weight": torch.full((4, 2), 0.25),
            "alpha": torch.tensor(1.0),
        }
    }


def state():
    return lora_file.kohya_state_dict(layers(), {"blocks.0.attn.q": "lora_unet_blocks_0_attn_q"})


def test_names_and_alpha():
    assert {name: tuple(tensor.shape) for name, tensor in state().items()} == {
        "lora_unet_blocks_0_attn_q.lora_down.weight": (2, 3),
        "lora_unet_blocks_0_attn_q.lora_up.weight": (4, 2),
        "lora_unet_blocks_0_attn_q.alpha": (),
    }


def test_a_layer_without_a_name_is_refused():
    with pytest.raises(TrainingError, match=r"1 of 1 trained layers.*blocks\.0\.attn\.q"):
        lora_file.kohya_state_dict(layers(), {})


def test_a_trigger_that_no_caption_has_is_not_the_files():
    """A template's, whose prior preservation is off or for another character."""
    other = dataclasses.replace(RUN, tag_frequency={"zorvik man": 3})
    assert "modelspec.trigger_phrase" not in lora_file.metadata(state(), other, None)
    assert lora_file.metadata(state(), RUN, None)["modelspec.trigger_phrase"] == "mira"


def test_metadata_has_the_rank_and_alpha_of_the_file_and_the_trigger_it_is_given():
    """Not those of the config: PiSSA's file has twice the rank, diffusers' the scale in its weights."""
    down, up = torch.ones(6, 3), torch.ones(4, 6)
    sd_scripts = {"a.lora_down.weight": down, "a.lora_up.weight": up, "a.alpha": torch.tensor(3.0)}
    other = {"b.lora_down.weight": torch.ones(2, 3), "b.lora_up.weight": up[:, :2], "b.alpha": torch.tensor(3.0)}

    def said(file):
        found = lora_file.metadata(file, RUN, None, " zorvik ")
        assert found["modelspec.trigger_phrase"] == "zorvik"
        return found["ss_network_dim"], found["ss_network_alpha"]

    assert said(sd_scripts) == ("6", "3.0")
    assert said(sd_scripts | other) == ("Dynamic", "3.0")
    assert said({"a.lora_A.weight": down, "a.lora_B.weight": up}) == ("6", "6.0")
    assert said({"a.hada_w1_a": down}) == ("2", "1.0"), "the config's"


@pytest.mark.parametrize("precision", lora_file.PRECISIONS)
def test_the_file_holds_the_weights_in_the_precision(tmp_path, precision):
    path = tmp_path / "deep" / "mira.safetensors"
    lora_file.save(state(), path, precision, lora_file.metadata(state(), RUN, SDXL))
    loaded = load_file(path)
    assert {tensor.dtype for tensor in loaded.values()} == {lora_file.PRECISIONS[precision]}
    assert all(torch.equal(loaded[name].float(), tensor) for name, tensor in state().items())
    assert [file.name for file in path.parent.iterdir()] == ["mira.safetensors"]
    assert path.stat().st_mode & 0o044, "others cannot read the file"


def test_metadata_is_strings_and_says_how_it_was_trained(tmp_path):
    path = tmp_path / "mira.safetensors"
    lora_file.save(state(), path, "fp16", lora_file.metadata(state(), RUN, SDXL))
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))["__metadata__"]
    assert all(isinstance(value, str) for value in header.values())
    assert (header["ss_network_dim"], header["ss_network_alpha"], header["ss_steps"]) == ("2", "1.0", "5")
    assert header["ss_mixed_precision"] == "bf16"
    assert TrainConfig.from_yaml(header["isengard.config"]) == RUN.config
    assert json.loads(header["ss_tag_frequency"]) == {"mira": {"red shirt": 3, "Mira woman": 2}}
    assert json.loads(header["ss_datasets"])[0]["subsets"][0]["class_tokens"] == "mira"
    modelspec = {name.removeprefix("modelspec."): text for name, text in header.items() if "modelspec." in name}
    assert modelspec.pop("date")[:3] == "202"
    assert modelspec == {
        "sai_model_spec": "1.0.0", "title": "mira", "trigger_phrase": "mira", "prediction_type": "v",
        "resolution": "1024x1024", "architecture": "stable-diffusion-xl-v1-base/lora",
        "hash_sha256": f"0x{header['sshs_model_hash']}",
    }  # fmt: skip
    assert "sdxl" in header["ss_base_model_version"]


def test_the_hash_is_of_the_weights_alone_as_sd_scripts_has_it(tmp_path):
    """Written out from the format: eight bytes of length, the header, the tensors."""
    hashes = []
    for number, said in enumerate(({}, {"ss_output_name": "renamed"})):
        path = tmp_path / f"{number}.safetensors"
        lora_file.save(state(), path, "fp16", said)
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        assert header["sshs_model_hash"] == hashlib.sha256(content[8 + length :]).hexdigest()
        hashes.append(header["sshs_model_hash"])
    assert hashes[0] == hashes[1]


def test_a_base_that_is_not_known_is_not_named():
    said = lora_file.metadata(state(), RUN, None)
    assert "ss_base_model_version" not in said
    assert "modelspec.architecture" not in said


@pytest.mark.parametrize("value, precision", [(float("nan"), "fp32"), (1e6, "fp16")])
def test_weights_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path, value, precision):
    broken = state()
    broken["lora_unet_blocks_0_attn_q.lora_up.weight"][0, 0] = value
    with pytest.raises(TrainingError, match=f"1 of 3 LoRA weights are not finite in {precision}"):
        lora_file.save(broken, tmp_path / "mira.safetensors", precision, {})
    assert not list(tmp_path.iterdir())
