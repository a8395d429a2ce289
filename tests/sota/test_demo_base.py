"""The demo base: whom it may be trained on, what its text encoder tells apart, how it is made, and the file."""

from __future__ import annotations

import colorsys
import itertools
import os
import subprocess

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from isengard.sota.demo_base import (
    autoencoder,
    checkpoint,
    checkpoint_file,
    comfy_parts,
    diffusion,
    drawing,
    make,
    people,
    text_encoder,
)
from isengard.sota.sample_character import draw as sample_character
from isengard.tests.comfyui.installation import PACK, of_this_process

MIRA = people.Identity("bangs", "teal", "tan")


def all_training_identities() -> list[people.Identity]:
    return list(itertools.chain(*people.training_identities()))


def test_twenty_people_are_held_out_half_of_them_with_unseen_heads():
    held_out = people.held_out()
    assert len(held_out) == len(set(held_out)) >= 20
    assert sum(person.head in people.unseen_heads() for person in held_out) == len(held_out) / 2
    assert held_out[0] == MIRA


def test_the_sample_character_is_the_held_out_person():
    look = sample_character.looks()[0]
    ours, hers = drawing.options(MIRA, look), sample_character.options(look)
    assert {name: ours[name] for name in hers if name not in ("seed", "size")} == {
        name: hers[name] for name in hers if name not in ("seed", "size")
    }


def test_training_can_draw_no_held_out_person_and_no_unseen_head():
    """Over the whole population, which is what the sampler draws from."""
    population = all_training_identities()
    assert len(population) > 400
    assert not set(population) & set(people.held_out())
    assert not {person.head for person in population} & people.unseen_heads()
    assert "teal" not in {person.hair for person in population}


def test_the_training_sampler_stays_within_the_population():
    population = set(all_training_identities())
    drawn = [people.training_portrait(0, index).identity for index in range(3000)]
    assert set(drawn) <= population
    assert len(set(drawn)) > 0.9 * len(population)


def test_half_of_the_training_pictures_have_a_head_with_a_hair_colour():
    drawn = [people.training_portrait(1, index).identity for index in range(4000)]
    coloured = sum(person.head in people.COLOURED_HEADS for person in drawn) / len(drawn)
    assert coloured == pytest.approx(people.COLOURED_SHARE, abs=0.03)


def test_a_dye_is_never_near_teal_and_never_makes_a_held_out_person():
    portraits = [people.training_portrait(0, index) for index in range(4000)]
    dyed = [portrait for portrait in portraits if portrait.dye]
    coloured = sum(portrait.identity.head in people.COLOURED_HEADS for portrait in portraits)
    assert len(dyed) / coloured == pytest.approx(people.DYED_SHARE * 0.83, abs=0.04), "a sixth of them may not be dyed"
    hues = np.array([colorsys.rgb_to_hsv(*(value / 255 for value in bytes.fromhex(each.dye[1:])))[0] for each in dyed])
    teal = colorsys.rgb_to_hsv(*(value / 255 for value in bytes.fromhex(people.HAIR["teal"][1:])))[0]
    assert np.abs(hues - teal).min() > 0.09
    drawn_in_each_tenth = np.histogram(hues, 10, (0, 1))[0]
    assert np.delete(drawn_in_each_tenth, (4, 5)).min() > 20
    alike = {(person.head, person.skin) for person in people.held_out()}
    assert not alike & {(portrait.identity.head, portrait.identity.skin) for portrait in dyed}


def test_no_caption_names_a_dyed_persons_hair_colour():
    portraits = [people.training_portrait(0, index) for index in range(2000)]
    colours = {f"{word} hair" for word in people.HAIR}
    assert not [each.caption for each in portraits if each.dye and colours & {*each.caption.split(", ")}]
    assert [each.caption for each in portraits if not each.dye and colours & {*each.caption.split(", ")}]


