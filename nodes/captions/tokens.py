"""How long a caption is for a text encoder, in its own tokens.

It works on what ComfyUI's CLIP gives (comfy/sd1_clip.py), and imports nothing of it: `tokenize` with word ids gives for
each encoder chunks of (token, weight, word id), where the id 0 is of start, end and padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


class TokenizerError(ValueError):
    """A CLIP whose tokens cannot be counted; the message says what to do."""


@dataclass(frozen=True)
class Length:
    """How long a text is for one encoder. tokens: all but padding, in all chunks, with each one's start and end. room:
    how many a chunk holds; what is beyond goes into another one, which is encoded by itself. encoder: ComfyUI's name,
    such as l (CLIP-L) or t5xxl."""

    encoder: str
    tokens: int
    room: int


def counter(clip: Any) -> Callable[[str], tuple[int, int]]:
    """A function from a text to its tokens and the room for them, of the encoder of ComfyUI's CLIP that has most room:
    where there are several it gets all that the others part. Raises TokenizerError where nothing can be counted."""

    def count(text: str) -> tuple[int, int]:
        found = lengths(clip, text)
        if not found:
            raise TokenizerError(
                f"{type(clip.tokenizer).__name__} gives no tokens that can be counted. Leave clip unconnected, and the "
                "length is not checked."
            )
        longest = max(found, key=lambda length: (length.room, length.tokens))
        return longest.tokens, longest.room

    return count


def lengths(clip: Any, text: str) -> list[Length]:
    """Of each text encoder that is loaded. SD3's tokenizer, for instance, gives tokens for three, of which a checkpoint
    may have one."""
    found = []
    for name, chunks in clip.tokenize(text, return_word_ids=True).items():
        tokenizer = _part(clip.tokenizer, name)
        if _part(clip.cond_stage_model, name, missing=True) is not None and hasattr(tokenizer, "max_length"):
            found.append(Length(name, sum(_tokens(chunk, tokenizer) for chunk in chunks), tokenizer.max_length))
    return found


def _part(whole: Any, name: str, missing: Any = None) -> Any:
    """ComfyUI calls the part for the tokens "l" clip_l, and that for "t5xxl" t5xxl. missing: where it has no such
    part; one that was not loaded is None."""
    names = (each for each in (name, f"clip_{name}") if hasattr(whole, each))
    found = next(names, None)
    return missing if found is None else getattr(whole, found)


def _tokens(chunk: Sequence[tuple], tokenizer: Any) -> int:
    """All but padding, which stands after the end, or before the start. CLIP-L pads with the end's own token, of which
    the first is the end."""
    padding = tokenizer.pad_token
    places = range(len(chunk)) if getattr(tokenizer, "pad_left", False) else reversed(range(len(chunk)))
    run = 0
    for place in places:
        token, _, word = chunk[place][:3]
        if word != 0 or not isinstance(token, int) or token != padding:
            break
        run += 1
    is_end = run > 0 and padding == tokenizer.end_token
    return len(chunk) - run + is_end
