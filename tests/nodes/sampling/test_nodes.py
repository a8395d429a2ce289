"""A character on a model, on a real ComfyUI."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from isengard.tests import graph
from isengard.workflows.client import NodeFailed, PromptRejected

pytestmark = pytest.mark.comfyui

FLUX = {"ss_base_model_version": "flux1"}


def applied(checkpoint: str = "sd3.safetensors", **inputs) -> dict:
    """Drawn with the character: its LoRA and its prompt."""
    prompt = graph.sampled(checkpoint)
    values = graph.DEFAULTS["IsengardApplyCharacter"] | {"name": "mira"} | inputs
    prompt["who"] = graph.node("IsengardApplyCharacter", "who", model=["1", 0], clip=["1", 1], **values)
    prompt["6"]["inputs"]["model"] = ["who", 0]
    return prompt


def prompted(template: str, **inputs) -> dict:
    prompt = applied()
    values = graph.DEFAULTS["IsengardCharacterPrompt"] | {"template": template} | inputs
    prompt["words"] = graph.node(
        "IsengardCharacterPrompt", "words", clip=["who", 1], character=["who", 2], **values
    )  # fmt: skip
    prompt["6"]["inputs"]["positive"] = ["words", 0]
    return prompt


def drawn(comfyui, prompt: dict) -> np.ndarray:
    return graph.picture(comfyui, graph.run(comfyui, prompt), "save", prompt)


def test_it_draws_what_cores_own_loader_draws(comfyui, characters, lora):
    file = lora()
    characters.add_version("mira", file)
    shutil.copy(file, comfyui.base / "models" / "loras" / "apply.safetensors")
    plain = drawn(comfyui, graph.sampled("sd3.safetensors"))
    for strength in (1.0, 0.4):
        ours = drawn(comfyui, applied(strength=strength))
        cores = graph.sampled("sd3.safetensors", "apply.safetensors", strength)
        np.testing.assert_array_equal(ours, drawn(comfyui, cores))
        assert not np.array_equal(ours, plain)
    np.testing.assert_array_equal(drawn(comfyui, applied(strength=0.0)), plain)


def test_a_character_that_is_connected_counts(comfyui, characters, lora):
    characters.put("Other", trigger="other")
    characters.add_version("mira", lora())
    prompt = applied(name="other")
    with pytest.raises(NodeFailed, match="Other has no LoRA yet"):
        graph.run(comfyui, prompt)
    prompt["load"] = graph.node("IsengardLoadCharacter", "load", character="mira")
    prompt["who"]["inputs"]["character"] = ["load", 0]
    graph.run(comfyui, prompt)


def test_a_lora_of_another_kind_of_model_is_refused_before_the_sampling(comfyui, characters, lora):
    characters.add_version("mira", lora("diffusion_model.double_blocks.0.img_attn.qkv", metadata=FLUX))
    with pytest.raises(NodeFailed, match="Mira's LoRA v1 was trained on Flux.1, and the model is .*2 of its 2 weights"):
        graph.run(comfyui, applied())
    characters.add_version("mira", lora(columns=320))
    with pytest.raises(NodeFailed, match="v2 does not tell .* 1 of its layers have another size .*320 to 256"):
        graph.run(comfyui, applied())
    characters.add_version("mira", lora())
    with pytest.raises(NodeFailed, match="v3 .* Stable Diffusion 1.5"):
        graph.run(comfyui, applied("sd15.safetensors"))
    graph.run(comfyui, applied())


def test_what_is_not_there_is_told(comfyui, characters, lora):
    with pytest.raises(NodeFailed, match="Mira has no LoRA yet"):
        graph.run(comfyui, applied())
    characters.add_version("mira", lora())
    with pytest.raises(NodeFailed, match="no version v9"):
        graph.run(comfyui, applied(version="v9"))
    with pytest.raises(NodeFailed, match="no character is connected"):
        graph.run(comfyui, applied(name="[connected]"))
    with pytest.raises((NodeFailed, PromptRejected), match="'nobody' .*mira"):  # a newer ComfyUI knows the list
        graph.run(comfyui, applied(name="nobody"))
    (characters.folder("mira") / "loras" / "v1.safetensors").unlink()
    with pytest.raises(NodeFailed, match="the file of Mira's LoRA v1 is gone: there is no v1.safetensors"):
        graph.run(comfyui, applied(strength=0.7))


def test_a_prompt_is_filled_shown_and_encoded_as_core_encodes_it(comfyui, characters, lora):
    characters.add_version("mira", lora())
    prompt = prompted("{trigger} {class}, {tags}", tags="a red coat")
    finished = graph.run(comfyui, prompt)
    assert finished.outputs["words"]["text"] == ["mira woman, a red coat"]
    cores = applied()
    cores["3"]["inputs"]["text"] = "mira woman, a red coat"
    np.testing.assert_array_equal(graph.picture(comfyui, finished, "save", prompt), drawn(comfyui, cores))


def test_a_prompt_without_the_trigger_or_too_long_is_told(comfyui, characters, lora):
    characters.add_version("mira", lora())
    (said,) = graph.run(comfyui, prompted("{class}, " + "a coat, " * 60)).outputs["words"]["text"]
    assert "The trigger 'mira' is not in the prompt." in said
    assert "takes 77 at once" in said


def test_a_list_that_was_changed_is_read_again(comfyui, characters, lora):
    characters.add_version("mira", lora())
    lists = comfyui.base / "user" / "default" / "isengard" / "wildcards"
    lists.mkdir(parents=True, exist_ok=True)
    for place in ("in a street", "in a wood"):
        (lists / "place.txt").write_text(place)
        finished = graph.run(comfyui, prompted("{trigger} {class}, __place__"))
        assert finished.outputs["words"]["text"] == [f"mira woman, {place}"]
