"""From pictures to what the loop trains on, with ComfyUI's own VAE and text encoder."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from isengard.trainers.batch import Example, Examples
from isengard.trainers.cache import Cache
from isengard.trainers.config import DataConfig, PriorConfig, TrainConfig, ValidationConfig
from isengard.trainers.errors import TrainingError

pytestmark = pytest.mark.comfyui

SMALL = TrainConfig(data=DataConfig(resolution=64))


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
    return [
        recipe.Picture.of_pixels(name, torch.rand(64, 64, 3, generator=generator), (caption,))
        for name, caption in named
    ]


def encoded(recipe, loaded, given, config=SMALL, cache=None):
    with torch.inference_mode():
        return recipe.encode(*loaded, given, config, cache or Cache(None))


def test_every_picture_gets_its_own_latent_and_its_own_caption(recipe, loaded):
    """As core's VAEEncode and CLIPTextEncode give them; 0.18215 is Stable Diffusion's scale of latents."""
    model, clip, vae = loaded
    with torch.inference_mode():
        examples = recipe.encode(model, clip, vae, pictures(recipe), SMALL, Cache(None)).trained
        assert [example.name for example in examples] == ["a.png", "b.png", "c.png"]
        for picture, example in zip(pictures(recipe), examples, strict=True):
            torch.testing.assert_close(example.latent, vae.encode(picture.load()[None])[0] * 0.18215)
            ((tokens, more),) = clip.encode_from_tokens_scheduled(clip.tokenize(picture.captions[0]))
            ((ours, ours_more),) = example.conditions[0]
            torch.testing.assert_close(ours, tokens)
            torch.testing.assert_close(ours_more["pooled_output"], more["pooled_output"])
    assert not torch.equal(examples[0].latent, examples[2].latent)
    assert not torch.equal(examples[0].conditions[0][0][0], examples[1].conditions[0][0][0])


def test_prior_preservation_gives_every_picture_the_condition_of_its_own_class_caption(recipe, loaded):
    model, clip, vae = loaded
    config = TrainConfig(data=SMALL.data, prior=PriorConfig(1.0, "a", "some"))
    with torch.inference_mode():
        examples = recipe.encode(model, clip, vae, pictures(recipe), config, Cache(None)).trained
        for example, caption in zip(examples, ("some woman", "some man, smiling", "some woman"), strict=True):
            ((expected, _),) = clip.encode_from_tokens_scheduled(clip.tokenize(caption))
            torch.testing.assert_close(example.class_conditions[0][0][0], expected)
    assert not torch.equal(examples[0].class_conditions[0][0][0], examples[0].conditions[0][0][0])
    assert not examples[0].class_conditions[0][0][0].is_inference()
    with torch.inference_mode():
        plain = recipe.encode(model, clip, vae, pictures(recipe), SMALL, Cache(None)).trained
    assert plain[0].class_conditions == ()


def test_what_is_encoded_can_be_trained_on(recipe, loaded):
    """ComfyUI encodes under inference mode; autograd refuses tensors from there."""
    model, clip, vae = loaded
    with torch.inference_mode():
        (example, *_) = recipe.encode(model, clip, vae, pictures(recipe), SMALL, Cache(None)).trained
    assert not example.latent.is_inference()
    assert not example.conditions[0][0][0].is_inference()


def test_pictures_are_cut_to_the_resolution(recipe, loaded):
    wide = [recipe.Picture.of_pixels("a.png", torch.rand(64, 200, 3), ("x",))]
    with torch.inference_mode():
        (example,) = encoded(recipe, loaded, wide, TrainConfig(data=DataConfig(resolution=128))).trained
    assert example.latent.shape == (4, 16, 16)


def test_a_vae_of_another_model_is_refused(recipe, loaded, load_all):
    model, clip, _ = loaded
    _, _, foreign = load_all("sd3")
    with torch.inference_mode(), pytest.raises(TrainingError, match="latents of 16 channels and the model takes 4"):
        recipe.encode(model, clip, foreign, pictures(recipe), SMALL, Cache(None))


def test_buckets_keep_each_pictures_shape(recipe, loaded):
    given = [
        recipe.Picture.of_pixels(f"{n}", torch.rand(*size, 3), ("x",)) for n, size in enumerate([(64, 64), (96, 48)])
    ]
    config = TrainConfig(data=DataConfig(resolution=64, crop="buckets", bucket_step=16))
    square, tall = encoded(recipe, loaded, given, config).trained
    assert square.latent.shape == (4, 8, 8)
    assert tall.latent.shape == (4, 10, 6)  # 80 x 48


def test_a_mask_is_cut_like_its_picture(recipe, loaded):
    mask = torch.zeros(64, 128)
    mask[:, 64:] = 1.0
    given = [recipe.Picture.of_pixels("a", torch.rand(64, 128, 3), ("x",), mask=lambda: mask)]
    (example,) = encoded(recipe, loaded, given).trained
    assert example.mask.shape == (1, 8, 8)
    assert example.mask[0, :, :3].max() < 0.1
    assert example.mask[0, :, 5:].min() > 0.9


def test_shuffled_captions_are_encoded_in_several_orders(recipe, loaded):
    given = [recipe.Picture.of_pixels("a", torch.rand(64, 64, 3), ("mira, smiling, red shirt",))]
    config = TrainConfig(data=DataConfig(resolution=64, shuffle=True, keep_parts=1))
    (example,) = encoded(recipe, loaded, given, config).trained
    assert len(example.conditions) == 2
    assert not torch.equal(example.conditions[0][0][0], example.conditions[1][0][0])


def test_what_was_encoded_is_taken_from_disk(recipe, loaded, tmp_path, monkeypatch):
    given, cache = pictures(recipe), Cache(tmp_path)
    cold = encoded(recipe, loaded, given, cache=cache)

    def used(*arguments):
        raise AssertionError("the encoder was asked again")

    monkeypatch.setattr(loaded[2], "encode", used)
    monkeypatch.setattr(loaded[1], "encode_from_tokens_scheduled", used)
    warm = encoded(recipe, loaded, given, cache=cache)
    for before, after in zip(cold.trained, warm.trained, strict=True):
        assert torch.equal(before.latent, after.latent)
        assert torch.equal(before.conditions[0][0][0], after.conditions[0][0][0])
        assert not after.latent.is_inference()
        assert not after.conditions[0][0][0].is_inference()
    with pytest.raises(AssertionError):
        encoded(recipe, loaded, given, TrainConfig(data=DataConfig(resolution=128)), cache)


def test_another_text_encoder_is_not_mistaken_for_this_one(recipe, loaded, load_all):
    """By its weights, a LoRA put on it, and the layer whose output is taken."""
    import comfy.sd

    from isengard.trainers.comfy_encoders import clip_fingerprint

    clip = loaded[1]
    skipped = clip.clone()
    skipped.clip_layer(-2)
    name = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    weight = clip.cond_stage_model.clip_l.transformer.text_model.encoder.layers[0].mlp.fc1.weight
    lora = {f"{name}.lora_up.weight": torch.ones(weight.shape[0], 1), f"{name}.lora_down.weight": torch.ones(1, 768)}
    patched = [comfy.sd.load_lora_for_models(None, clip, lora, 0.0, strength)[1] for strength in (0.5, 0.7)]
    all_of_them = (clip, clip.clone(), skipped, *patched, load_all("sd3")[1])
    found = [clip_fingerprint(each) for each in all_of_them]
    assert found[0] == found[1]
    assert len(set(found)) == 5
    for each in (patched[0], clip, patched[1]):  # ComfyUI merges a LoRA into the weights that all clones share
        with torch.inference_mode():
            each.encode_from_tokens_scheduled(each.tokenize("x"))
        assert [clip_fingerprint(each) for each in all_of_them] == found


def test_a_caption_with_an_embedding_is_encoded_every_time(recipe, loaded, tmp_path):
    """The embedding is a file, which may be another one by then."""
    given = [recipe.Picture.of_pixels("a", torch.rand(64, 64, 3), ("embedding:face", "mira"))]
    encoded(recipe, loaded, given, cache=Cache(tmp_path))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2, "the latent and one caption"


def test_a_text_encoder_with_hooks_is_refused(recipe, loaded):
    hooked = loaded[1].clone()
    hooked.apply_hooks_to_conds = object()
    with pytest.raises(TrainingError, match="has hooks.*Connect the CLIP"):
        encoded(recipe, (loaded[0], hooked, loaded[2]), pictures(recipe))


# -- what is held out, and what tells runs apart


def held(recipe, config, count=10, **marked) -> list[bool]:
    given = [
        recipe.Picture.of_pixels(str(n), torch.rand(8, 8, 3), ("x",), held_out=marked.get(f"p{n}", False))
        for n in range(count)
    ]
    return recipe.split(given, config)


def test_a_share_of_the_pictures_is_held_out_and_always_the_same(recipe):
    config = TrainConfig(validation=ValidationConfig(share=0.3, every=10))
    assert sum(held(recipe, config)) == 3
    assert held(recipe, config) == held(recipe, dataclasses.replace(config, seed=9))
    assert sum(held(recipe, config, count=2)) == 1
    assert not any(held(recipe, TrainConfig()))


def test_pictures_that_say_so_are_held_out(recipe):
    for config in (TrainConfig(), TrainConfig(validation=ValidationConfig(every=10))):
        assert held(recipe, config, count=3, p1=True) == [False, True, False]


def test_something_is_left_to_train_on_and_to_measure_with(recipe):
    with pytest.raises(TrainingError, match="there is 1 in all"):
        held(recipe, TrainConfig(validation=ValidationConfig(every=10)), count=1)
    with pytest.raises(TrainingError, match="all 1 pictures are held out"):
        held(recipe, TrainConfig(), count=1, p0=True)


def test_a_run_is_told_apart_by_all_that_it_follows_from(recipe):
    def key(base="b", config=SMALL, dtype=torch.float32, start=None, held_out=(), empty=None, **example):
        values = {"name": "a", "latent": torch.zeros(4, 2, 2), "conditions": (words,)} | example
        return recipe.run_key(base, dtype, config, Examples((Example(**values),), held_out, empty), start)

    words, others_words = [[torch.zeros(1, 3), {}]], [[torch.ones(1, 3), {}]]
    held = Example("held", torch.zeros(4, 2, 2), (words,))

    lighter = dataclasses.replace(SMALL, gradient_checkpointing="blocks", checkpoint_every=5, after_finish_now="go_on")
    assert key() == key() == key(name="another name") == key(config=lighter)
    assert key() == key(config=dataclasses.replace(SMALL, precision="fp32"))  # as long as it comes to the same
    others = [
        key(base="c"),
        key(dtype=torch.bfloat16),
        key(config=dataclasses.replace(SMALL, seed=1)),
        key(latent=torch.ones(4, 2, 2)),
        key(conditions=([[torch.ones(1, 3), {}]],)),
        key(conditions=([[torch.zeros(1, 3), {"pooled_output": torch.zeros(1)}]],)),
        key(mask=torch.ones(1, 64, 64)),
        key(mask=torch.ones(1, 64, 64).index_fill(2, torch.tensor([62]), 0.5)),
        key(repeats=2),
        key(weight=0.5),
        key(start={"a.lora_up.weight": torch.zeros(2)}),
        key(start={"a.lora_up.weight": torch.ones(2)}),
        key(class_conditions=(words,)),
        key(class_conditions=(others_words,)),
        key(conditions=(words, words)),
        key(conditions=(words, words), orders=(2,)),
        key(conditions=(words, words), orders=(1, 1)),
        key(held_out=(held,)),
        key(held_out=(held, held)),
        key(empty=words),
        key(empty=others_words),
    ]
    assert len({key(), *others}) == 22
