"""Networks that change their own activations in place, as ComfyUI's Flux does (`img += …`).

That saves memory while sampling. In training, autograd has kept the tensor for the norm before it. (recompute.py knows
that a block may change its input, too.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_NORMS = (nn.LayerNorm, nn.RMSNorm) if hasattr(nn, "RMSNorm") else (nn.LayerNorm,)


@contextmanager
def inputs_kept(network: nn.Module) -> Iterator[None]:
    """The layer norms of `network` keep copies of their inputs for the backward pass. Whatever else is changed in place
    after it was kept, autograd refuses with an error."""
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    hooks = [norm.register_forward_pre_hook(_copied) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _copied(_norm: nn.Module, inputs: tuple) -> tuple:
    if not torch.is_grad_enabled():
        return inputs
    return tuple(each.clone() if isinstance(each, Tensor) and each.requires_grad else each for each in inputs)
