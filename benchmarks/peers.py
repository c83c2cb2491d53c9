"""Other libraries' ways to capture the outputs of a model's modules, for ``benchmarks/capture.py``.

Each peer is a function that runs one forward pass and gives site to the module's whole output, all positions. A peer that is
not installed is left out, and a line says how to install it. ``baukit`` is on no package index: its hooks are written out here.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hooks.pool import pool
from hooks.tokens import TokenLayout


@dataclass(frozen=True)
class Done:
    """What one repeat of a variant gave; the values are the last batch's."""

    values: Mapping[str, Any] = field(default_factory=dict)
    held: int = 0
    """Bytes that were kept of one batch when its pass ended."""
    written: int = 0
    """Bytes on disk of all batches."""


Peer = Callable[[], dict[str, torch.Tensor]]
OPTIONS: dict[str, Any] = {"use_cache": False, "logits_to_keep": 1}
"""Of every forward pass that is timed."""


class TraceDict:
    """Forward hooks that keep a module's output, detached: what ``baukit.TraceDict(model, layers, detach=True)`` does."""

    def __init__(self, model: nn.Module, layers: Mapping[str, str]) -> None:
        self._model, self._layers = model, layers
        self.output: dict[str, torch.Tensor] = {}

    def __enter__(self) -> TraceDict:
        """Set the hooks."""
        self._handles = [
            self._model.get_submodule(path).register_forward_hook(self._hook(site)) for site, path in self._layers.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, site: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            self.output[site] = tensor(output).detach()

        return keep


def tensor(output: Any) -> torch.Tensor:
    """A module's output, or the first item of a tuple."""
    return output[0] if isinstance(output, tuple | list) else output


def baukit_style(model: Any, inputs: Mapping[str, torch.Tensor], layers: Mapping[str, str]) -> Peer:
    """Plain hooks as baukit sets them."""

    def run() -> dict[str, torch.Tensor]:
        with torch.no_grad(), TraceDict(model, layers) as traced:
            model(**inputs, **OPTIONS)
        return traced.output

    return run


def captum(model: Any, inputs: Mapping[str, torch.Tensor], layers: Mapping[str, str]) -> Peer:
    """``LayerActivation`` of a list of layers."""
    from captum.attr import LayerActivation

    names = list(inputs)
    modules = [model.get_submodule(path) for path in layers.values()]
    activation = LayerActivation(lambda *given: model(**dict(zip(names, given, strict=True)), **OPTIONS).logits, modules)

    def run() -> dict[str, torch.Tensor]:
        first, *others = inputs.values()
        found = activation.attribute(first, additional_forward_args=tuple(others))
        return {site: tensor(value) for site, value in zip(layers, found, strict=True)}

    return run


def nnsight(model: Any, inputs: Mapping[str, torch.Tensor], layers: Mapping[str, str]) -> Peer:
    """A trace with ``tracer.cache``, on a twin with the same weights: nnsight changes the model that it wraps for good."""
    from nnsight import NNsight

    twin = copy.deepcopy(model, {id(weight): weight for weight in (*model.parameters(), *model.buffers())})
    wrapped: Any = NNsight(twin)
    paths = {site: f"model.{path}" for site, path in layers.items()}
    modules = list(paths.values())

    def run() -> dict[str, torch.Tensor]:
        with torch.no_grad(), wrapped.trace(**inputs, **OPTIONS) as tracer:
            cache = tracer.cache(modules=modules)
        return {site: tensor(cache[path].output) for site, path in paths.items()}

    return run


PEERS: dict[str, Callable[..., Peer]] = {"baukit-style": baukit_style, "captum": captum, "nnsight": nnsight}


def installed(
    names: Sequence[str], model: Any, inputs: Mapping[str, torch.Tensor], layers: Mapping[str, str]
) -> dict[str, Peer]:
    """The peers that can be imported, by name.

    Args:
        names: which are wanted.
        model: the model.
        inputs: of its forward pass.
        layers: site to module name.
    """
    found = {}
    for name in names:
        try:
            found[name] = PEERS[name](model, inputs, layers)
        except ImportError as error:
            print(f"left out: {name} ({error}); to compare with it: pip install {name}")
    return found


def pooled(peer: Peer, layout: TokenLayout, times: int) -> Done:
    """A peer's captures, pooled behind the pass to the means that Snellen takes in its hooks."""
    for _ in range(times):
        captured = peer()
        values = {site: pool(layout, site, value, "mean") for site, value in captured.items()}
        values = {site: value.cpu() for site, value in values.items()}
    return Done(values, _bytes(captured))


def stored(peer: Peer, folder: Path, times: int) -> Done:
    """A peer's captures in files, one per batch."""
    written = 0
    for _ in range(times):
        captured = peer()
        written += _saved(captured, folder / f"{len(list(folder.iterdir())):05d}.pt")
    return Done(captured, _bytes(captured), written)


def _saved(values: Mapping[str, torch.Tensor], path: Path) -> int:
    """By ``torch.save``, and synced, as Snellen's files are, so that the work is equal. Gives the bytes written."""
    with open(path, "wb") as handle:
        torch.save({site: value.cpu() for site, value in values.items()}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    return path.stat().st_size


def _bytes(values: Mapping[str, torch.Tensor]) -> int:
    return sum(value.nbytes for value in values.values())
