"""The loss on ComfyUI's own models is what the papers say, and their LoRA what they sample with."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from isengard.trainers import batch, draws, loop, timesteps

from .comfy_examples import CONFIG, examples, with_v_prediction

pytestmark = pytest.mark.comfyui


def all_three(shown: int) -> list[draws.Draw]:
    """A batch of every picture, with noise that no step has."""
    return [draws.Draw(place, 0, 1000 + 3 * shown + place) for place in range(3)]


def with_edm(patcher):
    """As core's ModelSamplingContinuousEDM node does it, for a model that predicts as Playground 2.5 does."""
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.EDM):
        pass

    clone, sampling = patcher.clone(), Sampling(patcher.model.model_config)
    sampling.set_parameters(0.002, 120.0, 0.5)
    clone.add_object_patch("model_sampling", sampling)
    return clone


def drawn(batch_drawn, shape):
    """The noise and the schedule positions of a batch: data, so they are drawn with the trainer's own functions."""
    noises, positions = [], []
    for draw in batch_drawn:
        generator = draws.generator(CONFIG.seed, draw.shown)
        noises.append(torch.randn(shape, generator=generator))
        positions.append(timesteps.draw_positions(CONFIG.objective, 1, generator))
    return torch.stack(noises), torch.cat(positions)


def ddpm_reference(network, pictures, batch_drawn, kind):
    """Loss of a discrete eps or v model, from DDPM's definitions and Stable Diffusion's schedule."""
    latent = torch.stack([example.latent for example in pictures]).double()
    noise, positions = drawn(batch_drawn, latent.shape[1:])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    t = (positions * 1000).long()
    a = alphas[t].reshape(-1, 1, 1, 1)
    x = a.sqrt() * latent + (1 - a).sqrt() * noise
    target = noise if kind == "eps" else a.sqrt() * noise - (1 - a).sqrt() * latent
    context = torch.cat([example.conditions[0][0][0] for example in pictures])
    predicted = network(x.float(), t.float(), context=context)
    return ((predicted.double() - target) ** 2).mean()


def edm_reference(network, pictures, batch_drawn, kind):
    """Loss of the network itself, from arXiv 2206.00364, table 1 and equations 7 and 8, with sigma_data 0.5."""
    latent = torch.stack([example.latent for example in pictures]).double()
    noise, positions = drawn(batch_drawn, latent.shape[1:])
    smallest, largest, data = 0.002, 120.0, 0.5
    sigma = torch.exp(math.log(smallest) + positions * (math.log(largest) - math.log(smallest))).reshape(-1, 1, 1, 1)
    x = latent + sigma * noise
    scale = (sigma**2 + data**2).sqrt()
    skip, out = data**2 / scale**2, sigma * data / scale
    target = (latent - skip * x) / out
    context = torch.cat([example.conditions[0][0][0] for example in pictures])
    predicted = network((x / scale).float(), (0.25 * sigma.log()).flatten().float(), context=context)
    return ((predicted.double() - target) ** 2).mean()


def flow_reference(network, pictures, batch_drawn, kind):
    """Loss of SD3's rectified flow (arXiv 2403.03206, section 2), timesteps in thousandths."""
    latent = torch.stack([example.latent for example in pictures])
    noise, positions = drawn(batch_drawn, latent.shape[1:])
    s = positions.float().reshape(-1, 1, 1, 1)
    context = torch.cat([example.conditions[0][0][0] for example in pictures])
    pooled = torch.cat([example.conditions[0][0][1]["pooled_output"] for example in pictures])
    predicted = network((1 - s) * latent + s * noise, 1000 * positions.float(), context=context, y=pooled)
    return ((predicted - (noise - latent)) ** 2).mean()


@pytest.mark.parametrize(
    "kind, checkpoint, reference",
    [("flow", "sd3", flow_reference), ("eps", "sd15", ddpm_reference), ("v", "sd15", ddpm_reference),
     ("edm", "sd15", edm_reference)],
)  # fmt: skip
def test_the_loss_is_the_native_one(comfy_model, load, kind, checkpoint, reference):
    patcher = load(checkpoint)
    patcher = {"v": with_v_prediction, "edm": with_edm}.get(kind, lambda same: same)(patcher)
    assert comfy_model.prediction_type(patcher) == kind
    pictures = examples(checkpoint)
    with comfy_model.opened(patcher, "loaded") as base, torch.no_grad():
        for shown in range(4):
            noisy = pictures.batch(all_three(shown), base, CONFIG)
            ours = batch.native_loss(base, noisy, CONFIG.objective)
            expected = reference(base.network, pictures.trained, all_three(shown), kind)
            assert ours.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("checkpoint", ["sd3", "sd15"])
def test_the_lora_gives_in_comfyui_what_was_trained(comfy_model, load, checkpoint):
    """The adapted network of the last step and the base with our LoRA loaded by ComfyUI predict the same."""
    patcher, pictures = load(checkpoint), examples(checkpoint)
    config = dataclasses.replace(CONFIG, steps=4)
    from isengard.trainers import comfy_lora, lora_file

    losses, names = [], comfy_lora.file_names(patcher, config.adapter.kind)

    def measure(base):
        with torch.no_grad():
            noisy = [pictures.batch(all_three(shown), base, CONFIG) for shown in range(3)]
            return torch.stack([batch.native_loss(base, each, CONFIG.objective) for each in noisy])

    with comfy_model.opened(patcher, "loaded") as base:
        untrained = measure(base)
        trained = loop.train(base, pictures, config, loop.Watch(lambda progress: losses.append(measure(base))))
    patched = comfy_model.with_lora(patcher, lora_file.state_dict(trained.weights, names))
    with comfy_model.opened(patched, "loaded") as base:
        loaded = measure(base)
    assert (losses[-1] - untrained).abs().min() > 1e-3, "training changed nothing, so this test shows nothing"
    torch.testing.assert_close(loaded, losses[-1], rtol=2e-4, atol=0)