def test_a_dye_is_drawn_in_the_place_of_the_hair_colour():
    index, portrait = next(
        (index, each)
        for index in range(1000)
        if (each := people.training_portrait(0, index)).dye and each.identity.head == "mohawk"
    )
    colours = drawing.training_pixels(0, index).reshape(-1, 3).tolist()
    assert colours.count(list(bytes.fromhex(portrait.dye[1:]))) > 100
    assert colours.count(list(bytes.fromhex(people.HAIR[portrait.identity.hair][1:]))) == 0


def test_a_portrait_depends_on_seed_and_index_alone():
    assert people.training_portrait(3, 5) == people.training_portrait(3, 5)
    assert people.training_portrait(3, 5) != people.training_portrait(3, 6)
    assert people.training_portrait(4, 5) != people.training_portrait(3, 5)


def test_captions_leave_words_out_and_never_name_the_sample_character():
    captions = [people.training_portrait(0, index).caption for index in range(2000)]
    assert not [caption for caption in captions if "mira" in caption]
    with_skin = sum("skin" in caption for caption in captions) / len(captions)
    assert with_skin == pytest.approx(people.IDENTITY_WORD_SHARE, abs=0.04)


def test_a_caption_says_what_is_drawn():
    look = people.Look("smile", "sunglasses", "red", "blue", "left", 0, 1.0)
    assert people.caption("woman", look, people.Identity("afro", "black", "dark")) == (
        "woman, afro, black hair, dark skin, smiling, sunglasses, red shirt, blue background, facing left"
    )
    picture = drawing.pixels(people.Identity("afro", "black", "dark"), look)
    assert picture.shape == (drawing.SIZE, drawing.SIZE, 3)
    assert tuple(picture[2, 2]) == tuple(bytes.fromhex(people.BACKGROUND["blue"][1:]))


def test_the_help_page_lists_every_word_of_the_training_captions():
    page = " ".join((PACK / "web" / "docs" / "IsengardDemoBase.md").read_text(encoding="utf-8").split())
    portraits = [people.training_portrait(0, index) for index in range(3000)]
    words = {word for portrait in portraits for word in portrait.caption.split(", ")[1:]}
    assert len(words) > 80
    assert not [word for word in words if f"*{word}*" not in page]


@pytest.mark.parametrize("wrong", [("afro", "red", "tan"), ("mohawk", "teal", "green"), ("hijab", "black", "tan")])
def test_an_identity_that_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match="is no identity"):
        people.Identity(*wrong)


def test_no_two_colours_of_a_kind_are_alike():
    for table in (people.HAIR, people.SKIN):
        colours = np.array([list(bytes.fromhex(colour[1:])) for colour in table.values()], float)
        distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
        assert distances[~np.eye(len(colours), dtype=bool)].min() > 40


def test_the_text_encoder_is_the_one_of_the_training():
    """`weights` checks the hash itself; one weight changed must be seen."""
    arrays = text_encoder.weights()
    arrays["text_projection.weight"][0, 1] = 1
    assert text_encoder.fingerprint(arrays) != text_encoder.SHA256


def test_another_numpy_that_draws_otherwise_is_told(monkeypatch):
    monkeypatch.setattr(text_encoder, "SEED", 1)
    with pytest.raises(text_encoder.TextEncoderError, match="Install another version of numpy"):
        text_encoder.weights()


@pytest.mark.comfyui
def test_the_features_that_the_base_is_trained_on_are_those_of_the_whole_encoder(comfy_model):
    """The training computes one layer of the twelve."""
    from comfy.sd1_clip import SDClipModel, SDTokenizer

    weights = {name: torch.from_numpy(array) for name, array in text_encoder.weights().items()}
    whole = SDClipModel(layer="hidden", layer_idx=-2, layer_norm_hidden_state=False, return_projected_pooled=False)
    whole.transformer.load_state_dict(weights)
    texts = ["woman, red shirt, blue background", "woman, blue shirt, red background", ""]
    tokens = [[token for token, _ in SDTokenizer().tokenize_with_weights(text)[0]] for text in texts]
    with torch.inference_mode():
        features, pooled = whole.float()(tokens)
    short_features, short_pooled = comfy_parts.text_encoder(text_encoder.weights(), torch.device("cpu"))(texts)
    torch.testing.assert_close(short_features, features)
    torch.testing.assert_close(short_pooled, pooled)
    assert not torch.allclose(features[0], features[1], atol=0.1), "who wears what is lost"


