"""Scenes on a real ComfyUI."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from isengard.nodes.characters.library import Library
from isengard.tests import graph
from isengard.workflows.client import NodeFailed

pytestmark = pytest.mark.comfyui

WIDTH, HEIGHT = 192, 64
LAYERS = {  # in diffusers' names of SD3, and sd-scripts' of SD1.5: name, inputs, outputs
    "sd3.safetensors": [("transformer.transformer_blocks.1.attn.to_q", 256, 256),
                        ("transformer.transformer_blocks.0.attn.add_k_proj", 256, 256)],
    "sd15.safetensors": [("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, 320),
                         ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320, 320)],
}  # fmt: skip
checkpoints = pytest.mark.parametrize("checkpoint", LAYERS)


@pytest.fixture
def characters(comfyui, tmp_path):
    """A function that makes the server's library anew: Ann, Ben and Cid with a LoRA each for a checkpoint."""
    root = comfyui.base / "user" / "default" / "isengard" / "characters"

    def characters(checkpoint: str = "sd3.safetensors") -> Library:
        shutil.rmtree(root, ignore_errors=True)
        found = Library(root)
        for number, (name, trigger) in enumerate((("Ann", "zorvik"), ("Ben", "brista"), ("Cid", "quell"))):
            found.put(name, trigger=trigger, class_noun="person")
            file = tmp_path / f"{name}.safetensors"
            safetensors.torch.save_file(weights(checkpoint, seed=number, rank=2 + number), file)
            found.add_version(name.lower(), file)
        return found

    return characters


def weights(checkpoint: str, seed: int, rank: int) -> dict[str, torch.Tensor]:
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, inputs, outputs in LAYERS[checkpoint]:
        down, up = (torch.randn(*shape, generator=generator) for shape in ((rank, inputs), (outputs, rank)))
        ends = ("lora_A", "lora_B") if "transformer." in name else ("lora_down", "lora_up")
        state |= {f"{name}.{ends[0]}.weight": 0.5 * down, f"{name}.{ends[1]}.weight": up}
    return state


def scene(checkpoint: str = "sd3.safetensors", left: str = "ann", right: str = "ben", **inputs) -> dict:
    """Two characters side by side, drawn with KSampler (title "save"). inputs: of the Scene node."""
    prompt = graph.sampled(checkpoint)
    for title, who in (("left", left), ("right", right)):
        values = graph.DEFAULTS["IsengardSceneCharacter"] | {"name": who}
        prompt[title] = graph.node("IsengardSceneCharacter", title, **values)
    values = graph.DEFAULTS["IsengardScene"] | {"width": WIDTH, "height": HEIGHT, "feather": 8} | inputs
    prompt["scene"] = graph.node(
        "IsengardScene", "scene", model=["1", 0], clip=["1", 1], character_1=["left", 0], character_2=["right", 0],
        **values,
    )  # fmt: skip
    prompt["6"]["inputs"] |= {
        "model": ["scene", 0], "positive": ["scene", 1], "negative": ["scene", 2], "latent_image": ["scene", 3],
    }  # fmt: skip
    return prompt


def drawn(comfyui, prompt: dict) -> np.ndarray:
    return graph.picture(comfyui, graph.run(comfyui, prompt), "save", prompt)


def with_mask(comfyui, prompt: dict, title: str, mask: np.ndarray) -> dict:
    """A mask H,W of 0 and 1 for a Scene Character, from a picture's red channel."""
    folder = comfyui.base / "input"
    folder.mkdir(exist_ok=True)
    pixels = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2)
    Image.fromarray(pixels).save(folder / f"scene_{title}.png")
    prompt[f"mask_{title}"] = graph.node(
        "LoadImageMask", "mask", image=f"scene_{title}.png", channel="red", upload="image"
    )
    prompt[title]["inputs"]["mask"] = [f"mask_{title}", 0]
    return prompt


@checkpoints
def test_each_is_drawn_in_its_region_and_does_not_reach_the_others(comfyui, characters, checkpoint):
    """With nothing of the whole inside, another LoRA at the right leaves the left as it was, bit for bit."""
    characters(checkpoint)
    alone = {"until": 0.0, "feather": 0, "width": 2 * WIDTH}
    first = drawn(comfyui, scene(checkpoint, **alone))
    assert first.shape == (HEIGHT, 2 * WIDTH, 3)
    other = drawn(comfyui, scene(checkpoint, right="cid", **alone))
    near = 128  # pixels that the autoencoder reaches over
    np.testing.assert_array_equal(first[:, : WIDTH - near], other[:, : WIDTH - near])
    assert np.abs(first[:, WIDTH:].astype(int) - other[:, WIDTH:]).mean() > 0.5
    whole = drawn(comfyui, scene(checkpoint, **alone | {"until": 1.0}))
    assert not np.array_equal(first, whole)


