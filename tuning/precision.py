"""In which precision a run computes, and that what it trains is kept in float32 meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from hooks.load import Mllm
from stimuli.errors import InputError


def around_passes(mllm: Mllm, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """Around every forward pass: half precision, or nothing.

    Raises:
        InputError: float32 wanted of a model in half precision, or something unknown.
    """
    halved = mllm.model.dtype in (torch.bfloat16, torch.float16)
    if precision not in ("auto", "float32", "bf16"):
        raise InputError(f"Unknown precision '{precision}'. Expected one of auto, float32, bf16. Use one of these.")
    if precision == "float32" and halved:
        raise InputError(
            f"Got precision='float32' for a model in {mllm.model.dtype}. Load it with dtype='float32', or leave it out."
        )
    if halved or precision == "bf16":
        return partial(torch.autocast, mllm.device.type, torch.bfloat16)
    return nullcontext


def as_float32(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.dtype]:
    """Keep what is trained in float32, in which small steps are not rounded away; the types before."""
    kinds = {name: value.dtype for name, value in parameters.items()}
    for value in parameters.values():
        value.data = value.data.float()
    return kinds


def as_before(parameters: Mapping[str, torch.nn.Parameter], kinds: Mapping[str, torch.dtype]) -> None:
    """Put what was trained back into its own types."""
    for name, value in parameters.items():
        value.data = value.data.to(kinds[name])
