"""What an optimizer moves: all numbers of a part, or low-rank adapters on its linear layers (PEFT)."""

from __future__ import annotations

import re
from typing import Any, Literal

from torch import nn

from hooks.checkpoint import quantization_of
from hooks.folder import first_line
from hooks.quiet import quiet
from stimuli.errors import InputError
from tuning.parts import Part

Method = Literal["full", "lora", "dora"]
METHODS: tuple[Method, ...] = ("full", "lora", "dora")


def linear_modules(model: Any, part: Part) -> tuple[str, ...]:
    """Names of the linear layers of a part, in order of definition; the output head is none of them.

    A linear layer is an ``nn.Linear`` or a quantised layer that stands for one, and its weight is of the part. Left out are layers
    whose weight torch's own attention reads without calling them, and those that share it with an embedding.
    """
    own, head = set(part.parameters), _head(model)
    unheard = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention))
    return tuple(
        name
        for name, module in model.named_modules()
        if f"{name}.weight" in own and _is_linear(module) and id(module) not in head and not name.startswith(unheard)
    )


def trainable(model: Any, part: Part, method: Method, rank: int = 8) -> tuple[Any, dict[str, nn.Parameter]]:
    """Make a part trainable, and nothing else.

    Low-rank adapters (Hu et al. 2022) are scaled by ``alpha / rank`` = 2 and have no dropout; ``dora`` trains the magnitude of each
    output beside the direction (Liu et al. 2024). They start as no change at all; their first half is drawn from torch's global
    generator, so ``torch.manual_seed`` before this call fixes it.

    Args:
        model: the copy to train (``tuning.copies.copy_for``); with adapters its modules are wrapped in place.
        part: what may move.
        method: ``full`` for the weights themselves, ``lora`` or ``dora`` for adapters.
        rank: of the adapters.

    Returns:
        What is run, the model or the ``PeftModel`` around it, and its trainable parameters by their names in it.

    Raises:
        InputError: unknown method; a rank below 1; adapters together with ``only``, or on a part without linear layers; all weights
            of a quantised model; a model to which PEFT cannot be held (some mixtures of experts).
    """
    check_method(part, method, rank)
    model.requires_grad_(False)
    if method == "full":
        _refuse_quantised(model, part)
        named = dict(model.named_parameters())
        chosen = {name: named[name].requires_grad_(True) for name in part.parameters}
        return model, chosen
    from peft import LoraConfig, get_peft_model

    names = _targets(model, part, method)
    pattern = "|".join(re.escape(name) for name in names)  # PEFT matches a pattern in full, but a list of names by their ends
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=f"(?:{pattern})", use_dora=method == "dora"
    )
    try:
        with quiet():
            student = get_peft_model(model, config)
    except (NotImplementedError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"PEFT cannot put adapters on {type(model).__name__}: {first_line(error)} Expected a model that it knows. Use method='full'."
        ) from error
    chosen = {name: value for name, value in student.named_parameters() if value.requires_grad}
    found = {adapted(name) for name in chosen}
    if found != {f"{name}.weight" for name in names}:  # PEFT cuts the names of some mixtures of experts down to their ends
        raise InputError(
            f"PEFT puts adapters on other layers of {type(model).__name__} than those of '{part.name}': it rewrites what is asked for "
            "where experts are fused. Expected adapters on that part alone. Use method='full'."
        )
    return student, chosen


def adapted(name: str) -> str:
    """The weight of the model that a trainable parameter of a student changes: itself, or the one its adapter sits on."""
    inner = name.removeprefix("base_model.model.")
    return f"{inner.split('.lora_')[0]}.weight" if ".lora_" in inner else inner


def count(model: Any, part: Part, method: Method, rank: int = 8) -> int:
    """How many numbers ``trainable`` would let move: rank × (inputs + outputs) per layer, with DoRA one more per output.

    Raises:
        InputError: as ``trainable``.
    """
    check_method(part, method, rank)
    if method == "full":
        named = dict(model.named_parameters())
        return sum(named[name].numel() for name in part.parameters)
    per_rank, fixed = _sizes(model, part, method)
    return rank * per_rank + fixed


