"""A text encoder of CLIP-L's shape, made from a seed instead of shipped: 246 MB in half a second.

It is not trained; it only has to give every token a code of its own and to tell which word stands beside which, so
that "red shirt, blue background" differs from "blue shirt, red background". Token codes are random signs; positions
are sines. Of the twelve layers the first attends, with fixed heads: four to the token before, four to the one before
that, four to all so far alike. The other layers add nothing. Names and shapes are those of OpenAI's CLIP ViT-L/14 text
model as transformers writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

SEED = 20261122
TOKENS, POSITIONS, WIDTH, HEADS, LAYERS, MLP = 49408, 77, 768, 12, 12, 3072
HEAD = WIDTH // HEADS  # 64; as many channels hold the position, the others the token
OFFSETS = (1, 1, 1, 1, 2, 2, 2, 2, None, None, None, None)  # of each head: how far it looks back; None: everywhere
POSITION_SIZE, SHARPNESS = 2.0, 2.0
NEIGHBOUR_GAIN, MEAN_GAIN = 0.4, 1.6  # an average of some 20 tokens is that much shorter than one token
SHA256 = "386d9c6bfd9df17830790e68574daea3a54220f15c1f10b29ef7b884f03067d5"


class TextEncoderError(RuntimeError):
    """The encoder came out otherwise than the one that the base was trained with."""


def weights() -> dict[str, np.ndarray]:
    """float16 arrays by transformers' names. Raises TextEncoderError when they are not those of the training."""
    made = {name: array.astype(np.float16) for name, array in _arrays().items()}
    if fingerprint(made) != SHA256:
        raise TextEncoderError(
            f"The demo base's text encoder came out with hash {fingerprint(made)[:16]}, expected {SHA256[:16]}: numpy "
            f"{np.__version__} draws other numbers. Install another version of numpy, and please report this."
        )
    return made


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _arrays() -> dict[str, np.ndarray]:
    arrays = {
        "text_model.embeddings.token_embedding.weight": _token_codes(),
        "text_model.embeddings.position_embedding.weight": _position_codes(),
        "text_model.final_layer_norm.weight": np.ones(WIDTH),
        "text_model.final_layer_norm.bias": np.zeros(WIDTH),
        "text_projection.weight": np.eye(WIDTH),
    }
    for layer in range(LAYERS):
        shapes = _silent_layer() | (_attention() if layer == 0 else {})
        arrays |= {f"text_model.encoder.layers.{layer}.{name}": array for name, array in shapes.items()}
    return arrays


def _signs(stream: int, *shape: int) -> np.ndarray:
    """Random +1 and -1, int8; of raw generator bits, which numpy promises to keep the same."""
    count = int(np.prod(shape))
    words = np.random.PCG64([SEED, stream]).random_raw(-(-count // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8))[:count]
    return (bits.astype(np.int8) * 2 - 1).reshape(shape)


def _token_codes() -> np.ndarray:
    codes = np.zeros((TOKENS, WIDTH), np.int8)
    codes[:, HEAD:] = _signs(0, TOKENS, WIDTH - HEAD)
    return codes


def _position_codes() -> np.ndarray:
    """Cosines and sines in the first HEAD channels. Two positions' codes are at right angles; 64 apart, opposed."""
    angles = np.arange(POSITIONS)[:, None] * _frequencies()
    codes = np.zeros((POSITIONS, WIDTH))
    codes[:, :HEAD] = POSITION_SIZE * np.concatenate([_steady(np.cos(angles)), _steady(np.sin(angles))], axis=1)
    return codes


def _steady(values: np.ndarray) -> np.ndarray:
    """Without the last digits, in which processors differ: 0 is 0, and never -0."""
    return np.round(values, 6) + 0.0


def _frequencies() -> np.ndarray:
    count = HEAD // 2
    return np.pi * (np.arange(count) + 0.5) / count


def _attention() -> dict[str, np.ndarray]:
    query, key, value, out = (np.zeros((WIDTH, WIDTH)) for _ in range(4))
    for head, offset in enumerate(OFFSETS):
        rows = slice(head * HEAD, (head + 1) * HEAD)
        if offset is not None:
            query[rows, :HEAD] = SHARPNESS * np.eye(HEAD)
            key[rows, :HEAD] = _shift(offset)
        value[rows, HEAD:] = _signs(1 + 2 * head, HEAD, WIDTH - HEAD) / np.sqrt(WIDTH - HEAD)
        gain = MEAN_GAIN if offset is None else NEIGHBOUR_GAIN
        out[:, rows] = _signs(2 + 2 * head, WIDTH, HEAD) * gain / np.sqrt(HEAD)
    parts = {"q_proj": query, "k_proj": key, "v_proj": value, "out_proj": out}
    return {f"self_attn.{name}.weight": array for name, array in parts.items()}


def _shift(offset: int) -> np.ndarray:
    """The rotation that turns a position's code into that of the position `offset` further on."""
    angles = offset * _frequencies()
    cosine, sine = np.diag(_steady(np.cos(angles))), np.diag(_steady(np.sin(angles)))
    return np.block([[cosine, 0 - sine], [sine, cosine]])


def _silent_layer() -> dict[str, np.ndarray]:
    """A layer that passes its input on: nothing is added to the residual."""
    arrays = {}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        arrays |= {f"self_attn.{name}.weight": np.zeros((WIDTH, WIDTH)), f"self_attn.{name}.bias": np.zeros(WIDTH)}
    for name, shape in (("fc1", (MLP, WIDTH)), ("fc2", (WIDTH, MLP))):
        arrays |= {f"mlp.{name}.weight": np.zeros(shape), f"mlp.{name}.bias": np.zeros(shape[0])}
    for name in ("layer_norm1", "layer_norm2"):
        arrays |= {f"{name}.weight": np.ones(WIDTH), f"{name}.bias": np.zeros(WIDTH)}
    return arrays
