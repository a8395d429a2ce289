"""What is shown while pictures are drawn, in the test's own process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from isengard.nodes.sampling.shots import Shot
from isengard.tests.comfyui.installation import checkpoint, of_this_process

from .conftest import TEXT_LAYER

pytestmark = pytest.mark.comfyui

SHOTS = tuple(Shot(strength, prompt, seed) for strength in (0.5, 1.0) for prompt in ("a", "b") for seed in (1, 2))


@pytest.fixture(autouse=True)
def _one_thread():
    """The network is so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def draws(comfy_model):
    from isengard.nodes.sampling import comfy_draws

    return comfy_draws


@pytest.fixture
def shown(draws, monkeypatch):
    """What ComfyUI's progress hook is told: value, total, preview."""
    import comfy.cli_args
    import comfy.utils

    told = []
    monkeypatch.setattr(comfy.cli_args.args, "preview_method", comfy.cli_args.LatentPreviewMethod.Latent2RGB)
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, **node: told.append((value, total, preview))
    )
    return told


@pytest.fixture
def loaded(draws):
    import comfy.sd

    with torch.inference_mode():
        path = str(checkpoint("sd3", of_this_process()))
        return SimpleNamespace(**dict(zip(PARTS, comfy.sd.load_checkpoint_guess_config(path), strict=False)))


PARTS = ("model", "clip", "vae")


def all_drawn(draws, loaded, shots=SHOTS, sampler_name="euler", adapters=None) -> list[torch.Tensor]:
    from isengard.nodes.sampling.comfy_apply import Fitted
    from isengard.trainers.comfy_sampling import SamplerSettings

    settings = SamplerSettings(3, 1.0, sampler_name, "simple", 64, 64)
    fitted = Fitted("x", loaded.model, loaded.clip, adapters or {})
    with torch.inference_mode():
        return list(draws.drawn(fitted, shots, draws.Drawing(loaded.vae, "", settings)))


def test_one_bar_for_all_steps_with_a_preview_at_each(draws, loaded, shown):
    pictures = all_drawn(draws, loaded)
    assert [(value, total) for value, total, _ in shown] == [(step, 24) for step in range(1, 25)]
    assert [tuple(picture.shape) for picture in pictures] == [(64, 64, 3)] * len(SHOTS)
    previews = [preview for _, _, preview in shown]
    assert all(kind == "JPEG" and preview.size == (8, 8) for kind, preview, _ in previews)
    assert len({preview.tobytes() for _, preview, _ in previews}) > len(SHOTS), "they change with the steps"


def test_a_sampler_of_its_own_pace_stays_within_its_picture(draws, loaded, shown):
    """dpm_adaptive makes as many steps as it likes."""
    all_drawn(draws, loaded, SHOTS[:2], "dpm_adaptive")
    values = [value for value, _, _ in shown]
    assert len(values) > 6
    assert {total for _, total, _ in shown} == {6}
    assert values == sorted(values)
    assert values[0] == 1
    assert values.count(3) > 1, "the first picture waits at its end"
    assert values.count(6) > 1


def test_texts_are_encoded_anew_for_a_strength_only_where_the_lora_changes_the_encoder(draws, loaded, monkeypatch):
    from isengard.trainers import comfy_lora, comfy_sampling

    encoded, encode = [], comfy_sampling.encode
    monkeypatch.setattr(comfy_sampling, "encode", lambda clip, text: encoded.append(text) or encode(clip, text))
    up, down = torch.zeros(768, 4), torch.zeros(4, 768)
    text = {f"{TEXT_LAYER}.lora_A.weight": down, f"{TEXT_LAYER}.lora_B.weight": up}
    for adapters, times in (({}, 1), (comfy_lora.matched(loaded.model, text, loaded.clip).adapters, 2)):
        assert bool(adapters) == (times == 2)
        encoded.clear()
        all_drawn(draws, loaded, SHOTS[1::2], adapters=adapters)
        assert encoded == ["", "a", "b"] * times
