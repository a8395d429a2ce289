"""Prompts and pictures in one space: ComfyUI's CLIP and CLIP_VISION, small, and trained on colours."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from isengard.nodes.evaluation import adherence

pytestmark = pytest.mark.comfyui

COLOURS = {
    "red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.1), "blue": (0.1, 0.2, 0.9), "yellow": (0.9, 0.9, 0.1),
    "black": (0.1, 0.1, 0.1), "white": (0.9, 0.9, 0.9),
}  # fmt: skip
PROMPTS = [f"a {colour} wall" for colour in COLOURS]
WIDTH, SIDE = 64, 32
NETWORK = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
    "hidden_act": "quick_gelu",
}  # fmt: skip
VISION = NETWORK | {
    "model_type": "clip_vision_model", "num_channels": 3, "patch_size": 16, "image_size": SIDE, "projection_dim": WIDTH,
}  # fmt: skip


def pictures(seed: int) -> torch.Tensor:
    """A wall of each colour: N,H,W,3."""
    noise = torch.randn(len(COLOURS), SIDE, SIDE, 3, generator=torch.Generator().manual_seed(seed))
    return (torch.tensor(list(COLOURS.values()))[:, None, None] + 0.05 * noise).clamp(0, 1)


def with_random_weights(network: nn.Module) -> nn.Module:
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1 or "embedding" in name:
            nn.init.normal_(parameter, std=0.06)
        else:
            nn.init.constant_(parameter, float("norm" in name and name.endswith("weight")))
    return network.float().requires_grad_(True)


def image_encoder(config: dict, folder):
    from comfy.clip_vision import ClipVisionModel

    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return ClipVisionModel(str(file))


@pytest.fixture(scope="module")
def towers(comfy_model, tmp_path_factory):
    """A CLIP and a CLIP_VISION whose projections learned the colours together."""
    import comfy.sd
    import comfy.sd1_clip
    from comfy.supported_models_base import ClipTarget

    torch.manual_seed(0)
    options = {"clip_l_model_config": NETWORK}
    clip = comfy.sd.CLIP(ClipTarget(comfy.sd1_clip.SD1Tokenizer, comfy.sd1_clip.SD1ClipModel), model_options=options)
    vision = image_encoder(VISION, tmp_path_factory.mktemp("vision"))
    learn(with_random_weights(clip.cond_stage_model.clip_l.transformer), with_random_weights(vision.model), clip)
    return clip, vision


def learn(text: nn.Module, image: nn.Module, clip) -> None:
    """CLIP's loss (arXiv 2103.00020, figure 3) at a temperature of 0.1, for the two projections; ComfyUI's encoders add
    in place, so they keep their random weights."""
    from comfy.clip_vision import clip_preprocess

    tokens = torch.tensor([[token for token, _ in clip.tokenize(prompt)["l"][0]] for prompt in PROMPTS])
    with torch.no_grad():
        read = text(tokens)[3]
        seen = [image.vision_model(clip_preprocess(pictures(seed), SIDE))[2] for seed in range(8)]
    projections = text.text_projection.weight, image.visual_projection.weight
    optimizer = torch.optim.Adam(projections, lr=1e-2)
    own = torch.arange(len(PROMPTS))
    for step in range(100):
        texts, walls = (
            functional.normalize(functional.linear(found, weight), dim=1)
            for found, weight in zip((read, seen[step % 8]), projections, strict=True)
        )
        likeness = 10 * walls @ texts.T
        loss = functional.cross_entropy(likeness, own) + functional.cross_entropy(likeness.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for network in (text, image):
        network.requires_grad_(False)


@pytest.fixture(scope="module")
def nodes(comfy_model):
    from isengard.nodes.evaluation import comfy_adherence, scoring_nodes

    return comfy_adherence, scoring_nodes


def seen_by(vision, walls: torch.Tensor) -> torch.Tensor:
    return functional.normalize(vision.encode_image(walls, crop=False)["image_embeds"].float(), dim=1)


def test_every_picture_shows_its_own_prompt_best(towers, nodes):
    clip, vision = towers
    texts = nodes[0].text_vectors(clip, vision, PROMPTS)
    walls = seen_by(vision, pictures(999))
    own = adherence.adherences(walls, texts, range(len(PROMPTS)))
    others = adherence.adherences(walls, texts, [(place + 1) % len(PROMPTS) for place in range(len(PROMPTS))])
    assert all(each.is_own for each in own) and not any(each.is_own for each in others)
    assert min(each.value for each in own) > max(each.value for each in others)


def test_long_and_weighted_prompts_are_read_too(towers, nodes):
    clip, vision = towers
    plain, weighted, long = nodes[0].text_vectors(clip, vision, ["a red wall", "a (red:1.3) wall", "a red wall, " * 60])
    assert torch.allclose(plain, weighted, atol=1e-5), "weights are the sampler's, and not what the text says"
    assert plain.shape == long.shape == (WIDTH,)


@pytest.fixture
def projection(towers):
    """The text encoder's; it comes back as it was."""
    layer = towers[0].cond_stage_model.clip_l.transformer.text_projection
    kept = layer.weight.clone()
    yield layer
    layer.weight.data.copy_(kept)


def test_a_text_encoder_without_its_projection_is_told(towers, nodes, projection):
    projection.weight.data.copy_(torch.eye(WIDTH))
    with pytest.raises(adherence.AdherenceError, match="came without its projection.*Load clip_l.safetensors"):
        nodes[0].text_vectors(*towers, PROMPTS)


def test_encoders_of_other_spaces_are_told(towers, nodes, tmp_path):
    with pytest.raises(adherence.AdherenceError, match="vectors of 768 numbers, and for text the CLIP has ones of 64"):
        nodes[0].text_vectors(towers[0], image_encoder(VISION | {"projection_dim": 768}, tmp_path), PROMPTS)
    without = {key: value for key, value in VISION.items() if key != "projection_dim"}  # as ComfyUI's SigLIP
    with pytest.raises(adherence.AdherenceError, match="no space for text: SigLIP and DINO"):
        nodes[0].text_vectors(towers[0], image_encoder(without, tmp_path), PROMPTS)


def test_the_node_keeps_what_shows_its_prompt(towers, nodes):
    from isengard.nodes.evaluation import identity

    clip, vision = towers
    everyone = identity.Encoder("test", lambda picture: picture.mean((1, 2)))
    who = identity.calibrated("Mira", everyone, torch.eye(3), torch.eye(3))
    lines = [*PROMPTS[:-1], PROMPTS[0]]  # the last picture is white and should be red
    asked = {"prompts": "\n".join(lines), "clip": clip, "clip_vision": vision}
    scored = nodes[1].ScoreImages.execute(pictures(7), who, "all", 0.5, **asked, least_adherence=1.5)
    kept, annotated, _, _, table, adherences = scored.args
    assert len(kept) == len(PROMPTS) - 1 and len(annotated) == len(adherences) == len(PROMPTS)
    assert min(adherences[:-1]) > 1.5 > adherences[-1]
    assert f"{len(PROMPTS) - 1} of {len(PROMPTS)} show their own prompt best" in table
    with pytest.raises(adherence.AdherenceError, match="and clip_vision is missing. Give all three, or none"):
        nodes[1].ScoreImages.execute(pictures(7), who, "all", 0.5, prompts="a red wall", clip=clip)
    with pytest.raises(adherence.AdherenceError, match="and prompts is missing"):
        nodes[1].ScoreImages.execute(pictures(7), who, "all", 0.5, clip=clip, clip_vision=vision)
