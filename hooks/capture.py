"""Temporary forward hooks that hand over what a site computed, and are always undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hooks.stages import Stages, find_stages
from stimuli.errors import InputError


class Seen(Mapping[str, torch.Tensor]):
    """What the sites gave, by site. A site that fired several times keeps every firing; ``[site]`` gives the last."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._values: dict[str, list[torch.Tensor]] = {site: [] for site in sites}

    def all(self, site: str) -> tuple[torch.Tensor, ...]:
        """Every firing of a site, in order."""
        return tuple(self._values[site])

    def clear(self) -> None:
        """Forget everything seen so far (between batches)."""
        for values in self._values.values():
            values.clear()

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
    model: nn.Module, sites: str | Sequence[str], stages: Stages | None = None, *, stop: bool = False
) -> Iterator[Seen]:
    """Capture the outputs of sites during the forward passes inside the ``with`` block.

    Hooks detach and hand over, nothing else: no copy, no move. They are removed when the block ends, also after an exception.

    Args:
        model: the model that ``stages`` describes.
        sites: names of sites, or ``"all"``.
        stages: the model's map; found if not given.
        stop: end each forward pass after the last wanted site (the pass then raises ``Stop``, which the caller catches).

    Yields:
        What the sites gave: tensors as the module gave them (see ``Stages.layouts`` for their shapes).

    Raises:
        InputError: unknown site.
    """
    stages = stages or find_stages(model)
    wanted = stages.check(sites)
    modules = dict(model.named_modules())
    seen, handles = Seen(wanted), []
    last = wanted[-1] if wanted else None
    try:
        for site in wanted:
            ends = stop and site == last
            if site == "llm.embed":
                hook = _entering(seen, site, ends)
                handles.append(modules[stages.sites[site]].register_forward_pre_hook(hook, with_kwargs=True))
            else:
                handles.append(modules[stages.sites[site]].register_forward_hook(_leaving(seen, site, ends)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _leaving(seen: Seen, site: str, ends: bool) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        seen._values[site].append(tensor_of(output, site))
        if ends:
            raise Stop

    return hook


def _entering(seen: Seen, site: str, ends: bool) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        value = inputs[0] if inputs else keywords["hidden_states"]
        seen._values[site].append(tensor_of(value, site))
        if ends:
            raise Stop

    return hook


def tensor_of(output: Any, site: str) -> torch.Tensor:
    """The features in a module's output: a tensor, the first of a tuple, or ``last_hidden_state`` of a model output.

    Raises:
        InputError: none of these.
    """
    for candidate in (output, getattr(output, "last_hidden_state", None), _first(output)):
        if isinstance(candidate, torch.Tensor):
            return candidate.detach()
    raise InputError(
        f"The module at site '{site}' gave a {type(output).__name__}, not a tensor, a tuple or a model output with "
        "last_hidden_state. Choose another site, or map this one by hand with stages=."
    )


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple | list) and output else None
