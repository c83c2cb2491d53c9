"""What makes a comparison of components fair: which budgets there are, ranks for equal parameters, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hooks.load import Mllm
from snellen.results import CONSTRAINED, component_of
from stimuli.errors import InputError
from tuning.adapters import count, rank_for
from tuning.parts import Part
from tuning.settings import VALIDATION, check

BUDGETS = ("steps", "parameters", "seconds")
SHARED = ("batch_size", "micro_batch", "replay", "replay_images", "quality", "precision", "recompute", "remember", "checkpoint_every",
          "constraint_weight", "held_out")  # fmt: skip
"""Arguments of ``tune`` that are one for all runs; the others are what is compared or chosen."""
FURTHER = 2
"""Rates tried at most beyond the lowest or highest given, while that is the best."""
MISSED = 0.1
"""Share by which a component may miss the number of parameters that was asked for."""


def equal_ranks(mllm: Mllm, parts: Mapping[str, Part], parameters: int | None = None) -> tuple[int, dict[str, int]]:
    """How many numbers train at equal parameters, and the LoRA rank of each component that meets it as nearly as may be.

    Args:
        mllm: the model.
        parts: by the component's name.
        parameters: how many; by default what rank 8 trains in the smallest component, or, where that is more, what rank 1 trains in
            the largest, which has no smaller adapter.

    Raises:
        InputError: a given number that a component misses by more than ``MISSED``.
    """
    model = mllm.model
    target = parameters or max(
        min(count(model, part, "lora", 8) for part in parts.values()),
        max(count(model, part, "lora", 1) for part in parts.values()),
    )
    ranks = {name: rank_for(model, part, target) for name, part in parts.items()}
    reached = {name: count(model, part, "lora", ranks[name]) for name, part in parts.items()}
    worst = max(reached, key=lambda name: abs(reached[name] / target - 1))
    if parameters and abs(reached[worst] / parameters - 1) > MISSED:
        raise InputError(
            f"Got parameters={parameters}, but the nearest that LoRA trains in '{worst}' is {reached[worst]} (rank {ranks[worst]}). Expected "
            f"a number that each component meets within {MISSED:.0%}. Give parameters={reached[worst]}, or leave it out."
        )
    return target, ranks


def refuse_processes() -> None:
    """Several components are compared by one process.

    Raises:
        InputError: torchrun started more.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"Got {os.environ['WORLD_SIZE']} processes (WORLD_SIZE) to compare components. Expected one. Start without torchrun, or tune "
            "them one by one: torchrun --nproc-per-node 2 -m snellen tune vision --out runs/vision."
        )


def beyond(tried: Sequence[float], best: float) -> list[float]:
    """The next factor beyond the lowest or highest of those tried, if that is the best, as far from it as its neighbour; else none."""
    low, *rest = sorted(set(tried))
    if not rest or best not in (low, rest[-1]):
        return []
    return [low * low / rest[0]] if best == low else [best * best / ([low, *rest][-2])]


def check_comparison(
    budgets: Sequence[str],
    rates: Sequence[float],
    components: Sequence[str],
    constraint: str,
    seconds: float | None,
    validation: float,
    further: int,
) -> None:
    """Refuse budgets, rates, components or shares that make no comparison."""
    unknown = [name for name in budgets if name not in BUDGETS]
    if unknown or not budgets:
        raise InputError(f"Got the budgets {list(budgets)}. Expected some of {', '.join(BUDGETS)}.")
    if not rates or min(rates) <= 0:
        raise InputError(f"Got the rates {list(rates)}. Expected factors above 0 on the default rate, such as 0.3, 1, 3.")
    if further < 0:
        raise InputError(f"Got further={further}. Expected how many rates to try beyond the given ones at most: 0 or more.")
    if not 0 < validation < 1:
        raise InputError(
            f"Got validation={validation}. Expected the share of the training references that choose the rate, such as {VALIDATION}."
        )
    if "seconds" in budgets and "steps" not in budgets and not seconds:
        raise InputError(
            "Got the budget 'seconds' without a number. Expected seconds=600, or 'steps' beside it, whose time is taken."
        )
    for name in components:
        check(component_of(name), "full", constraint if name.endswith(CONSTRAINED) else None)
    if twice := sorted({name for name in components if list(components).count(name) > 1}):
        raise InputError(f"The component '{twice[0]}' is given twice. Give each once.")


def check_shared(how: Mapping[str, Any]) -> None:
    """Refuse arguments of ``tune`` that are what is compared."""
    own = [name for name in how if name not in SHARED]
    if own:
        raise InputError(
            f"Got {', '.join(f'{name}={how[name]!r}' for name in own)} for several components. Expected of tune's arguments only "
            f"{', '.join(SHARED)}: method, rate and length are what is compared (budgets=, rates=, steps=, seconds=, parameters=). "
            "Leave it out, or tune the components one by one (sn.tune)."
        )
