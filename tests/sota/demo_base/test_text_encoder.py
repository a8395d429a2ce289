"""The text encoder that the demo base makes from a seed."""

from __future__ import annotations

import pytest
import torch

from isengard.sota.demo_base import comfy_parts, text_encoder


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
