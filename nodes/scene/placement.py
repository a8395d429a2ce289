"""On which rows and tokens of a batch each character's adapter acts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

# Layers of text tokens, by their paths in ComfyUI's networks: SD3's context_block, Flux's txt_attn, Qwen-Image's
# add_q_proj, Z-Image's context_refiner, and what UNets make of the text in cross-attention.
_OF_TEXT = re.compile(
    r"context_|txt_|text_|\bcap_|caption|add_[qkv]_proj|to_add_out|attn2\.to_[kv]$|encoder_hid|\.encoder_"
)
_SCALES = (1, 2, 4, 8, 16, 32)  # latent pixels to a side of a token, or of a UNet's pixel


@dataclass
class Placement:
    """Of one call of the network. masks: B,N,h,w, where each of N characters stands in each of B rows, in latent
    pixels, 0..1; words: B,N, 1 where a row's text is the character's own; text: tokens of the text, 0 where it is none.
    """

    masks: Tensor
    words: Tensor
    text: int
    _known: dict = field(default_factory=dict)

    def of(self, who: int, path: str, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """For a layer's input x: the rows that a character's adapter acts on (None: all), and its weights there, to be
        multiplied with what it adds (None: 1 everywhere). No rows: it does not act."""
        key = (who, bool(_OF_TEXT.search(path)), x.shape[:2] if x.dim() == 3 else x.shape[2:] if x.dim() == 4 else 2)
        if key not in self._known:
            self._known[key] = self._found(who, path, x)
        return self._known[key]

    def _found(self, who: int, path: str, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weights = self._weights(who, path, x)  # B,1 or B,T
        flat = weights.flatten(1)
        rows = (flat > 0).any(1).nonzero().flatten()
        weights = weights[rows]
        everywhere = bool((weights == 1).all())
        return (None if len(rows) == len(flat) else rows), (None if everywhere else weights)

    def _weights(self, who: int, path: str, x: Tensor) -> Tensor:
        """B,1,h,w for pictures; B,T,1 for tokens; B,1 for vectors. What has no place acts in the character's own rows
        alone."""
        words = self.words[:, who].to(x.dtype)
        if x.dim() == 4:
            return self._resized(who, x.shape[2], x.shape[3]).to(x.dtype)
        if x.dim() != 3:
            return words.reshape(-1, *[1] * (x.dim() - 1))
        tokens = x.shape[1]
        if _OF_TEXT.search(path):
            return words[:, None, None]
        grid = self._grid(tokens)
        if grid:
            return self._resized(who, *grid).flatten(1)[..., None].to(x.dtype)
        grid = self._grid(tokens - self.text)
        if self.text and grid:  # text and picture in one sequence, the text first
            own = words[:, None].expand(-1, self.text)
            return torch.cat([own, self._resized(who, *grid).flatten(1).to(x.dtype)], 1)[..., None]
        return words[:, None, None]

    def _grid(self, tokens: int) -> tuple[int, int] | None:
        """Rows and columns of so many tokens of the picture."""
        height, width = self.masks.shape[2:]
        grids = ((-(-height // scale), -(-width // scale)) for scale in _SCALES)
        return next((grid for grid in grids if grid[0] * grid[1] == tokens), None)

    def _resized(self, who: int, height: int, width: int) -> Tensor:
        """B,1,height,width: of a token what most of it is."""
        mask = self.masks[:, who : who + 1]
        if mask.shape[2:] == (height, width):
            return mask
        return (functional.adaptive_avg_pool2d(mask.float(), (height, width)) > 0.5).to(mask.dtype)