def rank_for(model: Any, part: Part, budget: int, method: Method = "lora") -> int:
    """The rank whose adapters have as many trainable numbers as a budget, as nearly as may be; the lower one of two.

    Args:
        model: the model.
        part: what is adapted.
        budget: how many numbers may be trained.
        method: ``lora`` or ``dora``.

    Returns:
        At least 1, and at most the lowest rank at which every layer's change is free, beyond which numbers are added in vain. A budget
        below or above what these train is missed: compare with ``count``.

    Raises:
        InputError: a part that takes no adapters, or method ``full``, which has no rank.
    """
    if method == "full":
        raise InputError("method='full' has no rank. Expected lora or dora. Use one of these, or leave the budget out.")
    check_method(part, method)
    per_rank, fixed = _sizes(model, part, method)
    useful = max(min(_shape(model.get_submodule(name))) for name in _targets(model, part, method))
    below = max(0, budget - fixed) // per_rank
    nearest = min((below, below + 1), key=lambda rank: (abs(rank * per_rank + fixed - budget), rank))
    return max(1, min(nearest, useful))


def check_method(part: Part | None, method: str, rank: int = 1) -> None:
    """Refuse an unknown method, a rank below 1, and adapters on norms or biases alone.

    Args:
        part: what would be adapted; None before a model is loaded.
        method: one of ``METHODS``.
        rank: of the adapters.

    Raises:
        InputError: one of them.
    """
    if method not in METHODS:
        raise InputError(f"Unknown method '{method}'. Expected one of {', '.join(METHODS)}. Use one of these.")
    if method != "full" and rank < 1:
        raise InputError(f"Got rank {rank} for method='{method}'. Expected a whole number of at least 1. Change it.")
    if method != "full" and part is not None and part.only is not None:
        raise InputError(
            f"only='{part.only}' and method='{method}' do not go together: adapters sit on linear layers. Expected method='full' for "
            "norms or biases. Leave one of the two out."
        )


def _targets(model: Any, part: Part, method: str) -> tuple[str, ...]:
    names = linear_modules(model, part)
    if not names:
        raise InputError(
            f"'{part.name}' of {type(model).__name__} has no linear layers, so method='{method}' has nothing to adapt. Expected a part "
            "with some. Use method='full', or name another part."
        )
    return names


def _sizes(model: Any, part: Part, method: str) -> tuple[int, int]:
    """Trainable numbers per rank, and those that any rank has."""
    shapes = [_shape(model.get_submodule(name)) for name in _targets(model, part, method)]
    return sum(map(sum, shapes)), sum(outputs for _, outputs in shapes) if method == "dora" else 0


def _shape(module: Any) -> tuple[int, int]:
    return int(module.in_features), int(module.out_features)


def _is_linear(module: nn.Module) -> bool:
    shaped = all(isinstance(getattr(module, name, None), int) for name in ("in_features", "out_features"))
    return isinstance(module, nn.Linear) or (shaped and "Linear" in type(module).__name__)


def _head(model: Any) -> set[int]:
    """The output head, and whatever shares its weight with an embedding."""
    heads = {id(module) for name, module in model.named_modules() if name == "lm_head" or name.endswith(".lm_head")}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    heads |= {id(m) for m in model.modules() if _is_linear(m) and id(getattr(m, "weight", None)) in tables}
    try:
        return heads | {id(model.get_output_embeddings())}
    except (AttributeError, NotImplementedError):  # a model that does not say
        return heads


def _refuse_quantised(model: Any, part: Part) -> None:
    named = dict(model.named_parameters())
    packed = [name for name in part.parameters if not named[name].is_floating_point()]
    if quantization_of(model) is not None or packed:
        raise InputError(
            f"{type(model).__name__} is quantised ({quantization_of(model) or named[packed[0]].dtype}), so its weights cannot be trained "
            "themselves. Expected method='lora' or 'dora'. Use one of these, or load the model without quantization."
        )