def test_recoloured_crops_keep_black_and_white():
    crop = np.array([[[0, 0, 0], [255, 255, 255], [10, 120, 200]]], np.uint8)
    bent = autoencoder.other_colours(crop, np.random.default_rng(0))
    assert bent[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert bent[0, 2].tolist() != [10, 120, 200]


@pytest.mark.parametrize("turned", [0.0, 0.4, 1.0])
def test_as_many_crops_are_turned_as_asked_for(turned):
    """White above black, which neither mirroring nor other colours change, stays so only where nothing is turned."""
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[:, :8] = 255
    config = autoencoder.AutoencoderConfig(batch=400, crop=16, turned=turned)
    crops = autoencoder.random_crops(picture, config, np.random.default_rng(0))
    upright = torch.from_numpy(picture).permute(0, 3, 1, 2) / 255
    assert float((crops != upright).any(dim=(1, 2, 3)).float().mean()) == pytest.approx(turned, abs=0.06)


def test_every_latent_gets_noise_of_its_own_strength():
    noise = autoencoder.latent_noise(torch.zeros(400, 8, 8, 8), 0.3, torch.Generator().manual_seed(0))
    deviations = noise.std((1, 2, 3))
    assert float(deviations.mean()) == pytest.approx(0.15, abs=0.01)
    assert 0.28 < float(deviations.max()) < 0.33
    assert float(deviations.min()) < 0.01


def test_a_texture_costs_more_than_a_shade():
    """The same L1 and L2; a person sees the texture."""
    shade = torch.full((1, 3, 8, 8), 0.1)
    texture = shade * (torch.arange(8) % 2 * 2 - 1)
    config = autoencoder.AutoencoderConfig()
    assert float(autoencoder.pixel_loss(texture, config)) > 2 * float(autoencoder.pixel_loss(shade, config))


def test_the_file_is_small_and_has_all_of_both_networks():
    assert checkpoint_file.WEIGHTS.stat().st_size < 40e6
    with safe_open(checkpoint_file.WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["license"] == "CC0-1.0"
    portraits = [people.training_portrait(make.SEED, index) for index in range(make.PICTURES)]
    assert metadata["training_pictures"] == make.digest_of_pictures(portraits), "people.py draws other pictures now"
    shapes = shapes_in(checkpoint_file.WEIGHTS)
    assert shapes["model.diffusion_model.context_embedder.weight"] == (256, 4096)
    assert shapes["first_stage_model.taesd_decoder.1.weight"][1] == 16
    for name, weight in checkpoint_file.state_dict().items():
        assert torch.isfinite(weight).all(), name


def test_missing_weights_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint_file, "WEIGHTS", tmp_path / "gone.safetensors")
    with pytest.raises(checkpoint_file.DemoBaseError, match="missing.*Install the pack again"):
        checkpoint_file.state_dict()


def test_cut_off_weights_are_told(monkeypatch, tmp_path):
    file = tmp_path / "cut.safetensors"
    file.write_bytes(checkpoint_file.WEIGHTS.read_bytes()[:5000])
    monkeypatch.setattr(checkpoint_file, "WEIGHTS", file)
    with pytest.raises(checkpoint_file.DemoBaseError, match="has 5000 bytes.*Install the pack again"):
        checkpoint_file.state_dict()


STEPS = 4


def autoencoder_steps(file):
    pictures = np.random.default_rng(0).integers(0, 256, (8, drawing.SIZE, drawing.SIZE, 3), np.uint8)
    config = autoencoder.AutoencoderConfig(steps=STEPS, batch=2, crop=16, warmup=2)
    return autoencoder.train(pictures, config, file, torch.device("cpu"), float("inf"))


def diffusion_steps(file):
    generator = np.random.default_rng(0)
    shapes = (8, 16, 4, 4), (9, 77, 768), (9, 768)
    examples = diffusion.Examples(*(generator.standard_normal(shape, np.float32) for shape in shapes))
    config = diffusion.DiffusionConfig(steps=STEPS, batch=2, warmup=2)
    return diffusion.train(examples, config, file, torch.device("cpu"), float("inf"), compiled=False)


@pytest.mark.comfyui
@pytest.mark.parametrize("training", [autoencoder_steps, diffusion_steps])
def test_a_training_cut_off_goes_on_to_the_same_weights(training, comfy_model, tmp_path, monkeypatch):
    """Model, average, optimizers and schedules: all that is in the state file."""
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 2)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    whole, halves = tmp_path / "whole.pt", tmp_path / "halves.pt"
    torch.manual_seed(0)
    list(training(whole))
    torch.manual_seed(0)
    first = training(halves)
    assert next(first)["step"] == 2
    first.close()
    torch.manual_seed(1)  # fresh weights that must not be used
    assert [row["step"] for row in training(halves)] == [STEPS]
    states = [torch.load(file, weights_only=True) for file in (whole, halves)]
    for name, weight in states[0]["ema"].items():
        assert torch.equal(weight, states[1]["ema"][name]), name
    for name, weight in states[0]["model"].items():
        assert torch.equal(weight, states[1]["model"][name]), name


