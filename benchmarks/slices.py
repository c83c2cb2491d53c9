"""One stimulus of a batch of input tensors alone, and whether a model computes the same of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch

from hooks.batch import bookkeeping
from hooks.capture import capture
from hooks.stages import Stages
from hooks.tokens import TokenLayout


class Uncuttable(ValueError):
    """A tensor of the inputs does not show which of its entries are whose."""


def gap(model: Any, inputs: Mapping[str, Any], stages: Stages) -> float:
    """The largest difference between a stimulus's rows in the batch and alone, over all sites; infinite where shapes differ.

    Raises:
        Uncuttable: the inputs cannot be cut.
    """
    layout = bookkeeping(model, stages, inputs)
    together, worst = _rows(model, inputs, stages), 0.0
    for i in range(layout.n):
        for site, found in _rows(model, alone(inputs, layout, i), stages).items():
            own, shared = found[0], together[site][i]
            worst = max(worst, float((own - shared).abs().max()) if own.shape == shared.shape else float("inf"))
    return worst


def alone(inputs: Mapping[str, Any], layout: TokenLayout, i: int) -> dict[str, Any]:
    """The inputs of one stimulus: its entry where there is one per stimulus, else its crops or packed rows.

    Raises:
        Uncuttable: a tensor has neither.
    """
    found = {}
    for name, value in inputs.items():
        for counts in ((1,) * layout.n, layout.patches.grid, layout.patches.crops):
            if isinstance(value, torch.Tensor) and len(value) == sum(counts):
                end = list(accumulate(counts))[i]
                found[name] = value[end - counts[i] : end]
                break
        else:
            raise Uncuttable(f"{name} cannot be cut")
    return found


def _rows(model: Any, inputs: Mapping[str, Any], stages: Stages) -> dict[str, list[torch.Tensor]]:
    layout = bookkeeping(model, stages, inputs)
    with torch.no_grad(), capture(model, "all", stages) as seen:
        model(**inputs)
    return {site: layout.rows(site, seen.all(site)) for site in seen}
