"""Which parameters moved and how far, layer by layer, and a checksum proof that nothing else did."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from hooks.stage_table import size
from hooks.stages import COMPONENTS, Stages
from stimuli.tables import Table
from tuning.adapters import adapted
from tuning.parts import Part, site_of

OTHER = "other"
"""Stands for the site of parameters between sites: a last norm, an output head."""
OFFLOADED = "offloaded"
"""Stands for the checksum of a tensor that is not at hand."""


@dataclass(frozen=True)
class Audit:
    """What one tuning run changed."""

    component: str
    trained: tuple[str, ...]
    """Names of the parameters that were allowed to move."""
    n_trained: int
    """How many numbers were updated by the optimizer (LoRA: those of the adapters)."""
    n_total: int
    moved: Mapping[str, float]
    """Parameter → L2 norm of its change."""
    sha256_before: str
    sha256_after: str
    """Over every parameter and buffer outside the part (``combined``)."""
    part: str = ""
    """Name of the part: a component, layers of it, or several of these."""
    method: str = "full"
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Parameter → ``site`` (or ``other``), ``component``, ``parameters`` (numbers it has), ``trained`` (numbers the optimizer moved
    for it) and ``before`` (its L2 norm before; None for packed weights)."""
    note: str = ""
    """What the checksums do not cover, in words: offloaded weights, of which only the names are compared."""

    @property
    def unchanged(self) -> bool:
        """Whether everything outside the part is bit-identical."""
        return self.sha256_before == self.sha256_after

    def layers(self) -> Table:
        """How far each layer moved, in the order of the data's way.

        Returns:
            Rows ``site`` (``other`` for what lies between sites), ``component``, ``parameters`` (numbers that may move there),
            ``trained`` (numbers the optimizer moved: with adapters theirs), ``change`` and ``before`` (L2 norms over all of them) and
            ``relative``, the one over the other; None where weights are packed, or all 0 before.
        """
        groups: dict[tuple[str, str], list[str]] = {}
        for name, about in self.weights.items():
            groups.setdefault((about["component"], about["site"]), []).append(name)
        return [self._layer(component, site, names) for (component, site), names in sorted(groups.items(), key=_way)]

    def _layer(self, component: str, site: str, names: list[str]) -> dict[str, Any]:
        own = [self.weights[name] for name in names]
        norms = [about["before"] for about in own]
        before = None if None in norms else math.hypot(*norms)
        change = None if before is None else math.hypot(*(self.moved[name] for name in names))
        return {
            "site": site,
            "component": component,
            "parameters": sum(about["parameters"] for about in own),
            "trained": sum(about["trained"] for about in own),
            "change": change,
            "before": before,
            "relative": change / before if before and change is not None else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        name = max(self.moved, key=lambda key: self.moved[key], default="")
        return {
            "component": self.component,
            "part": self.part or self.component,
            "method": self.method,
            "n_trained": self.n_trained,
            "n_total": self.n_total,
            "trained_tensors": len(self.trained),
            "unchanged": self.unchanged,
            "sha256_before": self.sha256_before,
            "sha256_after": self.sha256_after,
            "note": self.note,
            "largest_move": {"name": name, "norm": self.moved.get(name, 0.0)},
            "layers": self.layers(),
        }


def audited(
    model: Any,
    stages: Stages,
    part: Part,
    method: str,
    trained: Mapping[str, torch.Tensor],
    before: Mapping[str, torch.Tensor],
    sha256_before: str,
) -> Audit:
    """The audit of a run that is over.

    Args:
        model: the tuned model, its adapters merged.
        stages: its map.
        part: what was allowed to move.
        method: how.
        trained: what the optimizer moved, by name in the student (``tuning.adapters.trainable``).
        before: ``of_part`` of the untouched model.
        sha256_before: ``outside`` before the run, or as much by ``combined``.

    Returns:
        The audit; if its two checksums agree, nothing outside the part has changed: no other component, and no other layer.
    """
    named = dict(model.named_parameters())
    sites, owner = site_of(model, stages), {n: c for c in COMPONENTS for n in stages.parameters(model, c)}
    numbers: dict[str, int] = {}
    for name, value in trained.items():
        numbers[adapted(name)] = numbers.get(adapted(name), 0) + value.numel()
    weights = {
        name: {
            "site": sites.get(name, OTHER),
            "component": owner[name],
            "parameters": size(value),
            "trained": numbers.get(name, 0),
            "before": float(value.float().norm()) if value.is_floating_point() else None,
        }
        for name, value in before.items()
    }
    others = digests(model, part.parameters)
    return Audit(
        component="+".join(part.components),
        trained=part.parameters,
        n_trained=sum(numbers.values()),
        n_total=sum(map(size, named.values())),
        moved=moves({name: value for name, value in before.items() if value.is_floating_point()}, named),
        sha256_before=sha256_before,
        sha256_after=combined(others),
        part=part.name,
        method=method,
        weights=weights,
        note=_note(others),
    )


def digests(model: Any, exclude: Collection[str] = ()) -> dict[str, str]:
    """SHA-256 over the bytes of each parameter and buffer that is not excluded, by name; ``OFFLOADED`` where they are not at hand."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: _digest(tensors[name].detach()) for name in sorted(set(tensors) - set(exclude))}


def _digest(value: torch.Tensor) -> str:
    if value.is_meta:
        return OFFLOADED
    return hashlib.sha256(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def combined(found: Mapping[str, str], exclude: Collection[str] = ()) -> str:
    """SHA-256 over the names and checksums of all tensors that are not excluded, in name order.

    Args:
        found: of ``digests``; the bytes are read once, however many sets of names are asked for.
        exclude: names.
    """
    lines = [f"{name} {found[name]}\n" for name in sorted(set(found) - set(exclude))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def outside(model: Any, part: Part) -> str:
    """``combined`` of every parameter and buffer outside a part (adapters merged)."""
    return combined(digests(model, part.parameters))


def _note(found: Mapping[str, str]) -> str:
    away = sum(digest == OFFLOADED for digest in found.values())
    if not away:
        return ""
    return (
        f"{away} of the {len(found)} tensors outside the part are offloaded: only their names were compared, not their numbers."
    )


def of_part(model: Any, part: Part) -> dict[str, torch.Tensor]:
    """The parameters of a part, as they are: of the untouched model, what they were before tuning."""
    named = dict(model.named_parameters())
    return {name: named[name].detach() for name in part.parameters}


def moves(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """L2 norm of each parameter's change."""
    return {
        name: float((after[name].detach().to(value.device).float() - value.float()).norm()) for name, value in before.items()
    }


def _way(group: tuple[tuple[str, str], Iterable[str]]) -> tuple[int, bool, bool, str, int]:
    component, site = group[0]
    stem, _, last = site.rpartition(".")
    number = int(last) if last.isdigit() else -1
    return COMPONENTS.index(component), site == OTHER, stem == component and number >= 0, stem, number