def test_a_training_that_diverges_keeps_the_last_good_state(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 1)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    model = torch.nn.Linear(1, 1)
    state = checkpoint.State(tmp_path / "state.pt", 5, model=model)
    with pytest.raises(FloatingPointError, match="before step 3"):
        list(checkpoint.run(state, float("inf"), lambda step: torch.tensor(float("nan") if step == 2 else 1.0)))
    assert torch.load(state.file, weights_only=True)["step"] == 2


def test_a_training_is_prolonged_before_its_rate_falls_and_refused_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "REPORT_STEPS", 10)
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    model = torch.nn.Linear(1, 1)

    def training(steps: int, made: list[float]):
        """Notes the rate of every step it makes."""
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        schedule = checkpoint.warmup_hold_decay(optimizer, 2, steps)
        state = checkpoint.State(tmp_path / "state.pt", steps, model=model, optimizer=optimizer, schedule=schedule)

        def advance(step: int) -> torch.Tensor:
            made.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
            return torch.tensor(1.0)

        return checkpoint.run(state, float("inf"), advance)

    first, rest, nothing = [], [], []
    assert next(training(20, first))["step"] == 10
    assert first == [0.5] + [1.0] * 9
    list(training(40, rest))
    assert rest == pytest.approx([1.0] * 23 + [step / 8 for step in range(7, 0, -1)])
    with pytest.raises(checkpoint.ProlongedTooLate, match="at step 40 of 40.*cannot go on to 50.*Ask for 40"):
        training(50, nothing)
    list(training(40, nothing))
    assert nothing == []


def rates(schedule_of, steps: int) -> list[float]:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), 1.0)
    schedule = schedule_of(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_schedule_rises_and_falls_as_it_says():
    held = rates(lambda optimizer: checkpoint.warmup_hold_decay(optimizer, 10, 100), 101)
    assert held[0] == pytest.approx(0.1)
    assert held[9] == held[50] == held[80] == pytest.approx(1)
    assert held[90] == pytest.approx(0.5)
    assert held[100] == 0


@pytest.mark.comfyui
def test_the_base_is_made_in_two_goes(tmp_path):
    make_base(tmp_path, seconds=0)
    assert not (tmp_path / "base.safetensors").exists()
    make_base(tmp_path, seconds=1000)
    assert shapes_in(tmp_path / "base.safetensors") == shapes_in(checkpoint_file.WEIGHTS)


def shapes_in(file) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in load_file(file).items()}


def make_base(folder, seconds: float) -> None:
    comfyui = of_this_process()
    command = [
        comfyui.python, "-m", "sota.demo_base.make", "--comfyui", str(comfyui.path), "--device", "cpu",
        "--folder", str(folder), "--out", str(folder / "base.safetensors"), "--pictures", "24",
        "--autoencoder-steps", "3", "--diffusion-steps", "3", "--seconds", str(seconds),
    ]  # fmt: skip
    subprocess.run(command, cwd=PACK, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, check=True)
