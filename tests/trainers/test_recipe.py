"""From pictures to what the loop trains on, with ComfyUI's own VAE and text encoder."""

from __future__ import annotations

import pytest
import torch

from isengard.trainers.config import TrainConfig
from isengard.trainers.errors import TrainingError

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def loaded(load_all):
    return load_all("sd15")


@pytest.fixture(scope="module")
def recipe(comfy_model):
    from isengard.trainers import recipe

    return recipe


def pictures(recipe):
    generator = torch.Generator().manual_seed(4)
    named = [("a.png", "a woman"), ("b.png", "a man, smiling"), ("c.png", "a woman")]
    return [recipe.Picture(name, torch.rand(64, 64, 3, generator=generator), caption) for name, caption in named]


def test_every_picture_gets_its_own_latent_and_its_own_caption(recipe, loaded):
    """As core's VAEEncode and CLIPTextEncode give them; 0.18215 is Stable Diffusion's scale of latents."""
    model, clip, vae = loaded
    with torch.inference_mode():
        examples = recipe.encode(model, clip, vae, pictures(recipe), TrainConfig(resolution=64))
        assert [example.name for example in examples] == ["a.png", "b.png", "c.png"]
        for picture, example in zip(pictures(recipe), examples, strict=True):
            torch.testing.assert_close(example.latent, vae.encode(picture.pixels[None])[0] * 0.18215)
            ((tokens, more),) = clip.encode_from_tokens_scheduled(clip.tokenize(picture.caption))
            ((ours, ours_more),) = example.condition
            torch.testing.assert_close(ours, tokens)
            torch.testing.assert_close(ours_more["pooled_output"], more["pooled_output"])
    assert not torch.equal(examples[0].latent, examples[2].latent)
    assert not torch.equal(examples[0].condition[0][0], examples[1].condition[0][0])


def test_prior_preservation_gives_every_picture_the_condition_of_its_own_class_caption(recipe, loaded):
    model, clip, vae = loaded
    config = TrainConfig(resolution=64, prior_loss_weight=1.0, trigger="a", class_noun="some")
    with torch.inference_mode():
        examples = recipe.encode(model, clip, vae, pictures(recipe), config)
        for example, caption in zip(examples, ("some woman", "some man, smiling", "some woman"), strict=True):
            ((expected, _),) = clip.encode_from_tokens_scheduled(clip.tokenize(caption))
            torch.testing.assert_close(example.class_condition[0][0], expected)
    assert not torch.equal(examples[0].class_condition[0][0], examples[0].condition[0][0])
    assert not examples[0].class_condition[0][0].is_inference()
    with torch.inference_mode():
        plain = recipe.encode(model, clip, vae, pictures(recipe), TrainConfig(resolution=64))
    assert plain[0].class_condition is None


def test_what_is_encoded_can_be_trained_on(recipe, loaded):
    """ComfyUI encodes under inference mode; autograd refuses tensors from there."""
    model, clip, vae = loaded
    with torch.inference_mode():
        (example, *_) = recipe.encode(model, clip, vae, pictures(recipe), TrainConfig(resolution=64))
    assert not example.latent.is_inference()
    assert not example.condition[0][0].is_inference()


def test_pictures_are_cut_to_the_resolution(recipe, loaded):
    model, clip, vae = loaded
    wide = [recipe.Picture("a.png", torch.rand(64, 200, 3), "x")]
    with torch.inference_mode():
        (example,) = recipe.encode(model, clip, vae, wide, TrainConfig(resolution=128))
    assert example.latent.shape == (4, 16, 16)


def test_a_vae_of_another_model_is_refused(recipe, loaded, load_all):
    model, clip, _ = loaded
    _, _, foreign = load_all("sd3")
    with torch.inference_mode(), pytest.raises(TrainingError, match="latents of 16 channels and the model takes 4"):
        recipe.encode(model, clip, foreign, pictures(recipe), TrainConfig(resolution=64))


def test_run_ids_sort_by_time_and_differ(recipe):
    ids = [recipe.new_run_id() for _ in range(20)]
    assert len(set(ids)) > 1
    assert sorted(id[:15] for id in ids) == [id[:15] for id in ids]
