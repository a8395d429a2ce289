"""Lengths, against what ComfyUI's own text encoders get: on its tokenizers, and no others."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from isengard.nodes.captions import tokens
from isengard.nodes.captions.tokens import Length
from isengard.sota.demo_base import checkpoint_file
from isengard.tests.comfyui import installation
from isengard.tests.nodes.captions.making import MIRA

pytestmark = pytest.mark.comfyui

UNLIMITED = 99_999_999  # what ComfyUI writes for it
CAPTIONS = [
    "",
    *MIRA[:3],
    "(smile:1.2), ((hat)), [coat], BREAK, red_shirt",
    r"miku \(vocaloid\), ^_^, :3, !",
    "青い髪, ミラ, 笑顔",
    "cat " * 75,
    "cat " * 76,
    "cat " * 200,
    "(cat " * 60 + ":1.1), a long caption, " + "(rain and snow:0.8), " * 30,
    "incomprehensibilities antidisestablishmentarianism " * 12,
]


@pytest.fixture(scope="module")
def demo_base(comfy_model):
    import comfy.sd

    return comfy.sd.load_state_dict_guess_config(checkpoint_file.state_dict(), output_vae=False, output_model=False)[1]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """A folder with an embedding of three vectors for CLIP-L."""
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"clip_l": torch.zeros(3, 768)}, folder / "mira.safetensors")
    return folder


@pytest.fixture(scope="module")
def sd15(comfy_model, embeddings):
    import comfy.sd

    file = str(installation.checkpoint("sd15", installation.of_this_process()))
    options = {"output_vae": False, "output_model": False, "embedding_directory": str(embeddings)}
    return comfy.sd.load_checkpoint_guess_config(file, **options)[1]


def clip_of(tokenizer, model=None):
    """ComfyUI's CLIP without weights."""
    import comfy.sd

    clip = comfy.sd.CLIP(no_init=True)
    clip.tokenizer, clip.cond_stage_model, clip.tokenizer_options = tokenizer, model or torch.nn.Module(), {}
    return clip


def got_by_clip_l(clip, text):
    """What the encoder itself takes for no padding, by its attention mask."""
    chunks = [[token for token, _ in chunk] for chunk in clip.tokenize(text)["l"]]
    return sum(clip.cond_stage_model.clip_l.process_tokens(chunks, "cpu")[2])


@pytest.mark.parametrize("caption", CAPTIONS, ids=range(len(CAPTIONS)))
def test_sd15_and_the_demo_base_count_what_clip_l_gets(sd15, demo_base, caption):
    for clip in (sd15, demo_base):
        assert tokens.lengths(clip, caption) == [Length("l", got_by_clip_l(clip, caption), 77)]
        assert tokens.counter(clip)(caption) == (got_by_clip_l(clip, caption), 77)


def test_what_fits_into_one_chunk_is_no_longer_than_the_room(sd15):
    for caption in CAPTIONS:
        count, room = tokens.counter(sd15)(caption)
        assert (count > room) == (len(sd15.tokenize(caption)["l"]) > 1)


def test_75_words_of_one_token_fit(sd15):
    assert tokens.counter(sd15)("cat " * 75) == (77, 77)
    assert tokens.counter(sd15)("cat " * 76) == (80, 77)
    assert tokens.counter(sd15)("") == (2, 77)


def test_an_embedding_counts_as_many_as_it_has_vectors(sd15):
    plain = tokens.counter(sd15)("a cat")[0]
    assert tokens.counter(sd15)("a cat embedding:mira")[0] == plain + 3
    assert tokens.counter(sd15)("a cat embedding:mira")[0] == got_by_clip_l(sd15, "a cat embedding:mira")


def test_sdxl_pads_its_encoders_differently_and_counts_the_same(comfy_model):
    from comfy.sdxl_clip import SDXLTokenizer

    clip = clip_of(SDXLTokenizer())
    for caption in CAPTIONS:
        one, other = tokens.lengths(clip, caption)
        assert (one.encoder, one.tokens, one.room) == ("g", other.tokens, other.room)


def test_flux_counts_by_t5_which_has_most_room(comfy_model):
    from comfy.text_encoders.flux import FluxTokenizer

    clip = clip_of(FluxTokenizer())
    for caption in (*MIRA[:3], "cat " * 200):
        words = clip.tokenizer.t5xxl.tokenizer(caption)["input_ids"]
        assert tokens.counter(clip)(caption) == (len(words), UNLIMITED)


def test_an_encoder_that_is_not_loaded_does_not_count(comfy_model):
    from comfy.text_encoders.sd3_clip import SD3ClipModel, SD3Tokenizer

    model = SD3ClipModel(clip_l=False, clip_g=False, t5=False)
    clip = clip_of(SD3Tokenizer(), model)
    assert tokens.lengths(clip, "a cat") == []
    with pytest.raises(tokens.TokenizerError, match="SD3Tokenizer gives no tokens that can be counted"):
        tokens.counter(clip)("a cat")
    model.t5xxl = torch.nn.Module()
    assert [length.encoder for length in tokens.lengths(clip, "a cat")] == ["t5xxl"]


def test_a_language_model_gets_what_comfyui_writes_around_the_caption_too(comfy_model):
    from comfy.text_encoders.qwen_image import QwenImageTokenizer
    from comfy.text_encoders.z_image import ZImageTokenizer

    for tokenizer, inner in ((ZImageTokenizer(), "qwen3_4b"), (QwenImageTokenizer(), "qwen25_7b")):
        clip = clip_of(tokenizer)
        for caption in ("", "a (cat:1.2)", "cat " * 200, "青い髪"):
            words = getattr(tokenizer, inner).tokenizer(tokenizer.llama_template.format(caption))["input_ids"]
            assert tokens.counter(clip)(caption) == (len(words), UNLIMITED)


@pytest.mark.parametrize("pad_left, pad_token", [(False, 0), (False, 49407), (True, 0)])
@pytest.mark.parametrize("min_padding", [None, 4])
def test_padding_on_either_side(comfy_model, pad_left, pad_token, min_padding):
    """min_padding is added to what is full already; a pad that is the end's token as well."""
    from comfy.sd1_clip import SD1Tokenizer, SDTokenizer

    def made(**options):
        return SDTokenizer(**options, pad_left=pad_left, pad_token=pad_token, min_padding=min_padding)

    clip = clip_of(SD1Tokenizer(tokenizer=made))
    assert tokens.counter(clip)("a cat on a mat") == (7, 77)
    assert tokens.counter(clip)("") == (2, 77)


def test_a_word_that_is_the_paddings_own_token_counts(comfy_model):
    from comfy.sd1_clip import SD1Tokenizer
    from comfy.text_encoders.z_image import Qwen3Tokenizer

    clip = clip_of(SD1Tokenizer(name="qwen3_4b", tokenizer=Qwen3Tokenizer))
    assert tokens.counter(clip)("cat<|endoftext|>")[0] == 2
    assert tokens.counter(clip)("")[0] == 0
