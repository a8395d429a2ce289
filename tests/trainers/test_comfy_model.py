"""The bridge to ComfyUI, on ComfyUI's own models: what is trained is what the paper says and what it samples with."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref

import pytest
import torch
from peft.tuners.lora import LoraLayer

from isengard.trainers import batch, draws, loop, targets, timesteps
from isengard.trainers.batch import Example, Examples
from isengard.trainers.config import AdapterConfig, DataConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from isengard.trainers.errors import TrainingError

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def comfy_lora(comfy_model):
    from isengard.trainers import comfy_lora

    return comfy_lora


CONFIG = TrainConfig(
    steps=2,
    seed=5,
    adapter=AdapterConfig(rank=4),
    objective=ObjectiveConfig(timestep_sampling="uniform"),
    optimizer=OptimizerConfig(learning_rate=1e-2),
    data=DataConfig(batch_size=2),
)


def conditioning(seed, pooled=True):
    """A CONDITIONING as a text encoder gives it: 77 tokens of 768 (SD1.5) or 4096 (SD3, with a pooled vector)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, 77, 4096 if pooled else 768, generator=generator)
    return [[tokens, {"pooled_output": torch.randn(1, 2048, generator=generator)} if pooled else {}]]


def examples(kind):
    generator = torch.Generator().manual_seed(9)
    channels = 16 if kind == "sd3" else 4
    return Examples(
        tuple(
            Example(
                f"{n}.png", torch.randn(channels, 8, 8, generator=generator), (conditioning(n, pooled=kind == "sd3"),)
            )
            for n in range(3)
        )
    )


def all_three(shown: int) -> list[draws.Draw]:
    """A batch of every picture, with noise that no step has."""
    return [draws.Draw(place, 0, 1000 + 3 * shown + place) for place in range(3)]


def with_v_prediction(patcher):
    """As core's ModelSamplingDiscrete node does it."""
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.V_PREDICTION):
        pass

    clone = patcher.clone()
    clone.add_object_patch("model_sampling", Sampling(patcher.model.model_config))
    return clone


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


def test_every_target_has_a_name_that_comfyui_maps_to_it(comfy_lora, load):
    import comfy.lora

    for checkpoint in ("sd3", "sd15"):
        patcher = load(checkpoint)
        names, known = comfy_lora.sd_scripts_names(patcher), comfy.lora.model_lora_keys_unet(patcher.model, {})
        paths = targets.target_layers(patcher.model.diffusion_model, AdapterConfig(targets="all_layers"))
        assert {path: known[names[path]] for path in paths} == {p: f"diffusion_model.{p}.weight" for p in paths}
        assert len({names[path] for path in paths}) == len(paths)


