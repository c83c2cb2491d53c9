"""What a run is asked for: what goes together, and what suits a model unless it is told otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

from hooks.load import Mllm
from hooks.stages import COMPONENTS
from stimuli.errors import InputError
from tuning.adapters import check_method
from tuning.constraints import parse_constraint
from tuning.parts import Part, check_component

RATES: Mapping[str, Mapping[str, float]] = {
    "full": {"vision": 4e-4, "projector": 2e-3, "llm": 1e-3},
    "lora": dict.fromkeys(COMPONENTS, 2e-3),
    "dora": dict.fromkeys(COMPONENTS, 2e-3),
}
"""Peak learning rates that suit the embedded models (a few million parameters)."""
LARGE_RATES: Mapping[str, Mapping[str, float]] = {
    "full": {"vision": 1e-5, "projector": 1e-3, "llm": 2e-5},
    "lora": dict.fromkeys(COMPONENTS, 2e-4),
    "dora": dict.fromkeys(COMPONENTS, 2e-4),
}
"""Peak learning rates above 100 million parameters. Of LLaVA-1.5 (Liu et al. 2023, Improved Baselines with Visual Instruction Tuning):
1e-3 for the projector alone, its stage 1; 2e-5 for the language model, its stage 2. 2e-4 is what Liu et al. (2024, DoRA) tune it with by
LoRA and DoRA. 1e-5 for the vision tower, which LLaVA-1.5 leaves frozen, is ours."""
MOST_KEPT = 4 << 30
VALIDATION = 0.1
"""Share of the training references that early stopping looks at, unless given."""


def default_rate(mllm: Mllm, part: Part, method: str) -> float:
    """The peak learning rate that a part is tuned with unless told otherwise; of a union the least of its components'."""
    rates = LARGE_RATES if sum(p.numel() for p in mllm.model.parameters()) > 1e8 else RATES
    return min(rates[method][component] for component in part.components)


def room() -> int:
    """Bytes of main memory that a process may keep of what frozen parts give.

    A quarter of what is free, shared by the processes of this machine (``LOCAL_WORLD_SIZE``, which torchrun sets), at most ``MOST_KEPT``.
    """
    processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return int(min(MOST_KEPT, psutil.virtual_memory().available // (4 * processes)))


def check(
    component: str,
    method: str,
    constraint: str | Mapping[str, float] | None = None,
    constraint_weight: float = 1.0,
    only: str | None = None,
) -> dict[str, float]:
    """Refuse an unknown component, method or constraint, before anything is computed.

    Returns:
        The constraints and their weights.

    Raises:
        InputError: one of them is unknown, or they do not go together.
    """
    check_component(component, only)
    check_method(None, method)
    if only and method != "full":
        raise InputError(
            f"Got only='{only}' with method='{method}', whose adapters are on linear layers. Expected method 'full' with it."
        )
    found = parse_constraint(constraint, constraint_weight)
    if found and not {"vision", "projector"} & {name.split(".")[0] for name in component.split("+")}:
        raise InputError(
            f"constraint='{constraint}' shapes visual tokens, which tuning the llm does not change. Expected component 'vision' or "
            "'projector'; leave the constraint out."
        )
    return found


def check_numbers(
    steps: int | None, seconds: float | None, batch_size: int, micro_batch: int | None, replay: float, quality: float
) -> None:
    """Refuse lengths and shares that make no run."""
    if not steps and not seconds:
        raise InputError(f"Got steps={steps} and seconds={seconds}. Expected at least one of them, such as steps=200.")
    for name, value in (("steps", steps), ("seconds", seconds), ("batch_size", batch_size), ("micro_batch", micro_batch)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"Got {name}={value}. Expected a number above 0.")
    if min(replay, quality) < 0 or replay + quality >= 1:
        raise InputError(
            f"Got replay={replay} and quality={quality}. Expected shares of a batch, from 0 to 1, that leave room for distortion answers."
        )


def check_processes(batch_size: int, world: int, pairs: bool) -> None:
    """Every process needs a lesson, or it would wait for the others for ever."""
    least = world * (2 if pairs else 1)
    if batch_size < least:
        raise InputError(f"Got batch_size={batch_size} for {world} processes. Expected at least {least} lessons per step.")
