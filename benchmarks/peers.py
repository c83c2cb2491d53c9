"""Snellen and other libraries at the same task, for ``benchmarks/capture.py``: each site's output, pooled or on disk.

A peer is a function that runs one forward pass and gives site to the module's whole output, all positions. One that is not
installed is left out, and a line says how to install it. ``baukit`` is on no package index: its hooks are written out here.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hooks.capture import Stop, capture
from hooks.outbox import Outbox, Parcel
from hooks.pool import pool
from hooks.stages import Stages
from hooks.store import Store
from hooks.tokens import TokenLayout
from hooks.writer import Writer

OPTIONS: dict[str, Any] = {"use_cache": False, "logits_to_keep": 1}
"""Of every forward pass that is timed."""
Peer = Callable[[], dict[str, torch.Tensor]]
"""Runs one pass and gives what it captured."""


@dataclass(frozen=True)
class Done:
    """What one repeat of a variant gave; the values are the last batch's."""

    values: Mapping[str, Any] = field(default_factory=dict)
    held: int = 0
    """Bytes that were kept of one batch when its pass ended."""
    written: int = 0
    """Bytes on disk of all batches."""


@dataclass(frozen=True)
class Task:
    """What every variant works on."""

    model: Any
    inputs: dict[str, torch.Tensor]
    stages: Stages
    layout: TokenLayout
    layers: dict[str, str]
    """Site to module name."""
    in_a_row: int

    @property
    def near(self) -> float:
        """How near two ways to the same value come."""
        return 1e-4 if self.model.dtype == torch.float32 else 2e-2

    def forward(self) -> Any:
        """One bare pass."""
        return self.model(**self.inputs, **OPTIONS)

    def self_test(self) -> None:
        """The map of the model's stages proven by running it."""
        with torch.inference_mode(False):
            self.stages.verify(self.model, {name: value.clone() for name, value in self.inputs.items()})

    def repeated(self, run: Callable[[], Any]) -> Done:
        """Something so many times; nothing is kept."""
        for _ in range(self.in_a_row):
            run()
        return Done()


class Snellen:
    """Captured, pooled in the hook, sent and perhaps written beside the next pass, as ``hooks.extract`` does."""

    def __init__(
        self, task: Task, how: str, folder: Path | None = None, sites: tuple[str, ...] = (), stop: bool = False
    ) -> None:
        self._task, self._how, self._stop = task, how, stop
        self._sites = sites or tuple(task.layers)
        self._outbox, self._count = Outbox(), 0
        self._writer = Writer(folder, {"sites": list(self._sites), "pool": how}) if folder else None

    def __call__(self) -> Done:
        """So many passes."""
        options: dict[str, Any] = {
            "stop": self._stop,
            "keep": lambda site, value: pool(self._task.layout, site, value, self._how),
        }
        waiting: Future[int] | None = None
        written = 0
        with ThreadPoolExecutor(1) as disk, capture(self._task.model, self._sites, self._task.stages, **options) as seen:
            for _ in range(self._task.in_a_row):
                try:
                    self._task.forward()
                except Stop:
                    pass
                parcel = self._outbox.send(seen, None)
                seen.clear()
                written += waiting.result() if waiting else 0
                waiting = disk.submit(self._arrived, parcel)
            written += waiting.result() if waiting else 0
        return Done(parcel.values, sum(value.nbytes for value in parcel.values.values()), written)

    def _arrived(self, parcel: Parcel) -> int:
        parcel.wait()
        assert not parcel.bad()
        if self._writer is None:
            return 0
        first = self._count
        self._count += self._task.layout.n
        return self._writer.batch([{"id": str(i)} for i in range(first, self._count)], parcel.values)

    def read(self) -> dict[str, torch.Tensor]:
        """The rows of the last batch, as they are on disk."""
        assert self._writer is not None
        store, ids = Store(self._writer.folder), range(self._count - self._task.layout.n, self._count)
        return {site: torch.from_numpy(np.stack([store.read(site).of(str(i)) for i in ids])) for site in self._sites}


# ---- peers -----------------------------------------------------------------------------------------------------------


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
        means: dict[str, Any] = {site: pool(layout, site, value, "mean") for site, value in captured.items()}
        values = {site: value.cpu() for site, value in means.items()}
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
