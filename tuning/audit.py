"""Which parameters moved and how far, and a checksum proof that nothing else did."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


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


def checksum(model: nn.Module, exclude: Collection[str]) -> str:
    """SHA-256 over names and bytes of every parameter and buffer that is not excluded, in name order."""
    left_out = set(exclude)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    digest = hashlib.sha256()
    for name in sorted(set(tensors) - left_out):
        digest.update(name.encode())
        value = tensors[name].detach().cpu().contiguous()
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def moves(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """L2 norm of each parameter's change."""
    return {name: float((after[name].detach().float() - value.float()).norm()) for name, value in before.items()}
