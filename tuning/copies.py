"""A copy of a model to train: its own where it may move, the original's memory everywhere else."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from stimuli.errors import InputError
from tuning.parts import Part


def copy_for(model: Any, part: Part) -> Any:
    """A copy whose frozen parameters share memory with the original's, while those of the part are its own.

    Args:
        model: the original; neither its weights nor their ``requires_grad`` change, whatever the copy goes through.
        part: what may move. An adapter of these layers may be merged into the copy as well.

    Returns:
        The copy in evaluation mode, no parameter of which requires a gradient yet. Tied parameters stay tied, buffers are copied.
        Quantised weights, which no optimizer moves, are the original's own objects.

    Raises:
        InputError: weights of the part are offloaded, so that there is nothing to copy.
    """
    named = dict(model.named_parameters())
    own = {id(named[name]) for name in part.parameters}
    away = [name for name in part.parameters if named[name].is_meta]
    if away:
        raise InputError(
            f"{len(away)} parameters of '{part.name}' are offloaded ('{away[0]}' and others), so they cannot be trained. Expected "
            "weights in memory. Load the model on a device that holds it, or tune a part that is there."
        )
    shared = {id(value): _parameter(value, id(value) in own) for value in named.values()}
    twin = copy.deepcopy(model, shared)  # the memo says what stands for a parameter, wherever it is met
    return twin.eval()


def own_adapted(student: Any) -> None:
    """Give the layers that wear adapters weights of their own, so that merging writes into no shared memory.

    Args:
        student: a ``PeftModel`` whose model shares its weights with the original. Quantised weights are replaced by merging, not
            written into.
    """
    for module in student.modules():
        weight = getattr(getattr(module, "base_layer", None), "weight", None)
        if isinstance(weight, nn.Parameter) and type(weight) is nn.Parameter:
            weight.data = weight.data.clone()


def _parameter(value: nn.Parameter, own: bool) -> nn.Parameter:
    if type(value) is not nn.Parameter:  # quantised, with a state of its own
        return copy.deepcopy(value) if own else value
    data = value.detach().clone() if own else value.detach()
    made = nn.Parameter(data, requires_grad=False)
    made.__dict__.update(value.__dict__)
    return made


def shares_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are views of one memory."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
