"""Temporary forward hooks that hand over what a site computed, and are always undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hooks.resolve import find_stages
from hooks.stages import Stages
from stimuli.errors import InputError


class Seen(Mapping[str, torch.Tensor]):
    """What the sites gave, by site. A site that fired several times keeps every firing; ``[site]`` gives the last."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._values: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
        self.seconds = 0.0
        """Time spent in hooks, as the processor sees it."""
        self._paused = False

    def all(self, site: str) -> tuple[torch.Tensor, ...]:
        """Every firing of a site, in order."""
        return tuple(self._values[site])

    def clear(self) -> None:
        """Forget everything seen so far (between batches)."""
        for values in self._values.values():
            values.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Forward passes inside this block are not seen, and not ended early."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __getitem__(self, site: str) -> torch.Tensor:
        """The last firing of a site.

        Raises:
            KeyError: the site was not asked for.
            InputError: no forward pass reached it.
        """
        values = self._values[site]
        if not values:
            raise InputError(
                f"The site '{site}' has not fired: no forward pass went through it inside the `with` block. "
                "Run the model inside the block, on inputs that hold an image."
            )
        return values[-1]

    def __iter__(self) -> Iterator[str]:
        """The sites asked for."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many sites were asked for."""
        return len(self._values)


class Stop(Exception):  # noqa: N818 - a signal, not an error
    """Raised by ``capture(stop=True)`` after the last site, so that nothing behind it runs."""


@contextmanager
def capture(
    model: Any,
    sites: str | Sequence[str],
    stages: Stages | None = None,
    *,
    stop: bool = False,
    keep: Callable[[str, torch.Tensor], Any] | None = None,
) -> Iterator[Seen]:
    """Capture the outputs of sites during the forward passes inside the ``with`` block.

    Hooks detach and hand over, nothing else: no copy, no move. They are removed when the block ends, also after an exception.

    Args:
        model: the model, or what ``sn.load`` gave, which brings its proven map along.
        sites: names of sites, or ``"all"``.
        stages: the model's map; found if not given.
        stop: end each forward pass after the last wanted site (the pass then raises ``Stop``, which the caller catches), unless
            the self-test saw that site fire more than once in a pass.
        keep: called with a site and what it gave, on the spot; what it returns is kept instead. Pooling in place saves the
            memory of all the sites' tokens, and nothing that the model does to them later can be seen.

    Yields:
        What the sites gave: tensors as the module gave them (see ``Stages.layouts`` for their shapes).

    Raises:
        InputError: unknown site, or a compiled model.
    """
    model, stages = mapped(model, stages)
    wanted = stages.check(sites)
    refuse_compiled(model)
    modules = dict(model.named_modules())
    seen, handles = Seen(wanted), []
    last = wanted[-1] if wanted else None
    try:
        for site in wanted:
            ends = stop and site == last and fires_once(stages, site, unproven=True)
            module, hook = modules[stages.sites[site]], _hook(seen, site, ends, keep)
            if site.endswith(".embed"):
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            else:
                handles.append(module.register_forward_hook(hook))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def fires_once(stages: Stages, site: str, *, unproven: bool) -> bool:
    """Whether a site fires once per forward pass, as the self-test saw; ``unproven`` where there was none."""
    if stages.proof is None:
        return unproven
    firings = stages.proof.firings
    return (firings.get(site) or firings[site.rpartition(".")[0]]).times == 1  # a part of a block fires as the block does


def mapped(model: Any, stages: Stages | None = None) -> tuple[Any, Stages]:
    """The model itself and its map: as given, of a loaded ``Mllm``, or found.

    Raises:
        InputError: it is no model.
    """
    own = getattr(model, "stages", None)
    if isinstance(own, Stages):
        model, stages = model.model, stages or own
    if not isinstance(model, nn.Module):
        raise InputError(
            f"Got a {type(model).__name__}; expected a model (a torch module) or what sn.load gives. Load the checkpoint first: "
            "sn.load('folder or hub id')."
        )
    return model, stages or find_stages(model)


def _hook(seen: Seen, site: str, ends: bool, keep: Callable[[str, torch.Tensor], Any] | None) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """``output`` is what the module gives, or, for a hook before it, the arguments by name that it gets."""
        if seen._paused or _recomputing():
            return
        start = time.perf_counter()
        found = entering(inputs, output, site)[1] if site.endswith(".embed") else features(output, site)
        value = found.detach()
        seen._values[site].append(value if keep is None else keep(site, value))
        seen.seconds += time.perf_counter() - start
        if ends:
            raise Stop

    return hook


def _recomputing() -> bool:
    """Whether this is a backward pass: gradient checkpointing runs blocks a second time there, which is no new firing."""
    return torch._C._current_graph_task_id() != -1


def refuse_compiled(model: nn.Module) -> None:
    """Refuse a model whose forward is compiled: hooks set after compilation do not run inside the compiled graph.

    Raises:
        InputError: the model, or a part of it, is compiled.
    """
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise InputError(
                f"{f'The part {name!r} of the model' if name else 'The model'} is compiled by torch.compile, and hooks do not run "
                "inside a compiled graph. Expected a model that is not compiled: give the original (model._orig_mod), or "
                "compile after the capture."
            )


def entering(inputs: tuple[Any, ...], keywords: dict[str, Any], site: str) -> tuple[int | str, torch.Tensor]:
    """The features that enter a module: the first tensor of floats among its arguments, with its place or name.

    Raises:
        InputError: there is none.
    """
    named: list[tuple[int | str, Any]] = sorted(keywords.items(), key=lambda item: "hidden" not in str(item[0]))
    for key, value in [*enumerate(inputs), *named]:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return key, value
    raise InputError(
        f"The module at site '{site}' was called without a tensor of features. Choose another site, or map this one by hand "
        "with stages=."
    )


FIELDS = ("last_hidden_state", "pooler_output", "hidden_states", "logits")
"""Where a model output keeps its features, in order of preference."""


def features(output: Any, site: str) -> torch.Tensor:
    """The features in a module's output: a tensor, the first tensor of a tuple, or the main field of a model output.

    Raises:
        InputError: none of these.
    """
    return _found(output, site)[1]


def rebuilt(output: Any, value: torch.Tensor, site: str) -> Any:
    """The same output with other features: a copy, the original stays as it is."""
    key, _ = _found(output, site)
    if key is None:
        return value
    if isinstance(output, list) and key == "each":
        return list(torch.split(value, [len(item) for item in output]))
    if isinstance(key, str):
        copy = type(output)(**output)
        copy[key] = value
        return copy
    items = [value if i == key else item for i, item in enumerate(output)]
    return type(output)(items) if type(output) in (tuple, list) else type(output)(*items)


def _found(output: Any, site: str) -> tuple[int | str | None, torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return None, output
    for name in FIELDS:
        if isinstance(getattr(output, name, None), torch.Tensor):
            return name, getattr(output, name)
    if isinstance(output, list) and output and all(isinstance(item, torch.Tensor) and item.ndim == 2 for item in output):
        return "each", torch.cat(output)  # one tensor (tokens, d) per image
    if isinstance(output, tuple | list):
        for i, item in enumerate(output):
            if isinstance(item, torch.Tensor):
                return i, item
    raise InputError(
        f"The module at site '{site}' gave a {type(output).__name__}, not a tensor, a tuple with one or a model output with "
        "last_hidden_state. Choose another site, or map this one by hand with stages=."
    )
