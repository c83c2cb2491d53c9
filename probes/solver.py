"""Many multinomial logistic regressions over the same rows at once, along a path of penalties.

All folds of a site share one matrix; a problem is a weight per row (0 = held out). Objective per problem, as in scikit-learn with
C = 1/penalty: Σᵢ wᵢ·nllᵢ + penalty/2·‖W‖², intercepts free, on features standardised by the problem's own training rows; of two
classes one vector is penalised, as there. Three things make it fast. The problems of a penalty are evaluated together. The Hessian
at uniform probabilities, (I - 11ᵀ/k)/k ⊗ XᵀX + penalty (Böhning 1992), scaled by the mean curvature of the penalty before, is
inverted once per penalty and preconditions all problems of it. And each penalty starts from the solution of the next larger one
of the same problem, never from one that saw held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from probes.designs import Design, Rows, design, rows
from probes.lbfgs import minimise

TIGHT = 1e-5
"""Below this tolerance products are taken in float64."""
RELATIVE = 10.0
"""Times the tolerance: how far a coefficient may be from the optimum, against the largest one."""
CHUNK = 2**24
"""Weights (problems x coordinates x classes) solved together: L-BFGS keeps twenty times as many numbers."""


@dataclass(frozen=True)
class Solution:
    """Weights of P problems on raw features."""

    coef: np.ndarray
    """(P, d, k)."""
    intercept: np.ndarray
    """(P, k)."""
    evaluations: int

    def logits(self, values: np.ndarray) -> np.ndarray:
        """(P, n, k) for values (n, d)."""
        return np.matmul(values, self.coef) + self.intercept[:, None]


@dataclass(frozen=True)
class Fitted:
    """All problems at one penalty."""

    penalty: float
    logits: np.ndarray
    """(P, n, k), of all rows, held out or not."""
    solution: Solution


class Problems:
    """Problems over the same rows, made ready to be solved at any penalty.

    Args:
        values: (n, d) features, shared by all.
        targets: int (n,) or (P, n), classes 0 … k-1.
        weights: (P, n), non-negative; 0 holds a row out.
        k: number of classes.
        tolerance: stop when no gradient component, per training row, is larger (scikit-learn's ``tol``) and the coefficients are as near to
            the optimum as ``RELATIVE`` says; where classes can be separated, the first alone stops far from it.
        iterations: at most, per penalty.
        penalties: how many will be asked for, for the choice of the design.
        device: of the computation; a CUDA device if there is one.
    """

    def __init__(
        self,
        values: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        k: int,
        *,
        tolerance: float = 1e-4,
        iterations: int = 300,
        penalties: int = 1,
        device: str | None = None,
    ) -> None:
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.k, self._tolerance, self._iterations = k, tolerance, iterations
        self._weights = torch.as_tensor(np.asarray(weights), dtype=torch.float64, device=place)
        features = torch.as_tensor(np.ascontiguousarray(values), device=place)
        self._rows: Rows = rows(features, self._weights)
        dtype = torch.float64 if tolerance < TIGHT else torch.float32
        self._design: Design = design(self._rows, k, penalties, dtype)
        own = torch.as_tensor(np.asarray(targets), device=place).long()
        self._targets = own.expand(len(self._weights), -1)
        self._curvature = 1.0 / k

    @property
    def size(self) -> int:
        """How many problems."""
        return len(self._weights)

    def solve(
        self, penalty: float, keep: np.ndarray | None = None, start: torch.Tensor | None = None
    ) -> tuple[Fitted, torch.Tensor]:
        """Solve some problems at one penalty.

        Args:
            penalty: positive.
            keep: which problems; all by default.
            start: the second result at another penalty.

        Returns:
            What was found, and where to start from at the next penalty.
        """
        chosen = torch.arange(self.size, device=self._weights.device)
        chosen = chosen if keep is None else chosen[torch.as_tensor(keep, device=chosen.device)]
        shape = (len(chosen), self._design.width + 1, self.k)
        theta = torch.zeros(shape, dtype=torch.float64, device=chosen.device) if start is None else start
        strength = penalty * (2 if self.k == 2 else 1)
        self._design.prepare(strength, self._curvature)
        step = max(1, CHUNK // (shape[1] * shape[2]))
        parts = [self._minimised(theta[at : at + step], chosen[at : at + step], strength) for at in range(0, len(chosen), step)]
        theta = torch.cat([part for part, _ in parts])
        calls = sum(used for _, used in parts)
        return self._fitted(penalty, theta, chosen, calls), theta

    def _minimised(self, start: torch.Tensor, keep: torch.Tensor, penalty: float) -> tuple[torch.Tensor, int]:
        def evaluate(point: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._evaluate(point, keep[at], penalty)

        def precondition(slope: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return self._precondition(slope, keep[at])

        def settled(point: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
            """Small in itself, and against the penalty: its share of the curvature alone bounds how far the optimum can be."""
            error = _largest(slope) * float(self._rows.count.mean()) / penalty
            return (_largest(slope) <= self._tolerance) & (error <= RELATIVE * self._tolerance * _largest(point[:, :-1]))

        return minimise(evaluate, precondition, settled, start, self._iterations)

    def _evaluate(self, theta: torch.Tensor, keep: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (m,) and gradient (m, width + 1, k) per training row."""
        body, count, weight = theta[:, :-1], self._rows.count[keep], self._weights[keep].T
        scores = self._design.forward(body, keep) + theta[:, -1]  # (n, m, k)
        scores -= scores.amax(2, keepdim=True)  # torch's own softmax is slow over few classes
        target = self._targets[keep].T[:, :, None]
        own = scores.gather(2, target)
        residual = scores.exp_()
        total = residual.sum(2, keepdim=True)
        loss = (weight * (total.log() - own)[:, :, 0]).sum(0) + 0.5 * penalty * (body**2).sum((1, 2))
        residual /= total
        residual.scatter_add_(2, target, torch.full_like(target, -1, dtype=residual.dtype))
        residual *= weight[:, :, None]
        slope = self._design.backward(residual, keep) + penalty * body
        return loss / count, torch.cat([slope, residual.sum(0)[:, None]], 1) / count[:, None, None]

    def _precondition(self, slope: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Of a gradient per training row: the scatter counts all training rows."""
        count = self._rows.count[keep][:, None, None]
        body = self._design.precondition(slope[:, :-1], keep) * count
        return torch.cat([body, slope[:, -1:] / self._curvature], 1)

    def _fitted(self, penalty: float, theta: torch.Tensor, keep: torch.Tensor, calls: int) -> Fitted:
        logits = self._design.forward(theta[:, :-1], keep) + theta[:, -1]
        spare = 1 - (torch.softmax(logits, 2) ** 2).sum(2)  # (n, m)
        weight = self._weights[keep].T
        mean = float((spare * weight).sum() / weight.sum()) / (self.k - 1)
        self._curvature = min(max(mean, 1e-6), 1.0 / self.k)
        coef = self._design.raw(theta[:, :-1], keep)
        offset = self._rows.mean[keep] + self._rows.shift
        intercept = theta[:, -1] - torch.einsum("pd,pdk->pk", offset, coef)
        solution = Solution(coef.cpu().numpy(), intercept.cpu().numpy(), calls)
        return Fitted(penalty, logits.permute(1, 0, 2).cpu().numpy(), solution)


def path(problems: Problems, penalties: Sequence[float]) -> Iterator[Fitted]:
    """All problems at each penalty, the largest first, each from the solution of the one before."""
    start = None
    for penalty in sorted(set(penalties), reverse=True):
        found, start = problems.solve(penalty, start=start)
        yield found


def solve(
    values: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    penalties: np.ndarray,
    k: int,
    *,
    tolerance: float = 1e-4,
    iterations: int = 300,
    device: str | None = None,
) -> Solution:
    """Fit P problems, each with its own penalty; arguments as of ``Problems``, and ``penalties`` (P,)."""
    penalties = np.asarray(penalties, float)
    problems = Problems(
        values,
        targets,
        weights,
        k,
        tolerance=tolerance,
        iterations=iterations,
        penalties=len(np.unique(penalties)),
        device=device,
    )
    coef, intercept = np.zeros((len(weights), values.shape[1], k)), np.zeros((len(weights), k))
    calls = 0
    for penalty in np.unique(penalties):
        at = np.flatnonzero(penalties == penalty)
        found = problems.solve(float(penalty), at)[0].solution
        coef[at], intercept[at], calls = found.coef, found.intercept, calls + found.evaluations
    return Solution(coef, intercept, calls)


def _largest(values: torch.Tensor) -> torch.Tensor:
    """Largest absolute value per problem."""
    return values.flatten(1).abs().amax(1)