def test_unet_names_are_diffusers_block_names(comfy_lora, load):
    names = comfy_lora.sd_scripts_names(load("sd15"))
    assert (
        names["input_blocks.1.1.transformer_blocks.0.attn1.to_q"]
        == "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    )


def test_weights_that_comfyui_replaces_meanwhile_are_not_held_and_left_as_they_were_found(comfy_model, load):
    """A preview with a LoRA makes it load the model again."""
    patcher = load("sd3")
    model = patcher.model
    with torch.inference_mode():
        model.requires_grad_(True)
    with comfy_model.opened(patcher, "loaded"):
        before = [weakref.ref(parameter) for parameter in model.parameters()]
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = torch.nn.Parameter(parameter.detach().clone(), requires_grad=False)
        del module, parameter
        gc.collect()
        assert not any(reference() is not None for reference in before), "a second copy of the model"
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("failing", [True, False])
def test_the_base_is_left_as_it_was_found(comfy_model, load, failing):
    import comfy.model_management

    patcher = load("sd3")
    model = patcher.model
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    modules = {path: id(module) for path, module in model.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    training = {path: module.training for path, module in model.named_modules()}
    switch = vars(comfy.model_management).get("in_training", "absent")

    def report(progress):
        assert vars(comfy.model_management).get("in_training", "absent") in (True, "absent")
        if failing:
            raise KeyError("stop")

    def train():
        with comfy_model.opened(patcher, "loaded") as base:
            loop.train(base, examples("sd3"), CONFIG, loop.Watch(report))

    if failing:
        with pytest.raises(KeyError):
            train()
    else:
        train()
    assert dict.fromkeys(weights, True) == {key: torch.equal(v, weights[key]) for key, v in model.state_dict().items()}
    assert {path: id(module) for path, module in model.named_modules()} == modules
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert "calculate_denoised" not in vars(model.model_sampling)
    assert {path: module.training for path, module in model.named_modules()} == training
    assert vars(comfy.model_management).get("in_training", "absent") is switch


class OutOfMemory(torch.OutOfMemoryError):
    """As the CUDA allocator raises it; ComfyUI knows it by its class."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("granularity", ["none", "blocks"])
@pytest.mark.parametrize("end", ["finished", "interrupted", "error", "out of memory"])
def test_the_base_samples_afterwards_as_before(comfy_model, load, end, granularity, precision):
    """To the last bit, by ComfyUI's own sampler, whatever ended the training and wherever in a step."""
    import comfy.model_management
    import comfy.sample

    patcher = load("sd3")
    (condition,) = examples("sd3").trained[0].conditions

    def sampled():
        noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode():
            return comfy.sample.sample(
                patcher, noise, 2, 2.0, "euler", "simple", condition, condition, torch.zeros_like(noise), seed=1
            )

    errors = {
        "interrupted": comfy.model_management.InterruptProcessingException(), "error": KeyError("x"),
        "out of memory": OutOfMemory("CUDA out of memory"),
    }  # fmt: skip
    before, calls = sampled(), []

    def fail(module, inputs, output):
        calls.append(None)
        if len(calls) == 3 and end in errors:  # in the middle of a forward pass, after a step
            raise errors[end]

    config = dataclasses.replace(CONFIG, steps=3, gradient_checkpointing=granularity)
    block = patcher.model.diffusion_model.joint_blocks[2]

    def train():
        with comfy_model.opened(patcher, precision) as base:
            hook = block.x_block.mlp.act.register_forward_hook(fail)
            try:
                loop.train(base, examples("sd3"), config, loop.Watch(lambda progress: None))
            finally:
                hook.remove()

    if end == "finished":
        train()
    else:
        with pytest.raises(type(errors[end])):
            train()
    assert torch.equal(sampled(), before)


def test_weights_become_ordinary_tensors_and_shared_ones_stay_shared(comfy_model):
    with torch.inference_mode():
        module = torch.nn.ModuleDict({name: torch.nn.Linear(3, 3) for name in "abc"})
        module["c"].weight = module["a"].weight
        module["a"].register_buffer("table", torch.arange(3.0))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module["b"].to(torch.float64)  # moved outside inference mode: no inference tensor, and still not to be saved
    module["b"].to(torch.float32)
    comfy_model._make_ordinary(module)
    module["b"](module["a"](torch.ones(1, 3, requires_grad=True))).sum().backward()
    assert module["c"].weight is module["a"].weight
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_the_fingerprint_tells_weights_apart(comfy_model, load):
    def fingerprint(patcher):
        with comfy_model.opened(patcher, "loaded") as base:
            return comfy_model.fingerprint(base)

    patcher = load("sd3")
    first = fingerprint(patcher)
    assert first == fingerprint(load("sd3"))
    assert first != fingerprint(load("sd15"))
    with torch.no_grad():
        patcher.model.diffusion_model.joint_blocks[2].x_block.mlp.fc1.weight += 1e-2
    assert fingerprint(patcher) != first


def test_the_fingerprint_tells_schedules_on_the_same_weights_apart(comfy_model, load):
    """As core's ModelSampling nodes make them: another prediction type, and another shift."""
    import comfy.model_sampling

    class Shifted(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    def with_shift(shift):
        patcher = load("sd3").clone()
        sampling = Shifted(patcher.model.model_config)
        sampling.set_parameters(shift=shift)
        patcher.add_object_patch("model_sampling", sampling)
        return patcher

    def fingerprint(patcher):
        with comfy_model.opened(patcher, "loaded") as base:
            return comfy_model.fingerprint(base)

    assert fingerprint(load("sd15")) != fingerprint(with_v_prediction(load("sd15")))
    assert fingerprint(with_shift(3.0)) == fingerprint(with_shift(3.0)) != fingerprint(with_shift(5.0))


def test_a_lora_that_is_loaded_into_the_base_is_trained_on_and_left_there(comfy_model, load):
    """A DoRA, whose merging into the weights ComfyUI computes in a way that fails under autograd."""
    import comfy.model_management

    path = "joint_blocks.1.x_block.mlp.fc1"
    weight = load("sd3").model.diffusion_model.get_submodule(path).weight
    generator = torch.Generator().manual_seed(1)
    name = f"lora_unet_{path.replace('.', '_')}"
    dora = {
        f"{name}.lora_up.weight": torch.randn(weight.shape[0], 2, generator=generator) * 0.1,
        f"{name}.lora_down.weight": torch.randn(2, weight.shape[1], generator=generator) * 0.1,
        f"{name}.alpha": torch.tensor(2.0),
        f"{name}.dora_scale": weight.float().norm(dim=0, keepdim=True) * 1.5,
    }
    with torch.inference_mode():  # as LoraLoader reads a file
        dora = {key: tensor.clone() for key, tensor in dora.items()}
        expected = comfy_model.with_lora(load("sd3"), dora)
        comfy.model_management.load_models_gpu([expected], force_full_load=True)
    trained_on = comfy_model.with_lora(load("sd3"), dora)
    with comfy_model.opened(trained_on, "loaded") as base:
        loop.train(base, examples("sd3"), CONFIG, loop.Watch(lambda progress: None))
    merged = trained_on.model.diffusion_model.get_submodule(path).weight
    assert not torch.allclose(merged, weight, atol=1e-2), "the DoRA is not in the weights"
    assert torch.equal(merged, expected.model.diffusion_model.get_submodule(path).weight)


def test_shifted_levels_are_those_of_the_models_own_sampler(comfy_model, load):
    positions = torch.tensor([0.0, 0.25, 0.5, 0.999])
    with comfy_model.opened(load("sd3"), "loaded") as base:
        assert torch.equal(base.sigmas(positions), positions)
        shifted = base.sigmas(positions, shifted=True)
        torch.testing.assert_close(shifted.float(), 3 * positions / (1 + 2 * positions))  # SD3's shift is 3
    with comfy_model.opened(load("sd15"), "loaded") as base:  # a schedule of its own, which has no shift
        assert torch.equal(base.sigmas(positions, shifted=True), base.sigmas(positions))


def test_captions_of_different_lengths_fit_into_one_step(comfy_model, load):
    """SD3 does not pad: 77 tokens and 154 cannot be one batch. Each predicts as it does alone."""
    short, other, long = examples("sd3").trained
    tokens, more = long.conditions[0][0]
    long = Example("long", long.latent, ([[torch.cat([tokens, tokens], 1), more]],))
    pictures = [short, long, other]
    with comfy_model.opened(load("sd3"), "loaded") as base, torch.no_grad():
        x, sigma = torch.stack([example.latent for example in pictures]), torch.tensor([0.2, 0.5, 0.9])
        together = base.predict(x, sigma, [example.conditions[0] for example in pictures])
        for place, example in enumerate(pictures):
            alone = base.predict(x[place : place + 1], sigma[place : place + 1], [example.conditions[0]])
            torch.testing.assert_close(together[place : place + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_network_that_prepares_its_text_itself_can_be_trained(comfy_model, load, monkeypatch):
    """As LTX-AV in newer ComfyUI: `extra_conds` runs layers of the network. That happens before they have adapters,
    and what they make holds no graph."""
    patcher = load("sd3")
    original, embedder = patcher.model.extra_conds, patcher.model.diffusion_model.y_embedder
    adapted = []

    def extra_conds(**arguments):
        adapted.append(isinstance(embedder.mlp[0], LoraLayer))
        conds = original(**arguments)
        conds["c_crossattn"].cond = conds["c_crossattn"].cond + embedder(arguments["pooled_output"]).mean()
        return conds

    monkeypatch.setattr(patcher.model, "extra_conds", extra_conds)
    config = dataclasses.replace(CONFIG, steps=3, adapter=AdapterConfig(rank=4, targets="all_linear"))
    with comfy_model.opened(patcher, "loaded") as base:
        trained = loop.train(base, examples("sd3"), config, loop.Watch(lambda progress: None))
    assert "y_embedder.mlp.0" in trained.weights
    assert adapted == [False] * 3  # once for each picture's caption


def test_a_model_that_predicts_no_noise_is_refused(comfy_model, load):
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
        pass

    patcher = load("sd15").clone()
    patcher.add_object_patch("model_sampling", Sampling(patcher.model.model_config))
    with pytest.raises(TrainingError, match="maps a picture to a picture"):
        comfy_model.prediction_type(patcher)
