"""Which parameters moved and how far, and a checksum proof that nothing else did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


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
    """Over every parameter and buffer outside the component."""

    @property
    def unchanged(self) -> bool:
        """Whether everything outside the component is bit-identical."""
        return self.sha256_before == self.sha256_after

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        name = max(self.moved, key=lambda key: self.moved[key], default="")
        return {
            "component": self.component,
            "n_trained": self.n_trained,
            "n_total": self.n_total,
            "trained_tensors": len(self.trained),
            "unchanged": self.unchanged,
            "sha256_before": self.sha256_before,
            "sha256_after": self.sha256_after,
            "largest_move": {"name": name, "norm": self.moved.get(name, 0.0)},
        }


def moves(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """L2 norm of each parameter's change."""
    return {name: float((after[name].detach().float() - value.float()).norm()) for name, value in before.items()}
