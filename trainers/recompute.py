"""Gradient checkpointing: a block's activations are dropped after the forward pass and computed again for the backward
one, which takes less memory and more time (arXiv 1604.06174)."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .errors import TrainingError

_EVERY = {"blocks": 1, "every_second_block": 2}


@contextmanager
def recomputed(network: nn.Module, granularity: str) -> Iterator[None]:
    """Compute blocks of `network` again for the backward pass; granularity: one of config.CHECKPOINTINGS.

    The numbers stay the same. Raises TrainingError for a network that has no blocks.
    """
    if granularity == "none":
        yield
        return
    chosen = _every(_EVERY[granularity], blocks(network))
    if not chosen:
        raise TrainingError(
            f"{type(network).__name__} has no blocks whose activations could be computed again. Set "
            "gradient_checkpointing to 'none'."
        )
    own = [vars(block).get("forward") for block in chosen]  # another pack may have set one
    try:
        for block in chosen:
            block.forward = _computed_again(block.forward)
        yield
    finally:
        for block, before in zip(chosen, own, strict=True):
            del block.forward  # the class's own shows again
            if before is not None:
                block.forward = before


def _every(number: int, found: list[nn.Module]) -> list[nn.Module]:
    """Of each kind: a UNet's convolutions and transformers take turns, and one needs far more memory."""
    kinds: dict[type, int] = collections.Counter()
    chosen = []
    for block in found:
        if kinds[type(block)] % number == 0:
            chosen.append(block)
        kinds[type(block)] += 1
    return chosen


def blocks(network: nn.Module) -> list[nn.Module]:
    """The outermost repeated parts that have weights: elements of its lists. ComfyUI's UNet goes through the layers of
    a sequence by itself, so they stand for it."""
    found: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and not any(_holds(block, module) for block in found):
            parts = (part for element in module for part in _called(element))
            found += [part for part in parts if any(True for _ in part.parameters())]
    return found


def _holds(block: nn.Module, module: nn.Module) -> bool:
    return any(each is module for each in block.modules())


def _called(element: nn.Module) -> list[nn.Module]:
    """What is called of a list's element: containers are not, but what they hold."""
    if isinstance(element, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return [part for child in element.children() for part in _called(child)]
    return [element]


def _computed_again(forward: Callable[..., Any]) -> Callable[..., Any]:
    changed: set[int] | None = None  # places among the arguments

    def on_copies(*arguments, **options):
        """The second time is to see what the first saw. What a block leaves alone is shared with the others, whose
        gradients are then added up in the same order as ever."""
        given = [_copied(each, place in changed) for place, each in enumerate((*arguments, *options.values()))]
        return forward(*given[: len(arguments)], **dict(zip(options, given[len(arguments) :], strict=True)))

    def recomputing(*arguments, **options):
        nonlocal changed
        if not torch.is_grad_enabled():
            return forward(*arguments, **options)
        # ComfyUI writes where it is into its options as it goes on
        arguments = [_copied(each, False) for each in arguments]
        options = {name: _copied(each, False) for name, each in options.items()}
        if changed is None:
            changed = _changed_by(forward, arguments, options)
        return checkpoint(on_copies, *arguments, use_reentrant=False, **options)

    return recomputing


@torch.no_grad()
def _changed_by(forward: Callable[..., Any], arguments: list, options: dict[str, Any]) -> set[int]:
    """Places of the tensors that a block changes in place (ComfyUI's Flux: `img += …`), as it does so on copies."""
    given = [_copied(each, True) for each in (*arguments, *options.values())]
    with torch.random.fork_rng():
        forward(*given[: len(arguments)], **dict(zip(options, given[len(arguments) :], strict=True)))
    return {place for place, each in enumerate(given) if isinstance(each, Tensor) and each._version > 0}


def _copied(argument: Any, is_changed: bool) -> Any:
    if isinstance(argument, Tensor):
        return argument.clone() if is_changed else argument
    return dict(argument) if isinstance(argument, dict) else argument
