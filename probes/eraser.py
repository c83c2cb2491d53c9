"""An affine map that erases something from features: of arrays, and of a model's tokens as an edit (``hooks.edit.edit``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from stimuli.errors import InputError


@dataclass(frozen=True, eq=False)
class Eraser:
    """The map x → x − L R (x − μ) on the last axis, kept as its two thin factors and applied to every token alike."""

    method: str
    """How it was made: ``leace``, ``inlp`` or a control's name."""
    mean: np.ndarray = field(repr=False)
    """μ, float64 (d,)."""
    left: np.ndarray = field(repr=False)
    """L, float64 (d, r)."""
    right: np.ndarray = field(repr=False)
    """R, float64 (r, d)."""
    variance_removed: float
    """E‖change‖² over the total variance of the rows that it was fitted to. What an orthogonal projection or LEACE removes of the
    variance is just this (without shrinkage)."""

    @property
    def rank(self) -> int:
        """How many directions are erased."""
        return self.left.shape[1]

    @property
    def width(self) -> int:
        """The features' length d."""
        return len(self.mean)

    @property
    def checksum(self) -> str:
        """SHA-256 of what it does: for the record, and to keep answers of different edits apart."""
        digest = hashlib.sha256()
        for part in (self.mean, self.left, self.right):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Erase from an array (…, d), in float64; the result has the type that came.

        Raises:
            InputError: another width.
        """
        own = np.asarray(values)
        self._refuse(own.shape)
        x = own.astype(np.float64, copy=False)
        return (x - ((x - self.mean) @ self.right.T) @ self.left.T).astype(own.dtype, copy=False)

    def __call__(self, own: torch.Tensor) -> torch.Tensor:
        """Erase from a tensor (…, d): shape, type and device stay; computed in float32, or float64 where that is what came.

        Raises:
            InputError: another width.
        """
        self._refuse(tuple(own.shape))
        work = torch.float64 if own.dtype == torch.float64 else torch.float32
        mean, left, right = self._on(own.device, work)
        x = own.to(work)
        return (x - ((x - mean) @ right) @ left).to(own.dtype)

    def _refuse(self, shape: tuple[int, ...]) -> None:
        if not shape or shape[-1] != self.width:
            raise InputError(
                f"The eraser ({self.method}) got features of shape {shape}; expected {self.width} numbers on the last axis. Use it at the "
                "site that it was fitted at."
            )

    def _on(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """μ, Rᵀ and Lᵀ where they are needed, sent once; usable with gradients even if first used in inference mode."""
        if (device, dtype) not in self._sent:
            with torch.inference_mode(False):
                parts = (self.mean, self.right.T, self.left.T)
                self._sent[device, dtype] = [torch.tensor(part, dtype=dtype, device=device) for part in parts]
        mean, right, left = self._sent[device, dtype]
        return mean, left, right

    @cached_property
    def _sent(self) -> dict[tuple[torch.device, torch.dtype], list[torch.Tensor]]:
        return {}


def projection(method: str, mean: np.ndarray, basis: np.ndarray, covariance: np.ndarray) -> Eraser:
    """The orthogonal projection onto the complement of some directions, about the mean.

    Args:
        method: its name.
        mean: (d,).
        basis: (d, r), orthonormal columns.
        covariance: (d, d) of the features, for the share of variance removed.
    """
    return Eraser(method, mean, basis, basis.T.copy(), share(basis, basis.T, covariance))


def share(left: np.ndarray, right: np.ndarray, covariance: np.ndarray) -> float:
    """E‖L R (x − μ)‖² over the total variance: tr(LᵀL · R Σ Rᵀ) / tr Σ; 0 where nothing varies."""
    total = float(np.trace(covariance))
    return float(np.sum((left.T @ left) * (right @ covariance @ right.T))) / total if total > 0 else 0.0


# ---- controls: the same rank, another meaning ---------------------------------------------------------------------------


def controls(
    mean: np.ndarray, covariance: np.ndarray, rank: int, removed: float, seeds: Iterable[int] = range(3)
) -> dict[str, Eraser]:
    """Erasers of the same rank that know nothing of the concept.

    * ``random-SEED``: directions drawn evenly (Elazar et al. 2021). They remove rank / d of the variance of isotropic features, and
      features are not isotropic: they often remove far less than the concept's eraser;
    * ``matched-SEED``: directions drawn from N(0, Σ^(2a)), with the exponent a chosen for each draw so that they remove the same
      share of variance as the concept's eraser, as far as |a| ≤ ``STEEP`` allows (see ``variance_removed``);
    * ``principal``: the leading principal components, the most that this rank can remove.

    Args:
        mean: (d,) of the features.
        covariance: (d, d).
        rank: how many directions, at most d.
        removed: the share of variance to match.
        seeds: one even and one matched draw each.
    """
    variances, axes = np.linalg.eigh(covariance)
    variances, found = np.clip(variances, 0, None), {}
    for seed in seeds:
        drawn = np.random.default_rng([seed, 57]).normal(size=(len(mean), rank))
        evenly = np.linalg.qr(drawn)[0]
        found[f"random-{seed}"] = projection(f"random-{seed}", mean, axes @ evenly, covariance)
        matched = axes @ _matched(drawn, variances, removed)
        found[f"matched-{seed}"] = projection(f"matched-{seed}", mean, matched, covariance)
    return found | {"principal": projection("principal", mean, axes[:, ::-1][:, :rank].copy(), covariance)}


STEEP = 4.0
"""Bound of the exponent of a matched draw: beyond it the directions are the principal components, to working precision."""


def _matched(drawn: np.ndarray, variances: np.ndarray, removed: float) -> np.ndarray:
    """An orthonormal basis of Λᵃ G that removes the wanted share; the share grows with a, so a is found by bisection."""
    scale = np.maximum(variances / max(float(variances.max()), 1e-300), 1e-12)

    def basis(power: float) -> np.ndarray:
        return np.linalg.qr(scale[:, None] ** power * drawn)[0]

    low, high = -STEEP, STEEP
    for _ in range(30):
        middle = (low + high) / 2
        taken = float(((basis(middle) ** 2).T @ scale).sum() / scale.sum())
        low, high = (middle, high) if taken < removed else (low, middle)
    return basis((low + high) / 2)
