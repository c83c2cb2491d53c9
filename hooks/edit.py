"""Change what a site passes on, for the forward passes inside a ``with`` block; always undone.

Edits run before every other hook of the module, also before transformers' own recorders: LLaVA's projector reads a *recorded*
hidden state, and an ordinary hook would change the layer's output without changing what the projector reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from hooks.capture import entering, features, mapped, rebuilt, refuse_compiled
from hooks.reuse import forget
from hooks.stages import Stages
from stimuli.errors import InputError

Edit = Callable[[torch.Tensor], torch.Tensor]
"""From a site's features to others of the same shape."""


@contextmanager
def edit(model: Any, edits: Mapping[str, Edit], stages: Stages | None = None) -> Iterator[None]:
    """Pass the features of sites through functions during the forward passes inside the block.

    Args:
        model: the model, or what ``sn.load`` gave, which brings its proven map along.
        edits: site to function; ``replace``, ``ablate`` and ``steer`` make some, and a fitted eraser (``probes.eraser.Eraser``) is one.
            Of what ``images_once`` remembers, that which passes one of the sites' modules is forgotten when the block begins and
            when it ends.
        stages: the model's map; found if not given.

    Raises:
        InputError: unknown site, a compiled model, or a function that changes the shape.
    """
    model, stages = mapped(model, stages)
    stages.check(list(edits))
    refuse_compiled(model)
    modules = {site: model.get_submodule(stages.sites[site]) for site in edits}
    changed = set(modules.values())
    with ExitStack() as stack:
        for site, change in edits.items():
            module = modules[site]
            if site.endswith(".embed"):
                handle = module.register_forward_pre_hook(_before(site, change), with_kwargs=True, prepend=True)
            else:
                handle = module.register_forward_hook(_after(site, change), prepend=True)
            stack.callback(handle.remove)
        stack.callback(forget, model, changed)
        forget(model, changed)
        yield


def in_front(stages: Stages, sites: Iterable[str]) -> tuple[str, ...]:
    """Encoders that stand whole in front of a projector, for ``images_once`` where the projector is edited.

    Args:
        stages: the model's map.
        sites: that are edited.

    Returns:
        Names of modules; none where no projector is edited, or where it is a part of the encoder.
    """
    edited = [f"{stages.sites[site]}." for site in sites if stages.component(site) == "projector"]
    towers = stages.components.get("vision", ()) if edited else ()
    return tuple(name for name in towers if not any(own.startswith(f"{name}.") for own in edited))


def replace(value: torch.Tensor) -> Edit:
    """Put other features in the place of a site's own (activation patching)."""
    return lambda own: value.to(own).expand_as(own) if value.shape != own.shape else value.to(own)


def ablate(mean: torch.Tensor | float = 0.0) -> Edit:
    """Set every feature to zero, or every token to a mean vector (d,)."""
    return lambda own: torch.zeros_like(own) + torch.as_tensor(mean).to(own)


def steer(direction: torch.Tensor, scale: float = 1.0) -> Edit:
    """Add a direction (d,), times ``scale``, to every token."""
    return lambda own: own + scale * direction.to(own)


def _checked(site: str, own: torch.Tensor, change: Edit) -> torch.Tensor:
    new = change(own)
    if not isinstance(new, torch.Tensor) or new.shape != own.shape:
        came = tuple(new.shape) if isinstance(new, torch.Tensor) else type(new).__name__
        raise InputError(
            f"The edit at site '{site}' gave {came}; expected a tensor of shape {tuple(own.shape)}. Keep the shape of what comes in."
        )
    return new


def _before(site: str, change: Edit) -> Any:
    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        key, value = entering(arguments, keywords, site)
        new = _checked(site, value, change)
        if isinstance(key, int):
            return (*arguments[:key], new, *arguments[key + 1 :]), keywords
        return arguments, {**keywords, key: new}

    return hook


def _after(site: str, change: Edit) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return rebuilt(output, _checked(site, features(output, site), change), site)

    return hook