@checkpoints
def test_the_template_draws_two_characters(comfyui, characters, checkpoint):
    characters(checkpoint)
    prompt = graph.job(
        "scene", checkpoint__ckpt_name=checkpoint, left__name="ann", right__name="ben", scene__width=2 * WIDTH,
        scene__height=2 * HEIGHT, sampler__steps=2,
    )  # fmt: skip
    finished = graph.run(comfyui, prompt)
    assert graph.picture(comfyui, finished, "save", prompt).shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert len(np.unique(graph.picture(comfyui, finished, "layout", prompt).reshape(-1, 3), axis=0)) > 2
    (scene_node,) = [number for number, node in prompt.items() if node["_meta"]["title"] == "scene"]
    assert finished.outputs[scene_node]["text"] == ["Everybody has a place."]


@checkpoints
def test_the_base_is_left_as_it_was(comfyui, characters, checkpoint):
    characters(checkpoint)
    plain = graph.sampled(checkpoint, prefix="before")
    before = drawn(comfyui, plain)
    drawn(comfyui, scene(checkpoint))
    np.testing.assert_array_equal(before, drawn(comfyui, graph.sampled(checkpoint, prefix="after")))


def test_without_strength_it_is_the_base_in_two_windows(comfyui, characters):
    """As core draws two prompts in areas."""
    characters()
    prompt = scene(until=0.0, feather=0)
    for title in ("left", "right"):
        prompt[title]["inputs"] |= {"strength": 0.0, "prompt": "mira woman"}
    cores = graph.sampled("sd3.safetensors")
    cores["5"]["inputs"] |= {"width": WIDTH, "height": HEIGHT}
    for place in (0, 1):
        mask = np.zeros((HEIGHT, WIDTH))
        mask[:, place * WIDTH // 2 : (place + 1) * WIDTH // 2] = 1
        folder = comfyui.base / "input"
        Image.fromarray(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2)).save(folder / f"half{place}.png")
        cores[f"m{place}"] = graph.node(
            "LoadImageMask", "mask", image=f"half{place}.png", channel="red", upload="image"
        )
        for side, text in (("positive", "3"), ("negative", "4")):
            cores[f"{side}{place}"] = graph.node(
                "ConditioningSetMask", "area", conditioning=[text, 0], mask=[f"m{place}", 0], strength=1.0,
                set_cond_area="mask bounds",
            )  # fmt: skip
    for side in ("positive", "negative"):
        cores[side] = graph.node(
            "ConditioningCombine", "both", conditioning_1=[f"{side}0", 0], conditioning_2=[f"{side}1", 0]
        )
        cores["6"]["inputs"][side] = [side, 0]
    ours, theirs = drawn(comfyui, prompt).astype(int), drawn(comfyui, cores).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_masks_boxes_and_drawings_of_the_same_regions_are_the_same(comfyui, characters):
    characters()
    by_boxes = drawn(comfyui, scene(boxes="50 0 50 100\n0 0 50 100"))
    right_half = np.zeros((HEIGHT, WIDTH))
    right_half[:, WIDTH // 2 :] = 1
    prompt = with_mask(comfyui, scene(), "left", right_half)
    prompt["scene"]["inputs"]["boxes"] = "0 0 50 100"
    np.testing.assert_array_equal(by_boxes, drawn(comfyui, with_mask(comfyui, prompt, "right", 1 - right_half)))
    layout = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    layout[:, : WIDTH // 2], layout[:, WIDTH // 2 :] = (200, 40, 40), (40, 40, 200)
    Image.fromarray(layout).save(comfyui.base / "input" / "scene_layout.png")
    prompt = scene(left="ben", right="ann", boxes="nonsense")
    prompt["layout"] = graph.node("LoadImage", "layout", image="scene_layout.png", upload="image")
    prompt["scene"]["inputs"]["layout"] = ["layout", 0]
    np.testing.assert_array_equal(by_boxes, drawn(comfyui, prompt))


def test_it_says_what_is_wrong_with_regions(comfyui, characters):
    characters()
    with pytest.raises(NodeFailed, match="the regions of Ann and Ben overlap by 20%"):
        drawn(comfyui, scene(boxes="0 0 50 100\n40 0 50 100"))
    drawn(comfyui, scene(boxes="0 0 50 100\n40 0 50 100", overlap="the first is in front"))
    with pytest.raises(NodeFailed, match="Ben's mask is empty"):
        drawn(comfyui, with_mask(comfyui, scene(boxes="0 0 50 100"), "right", np.zeros((HEIGHT, WIDTH))))
    with pytest.raises(NodeFailed, match="Ann's mask has 100 x 100 pixels and the scene 192 x 64"):
        drawn(comfyui, with_mask(comfyui, scene(boxes="50 0 50 100"), "left", np.ones((100, 100))))


def test_it_says_what_is_wrong_with_characters(comfyui, characters):
    library = characters()
    library.put("Dan", trigger="zorvik")
    with pytest.raises(NodeFailed, match="Dan has no LoRA yet"):
        drawn(comfyui, scene(right="dan"))
    library.add_version("dan", library.folder("ann") / "loras" / "v1.safetensors")
    (said,) = graph.run(comfyui, scene(right="dan")).outputs["scene"]["text"]
    assert "Ann and Dan have the same trigger 'zorvik'" in said
    (library.folder("ben") / "loras" / "v1.safetensors").unlink()
    prompt = scene(right="ben")
    prompt["right"]["inputs"]["strength"] = 0.9
    with pytest.raises(NodeFailed, match="the file of Ben's LoRA v1 is gone"):
        drawn(comfyui, prompt)


def test_a_lora_of_another_model_is_refused(comfyui, characters):
    characters("sd15.safetensors")
    with pytest.raises(NodeFailed, match="Ann's LoRA v1 .* 4 of its 4 weights belong to no layer"):
        drawn(comfyui, scene("sd3.safetensors"))


def test_another_latent_than_the_scenes_is_refused(comfyui, characters):
    characters()
    prompt = scene(until=1.0)
    prompt["6"]["inputs"]["latent_image"] = ["5", 0]
    with pytest.raises(NodeFailed, match="made for a latent of 24 x 8, and the sampler was given"):
        drawn(comfyui, prompt)


def test_cores_nodes_go_before_and_after(comfyui, characters):
    """A LoRA of core's loader, a batch of latents, and the custom sampler: as each by itself."""
    library = characters()
    shutil.copy(
        library.folder("cid") / "loras" / "v1.safetensors", comfyui.base / "models" / "loras" / "cid.safetensors"
    )
    prompt = scene()
    prompt["more"] = graph.node("LoraLoaderModelOnly", "more", model=["scene", 0], lora_name="cid.safetensors",
                                strength_model=0.8)  # fmt: skip
    prompt["6"]["inputs"]["model"] = ["more", 0]
    after = drawn(comfyui, prompt)
    prompt["more"]["inputs"]["model"], prompt["scene"]["inputs"]["model"] = ["1", 0], ["more", 0]
    prompt["6"]["inputs"]["model"] = ["scene", 0]
    np.testing.assert_array_equal(after, drawn(comfyui, prompt))
    assert not np.array_equal(after, drawn(comfyui, scene()))

    batch = scene()
    batch["two"] = graph.node("RepeatLatentBatch", "two", samples=["scene", 3], amount=2)
    batch["6"]["inputs"]["latent_image"] = ["two", 0]
    batch["first"] = graph.node("ImageFromBatch", "first", image=["7", 0], batch_index=0, length=1)
    batch["8"]["inputs"]["images"] = ["first", 0]
    assert np.abs(drawn(comfyui, batch).astype(int) - drawn(comfyui, scene())).max() <= 1

    custom = scene()
    custom["sampler"] = graph.node("KSamplerSelect", "select", sampler_name="dpmpp_2m")
    custom["sigmas"] = graph.node("BasicScheduler", "sigmas", model=["scene", 0], scheduler="simple", steps=2,
                                  denoise=1.0)  # fmt: skip
    custom["6"] = graph.node(
        "SamplerCustom", "custom", model=["scene", 0], add_noise=True, noise_seed=3, cfg=4.0, positive=["scene", 1],
        negative=["scene", 2], sampler=["sampler", 0], sigmas=["sigmas", 0], latent_image=["scene", 3],
    )  # fmt: skip
    assert drawn(comfyui, custom).std() > 0
