"""Activations that are computed again in the backward pass instead of being kept (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hooks.stages import Stages


@contextmanager
def recomputed(model: nn.Module, stages: Stages, wanted: bool = True) -> Iterator[int]:
    """Inside the block, the vision and language blocks keep their inputs only, whatever the family.

    transformers' own switch works in training mode alone, where dropout is on; this one leaves the mode as it is.

    Args:
        model: whose blocks the stages name.
        stages: its map.
        wanted: whether to do anything.

    Yields:
        How many blocks.
    """
    names = {name for site, name in stages.sites.items() if site.rpartition(".")[2].isdecimal()} if wanted else set()
    blocks = [model.get_submodule(name) for name in sorted(names)]
    own = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = partial(_again, block.forward)
        yield len(blocks)
    finally:
        for block, forward in zip(blocks, own, strict=True):
            vars(block).pop("forward", None)
            if forward is not None:
                block.forward = forward


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
