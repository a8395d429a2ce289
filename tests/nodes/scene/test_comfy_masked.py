"""LoRAs that act in their regions alone, on ComfyUI's own networks."""

from __future__ import annotations

import pytest
import torch

from isengard.tests.trainers.comfy_examples import conditioning

pytestmark = pytest.mark.comfyui

SIDE = 64  # pixels
LAYERS = {  # of the picture, of the text, and (a UNet's) of one that is a convolution
    "sd3": ["joint_blocks.1.x_block.attn.qkv", "joint_blocks.1.context_block.mlp.fc1",
            "joint_blocks.2.x_block.attn.proj"],
    "sd15": [
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k", "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
        "input_blocks.1.0.in_layers.2", "middle_block.1.transformer_blocks.0.ff.net.2",
    ],
}  # fmt: skip
checkpoints = pytest.mark.parametrize("checkpoint", LAYERS)


@pytest.fixture(scope="module")
def parts(comfy_model):
    """The modules that import comfy."""
    from isengard.nodes.scene import comfy_masked
    from isengard.trainers import comfy_lora, comfy_sampling

    class Parts:
        masked, lora, sampling = comfy_masked, comfy_lora, comfy_sampling

    return Parts


def lora_of(parts, patcher, layers, kind="lora", seed=1, size=0.3):
    """A LoRA of these layers in sd-scripts' names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return size * torch.randn(*shape, generator=generator)

    names, state = parts.lora.sd_scripts_names(patcher), {}
    for path in layers:
        weight = patcher.model.diffusion_model.get_submodule(path).weight
        rows, columns = weight.shape[:2]
        ends = {"lora_up.weight": draw(rows, 4, *[1] * (weight.dim() - 2)),
                "lora_down.weight": draw(4, *weight.shape[1:]) / columns**0.5, "alpha": torch.tensor(8.0)}  # fmt: skip
        if kind == "loha":
            ends = {f"hada_w{n}_{side}": draw(*shape) for n in (1, 2) for side, shape in (
                ("a", (rows, 3)), ("b", (3, weight[0].numel()))
            )}  # fmt: skip
        if kind == "lokr":
            ends = {"lokr_w1": draw(2, 2), "lokr_w2": draw(rows // 2, columns // 2, *weight.shape[2:])}
        if kind == "dora":
            ends["dora_scale"] = 1.1 * weight.float().flatten(1).norm(dim=1).reshape(rows, *[1] * (weight.dim() - 1))
        state |= {f"{names[path]}.{end}": tensor for end, tensor in ends.items()}
    return state


def draw(parts, patcher, positive, negative, side=SIDE):
    settings = parts.sampling.SamplerSettings(2, 3.0, "euler", "simple", side, side)
    with torch.inference_mode():
        return parts.sampling.sample(patcher, positive, negative, 7, settings, lambda: None)


def texts(checkpoint):
    return [conditioning(seed, pooled=checkpoint == "sd3") for seed in (1, 2)]


def everywhere(parts, who, there=1.0):
    """CONDITIONING for which a LoRA is everywhere, or nowhere."""
    size = SIDE // 8
    return [parts.masked.placed(each, torch.full((1, size, size), there), torch.full((1,), there)) for each in who]


def with_lora(parts, patcher, state, strength=1.0):
    return parts.masked.with_adapters(
        patcher, [parts.lora.matched(patcher, state).adapters], [strength], (SIDE // 8, SIDE // 8)
    )


@checkpoints
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "dora"])
def test_a_lora_that_is_everywhere_is_cores_own(parts, load, checkpoint, kind):
    import comfy.sd

    patcher = load(checkpoint)
    state, who = lora_of(parts, patcher, LAYERS[checkpoint], kind), texts(checkpoint)
    plain = draw(parts, patcher, *who)
    for strength in (1.0, -0.5):
        cores = draw(parts, comfy.sd.load_lora_for_models(patcher, None, dict(state), strength, 0)[0], *who)
        ours = draw(parts, with_lora(parts, patcher, state, strength), *everywhere(parts, who))
        changed = (cores - plain).norm()
        assert changed > 0.02 * plain.norm()
        assert (ours - cores).norm() < 0.03 * changed  # core rounds the changed weights to float16


@checkpoints
def test_a_lora_that_is_nowhere_changes_nothing(parts, load, checkpoint):
    patcher = load(checkpoint)
    scene, who = with_lora(parts, patcher, lora_of(parts, patcher, LAYERS[checkpoint])), texts(checkpoint)
    plain = draw(parts, patcher, *who)
    assert torch.equal(draw(parts, scene, *everywhere(parts, who, 0.0)), plain)
    assert torch.equal(draw(parts, scene, *who), plain)  # conditioning of no scene
    assert not torch.equal(draw(parts, scene, *everywhere(parts, who)), plain)
    assert torch.equal(draw(parts, patcher, *who), plain)  # the base is left as it was


def seen(patcher, path, run):
    """What a layer put out at its first call."""
    found = []
    layer = patcher.model.diffusion_model.get_submodule(path)
    hook = layer.register_forward_hook(lambda module, given, out: found.append(out.detach().clone()))
    try:
        run()
    finally:
        hook.remove()
    return found[0]


@pytest.mark.parametrize(
    ("checkpoint", "path", "scale"),
    [("sd3", LAYERS["sd3"][0], 2), ("sd15", LAYERS["sd15"][1], 1), ("sd15", LAYERS["sd15"][2], 1)],
)
def test_picture_tokens_outside_the_region_are_the_bases(parts, load, checkpoint, path, scale):
    patcher, who, size = load(checkpoint), texts(checkpoint), SIDE // 8
    scene = with_lora(parts, patcher, lora_of(parts, patcher, [path]))
    mask = torch.zeros(1, size, size)
    mask[:, : size // 2, : size // 4] = 1
    placed = [parts.masked.placed(each, mask, torch.zeros(1)) for each in who]
    base = seen(patcher, path, lambda: draw(parts, patcher, *who))
    ours = seen(patcher, path, lambda: draw(parts, scene, *placed))
    side = size // scale
    if ours.dim() == 3:
        base, ours = (each.transpose(1, 2).reshape(len(each), -1, side, side) for each in (base, ours))
    inside = mask[0, ::scale, ::scale].bool()
    differs = (base != ours).any(1)
    assert torch.equal(differs, inside.expand_as(differs))


def test_text_tokens_are_changed_in_the_characters_own_words_alone(parts, load):
    patcher, (own, other) = load("sd3"), texts("sd3")
    path = LAYERS["sd3"][1]
    scene = with_lora(parts, patcher, lora_of(parts, patcher, [path]))
    mask = torch.ones(1, SIDE // 8, SIDE // 8)
    placed = [parts.masked.placed(own, mask, torch.ones(1)), parts.masked.placed(other, mask, torch.zeros(1))]
    base = seen(patcher, path, lambda: draw(parts, patcher, own, other))
    ours = seen(patcher, path, lambda: draw(parts, scene, *placed))
    differs = (base != ours).any(2).any(1).tolist()
    assert sorted(differs) == [False, True]  # of the batch's two rows


def test_loras_of_other_ranks_and_kinds_mix_each_in_its_half(parts, load):
    """What both do together at once is what each does alone: on its own tokens of the same input."""
    patcher, who, path = load("sd3"), texts("sd3"), LAYERS["sd3"][0]
    first, second = (lora_of(parts, patcher, [path], kind, seed) for kind, seed in (("lora", 1), ("lokr", 2)))
    size = SIDE // 8
    masks = torch.zeros(2, size, size)
    masks[0, :, : size // 2], masks[1, :, size // 2 :] = 1, 1
    both = [parts.masked.placed(each, masks, torch.zeros(2)) for each in who]
    matched = [parts.lora.matched(patcher, each).adapters for each in (first, second)]
    scene = parts.masked.with_adapters(patcher, matched, [1.0, 1.0], (size, size))
    mixed = seen(patcher, path, lambda: draw(parts, scene, *both))
    for place, state in enumerate((first, second)):
        alone = with_lora(parts, patcher, state)
        ours = seen(patcher, path, lambda alone=alone: draw(parts, alone, *everywhere(parts, who)))
        here = masks[place, ::2, ::2].flatten().bool()
        torch.testing.assert_close(mixed[:, here], ours[:, here])


def test_other_peoples_nodes_come_after(parts, load):
    """A clone, a LoRA of core's loader and another scene on top."""
    import comfy.sd

    patcher, who = load("sd3"), texts("sd3")
    state, more = (lora_of(parts, patcher, LAYERS["sd3"], seed=seed) for seed in (1, 2))
    scene = with_lora(parts, patcher, state)
    after = comfy.sd.load_lora_for_models(scene, None, dict(more), 1.0, 0)[0]
    before = with_lora(parts, comfy.sd.load_lora_for_models(patcher, None, dict(more), 1.0, 0)[0], state)
    placed = everywhere(parts, who)
    assert torch.equal(draw(parts, after, *placed), draw(parts, before, *placed))
    again = with_lora(parts, scene, more)  # the newer scene is in the older one's place
    assert torch.equal(draw(parts, again, *placed), draw(parts, with_lora(parts, patcher, more), *placed))


def test_a_latent_of_another_size_is_refused(parts, load):
    patcher, who = load("sd3"), texts("sd3")
    scene = with_lora(parts, patcher, lora_of(parts, patcher, LAYERS["sd3"]))
    placed = everywhere(parts, who)
    with pytest.raises(parts.masked.SceneError, match="for a latent of 8 x 8, and the sampler was given 16 x 16"):
        draw(parts, scene, *placed, side=128)
    assert torch.equal(draw(parts, patcher, *who), draw(parts, load("sd3"), *who))  # nothing was left on
