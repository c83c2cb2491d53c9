"""The features of many problems over the same rows, standardised by each problem's own training rows.

``Shared`` keeps one matrix for all problems and folds each one's standardisation into its weights, so that an evaluation is two
matrix products for all of them together. ``Own`` is the dual: where there are far fewer training rows than features, each problem
gets coordinates of its own, the principal components of its training rows, which hold everything that a penalised linear probe can
use (representer theorem: Schölkopf et al. 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

JITTER = 1e-6
"""Of the largest eigenvalue possible, added to what is inverted in float32."""
ROUNDS = 80
"""Evaluations that a path of penalties takes, roughly (measured: 80 to 200); for the choice between the two designs."""
LIMIT = 2**27
"""Numbers that ``Own`` may keep (1 GiB), and again those of the problems that have not settled."""


Block = tuple[slice, torch.Tensor | None]
"""Some rows, and which of the problems meant they belong to, int; None for all."""


class Design(Protocol):
    """What the solver needs of features; ``keep`` is int (m,), which problems are meant."""

    width: int
    """Coordinates of a problem."""
    dtype: torch.dtype
    """Of everything that goes in and comes out."""

    def forward(self, theta: torch.Tensor, keep: torch.Tensor, blocks: Sequence[Block]) -> list[torch.Tensor]:
        """Weights (m, width, k) to the scores of each block, (rows, its problems, k) in the design's own precision."""

    def backward(self, residuals: Sequence[torch.Tensor], keep: torch.Tensor, blocks: Sequence[Block]) -> torch.Tensor:
        """Residuals of each block to gradients (m, width, k)."""

    def prepare(self, penalty: float, curvature: float) -> None:
        """Get ready for ``precondition``."""

    def precondition(self, slope: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """(curvature · training rows' scatter + penalty)⁻¹ times ``slope``, (m, width, k)."""

    def raw(self, theta: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """The same weights on raw features, (m, d, k)."""


@dataclass
class Rows:
    """Raw features, centred, and what standardises them for each problem."""

    x: torch.Tensor
    """(n, d) float64, less ``shift``."""
    shift: torch.Tensor
    """(d,), mean of all rows: a large common offset would cost the variance its digits."""
    weights: torch.Tensor
    """(P, n)."""
    mean: torch.Tensor
    """(P, d), of a problem's training rows, less ``shift``."""
    spread: torch.Tensor
    """(P, d), their standard deviation; 1 where a feature never changes."""
    count: torch.Tensor
    """(P,), sum of the weights."""


def rows(values: torch.Tensor, weights: torch.Tensor) -> Rows:
    """Features (n, d) and weights (P, n), made ready."""
    x = values.double()
    shift = x.mean(0)
    x = x - shift
    count = weights.sum(1)
    mean = weights @ x / count[:, None]
    spread = (weights @ x**2 / count[:, None] - mean**2).clamp(min=0).sqrt()
    least = 1e-9 * values.abs().max().double().clamp(max=1) if len(values) else 0.0
    moves = spread > least + 1e-9 * (mean + shift).abs()
    return Rows(x, shift, weights, mean, torch.where(moves, spread, torch.ones_like(spread)), count)


def design(given: Rows, k: int, penalties: int, dtype: torch.dtype) -> Design:
    """The cheaper of the two designs, by the operations that they take."""
    problems, (n, d) = len(given.weights), given.x.shape
    r = min(int((given.weights > 0).sum(1).max()), d)
    shared = n * d**2 + penalties * d**3 + ROUNDS * problems * k * d * (4 * n + 2 * d)
    own = 2 * problems * (4 * n * d * r + 20 * r**3 + 20 * ROUNDS * k * n * r)  # twice: float64; few columns: bound by memory
    return Own(given) if own < shared and problems * n * r < LIMIT else Shared(given, dtype)


class Shared:
    """One matrix for all problems."""

    def __init__(self, given: Rows, dtype: torch.dtype) -> None:
        self._given, self.width, self.dtype = given, given.x.shape[1], dtype
        self._scale = given.x.std(0, unbiased=False)
        self._scale = torch.where(self._scale > 0, self._scale, torch.ones_like(self._scale))
        self._x = (given.x / self._scale).to(dtype)
        self._mean, self._spread = (given.mean / self._scale).to(dtype), (given.spread / self._scale).to(dtype)
        self._scatter: torch.Tensor | None = None
        self._inverse = torch.empty(0)

    def forward(self, theta: torch.Tensor, keep: torch.Tensor, blocks: Sequence[Block]) -> list[torch.Tensor]:  # noqa: D102
        k, x = theta.shape[2], self._x
        wide = theta / self._spread[keep][:, :, None]
        offset = torch.einsum("pd,pdk->pk", self._mean[keep], wide)
        flat = wide.permute(1, 0, 2).contiguous()
        found = []
        for rows, own in blocks:
            part = flat if own is None else flat[:, own]
            scores = (x[rows] @ part.reshape(len(flat), -1)).view(-1, part.shape[1], k)
            found.append(scores.sub_(offset if own is None else offset[own]))
        return found

    def backward(self, residuals: Sequence[torch.Tensor], keep: torch.Tensor, blocks: Sequence[Block]) -> torch.Tensor:  # noqa: D102
        k, m, x = residuals[0].shape[2], len(keep), self._x
        raw = torch.zeros(x.shape[1], m, k, dtype=x.dtype, device=x.device)
        total = torch.zeros(m, k, dtype=torch.float64, device=x.device)
        for (rows, own), residual in zip(blocks, residuals, strict=True):
            part = (x[rows].T @ residual.reshape(len(residual), -1)).view(len(raw), -1, k)
            ends = residual.sum(0, dtype=torch.float64)
            if own is None:
                raw, total = raw.add_(part), total.add_(ends)
            else:
                raw.index_add_(1, own, part)
                total.index_add_(0, own, ends)
        slope = raw.permute(1, 0, 2) - self._mean[keep][:, :, None] * total[:, None].to(x.dtype)
        return slope / self._spread[keep][:, :, None]

    def prepare(self, penalty: float, curvature: float) -> None:  # noqa: D102
        if self._scatter is None:
            self._scatter = self._x.T @ self._x / len(self._x)
        size = curvature * float(self._given.count.mean())
        hessian = size * self._scatter
        hessian.diagonal().add_(penalty + JITTER * size * self.width)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))

    def precondition(self, slope: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:  # noqa: D102
        m, d, k = slope.shape
        return (self._inverse @ slope.permute(1, 0, 2).reshape(d, m * k)).view(d, m, k).permute(1, 0, 2)

    def raw(self, theta: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return theta / self._given.spread[keep][:, :, None]


class Own:
    """Principal components of each problem's training rows, in float64."""

    dtype = torch.float64

    def __init__(self, given: Rows) -> None:
        self._given = given
        parts = [self._components(problem) for problem in range(len(given.weights))]
        self.width = max(len(values) for _, _, values in parts)
        n, device = len(given.x), given.x.device
        self._features = torch.zeros(len(parts), n, self.width, dtype=torch.float64, device=device)
        self._values = torch.zeros(len(parts), self.width, dtype=torch.float64, device=device)
        for problem, (features, _, values) in enumerate(parts):
            self._features[problem, :, : len(values)] = features
            self._values[problem, : len(values)] = values
        self._turns = [turn for _, turn, _ in parts]
        self._gain = torch.empty(0)
        self._part = (torch.empty(0, device=device), self._features)

    def _of(self, keep: torch.Tensor) -> torch.Tensor:
        """Features of some problems, copied once for as long as the same ones are asked for."""
        if len(keep) == len(self._features):
            return self._features
        if not torch.equal(keep, self._part[0]):
            self._part = (keep, self._features[keep])
        return self._part[1]

    def _standardised(self, problem: int) -> torch.Tensor:
        return (self._given.x - self._given.mean[problem]) / self._given.spread[problem]

    def _components(self, problem: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Coordinates of all rows (n, r), training rows to unit directions (rows, r), and the scatter along each (r,)."""
        z = self._standardised(problem)
        train = z[self._given.weights[problem] > 0]
        values, vectors = torch.linalg.eigh(train @ train.T)
        kept = values > 1e-10 * values[-1].clamp(min=1e-300)
        values, turn = values[kept], vectors[:, kept] / values[kept].sqrt()
        return z @ (train.T @ turn), turn, values

    def forward(self, theta: torch.Tensor, keep: torch.Tensor, blocks: Sequence[Block]) -> list[torch.Tensor]:  # noqa: D102
        scores = torch.bmm(self._of(keep), theta).permute(1, 0, 2)
        return [scores[rows] if own is None else scores[rows][:, own] for rows, own in blocks]

    def backward(self, residuals: Sequence[torch.Tensor], keep: torch.Tensor, blocks: Sequence[Block]) -> torch.Tensor:  # noqa: D102
        k, n = residuals[0].shape[2], self._features.shape[1]
        whole = torch.zeros(len(keep), n, k, dtype=torch.float64, device=keep.device)
        for (rows, own), residual in zip(blocks, residuals, strict=True):
            whole[slice(None) if own is None else own, rows] = residual.permute(1, 0, 2)
        return torch.bmm(self._of(keep).transpose(1, 2), whole)

    def prepare(self, penalty: float, curvature: float) -> None:  # noqa: D102
        self._gain = 1 / (curvature * self._values + penalty)

    def precondition(self, slope: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self._gain[keep][:, :, None] * slope

    def raw(self, theta: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:  # noqa: D102
        found = []
        for own, problem in zip(theta, keep.tolist(), strict=True):
            turn = self._turns[problem]
            train = self._standardised(problem)[self._given.weights[problem] > 0]
            found.append(train.T @ (turn @ own[: turn.shape[1]]) / self._given.spread[problem][:, None])
        return torch.stack(found)
