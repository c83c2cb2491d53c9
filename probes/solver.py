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
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from probes.designs import Block, Design, Rows, Shared, design, rows
from probes.lbfgs import minimise

TIGHT = 1e-5
"""Below this tolerance products are taken in float64."""
WORTH = 0.15
"""Share of held-out entries from which on rows are sorted into blocks that leave them out."""
SMALL = 2**17
"""Scores (problems x rows x classes) below which rows stay in one block."""
ALONE = 2**26
"""Scores times features below which one thread is faster than several, which wait for each other."""
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
class Start:
    """Where to start from at the next penalty."""

    theta: torch.Tensor
    """(P, coordinates + 1, k)."""
    curvature: float
    common: bool
    """Whether coordinates mean the same in all problems."""

    def mean(self, of: Sequence[Sequence[int]]) -> Start | None:
        """A start for other problems, each from the mean of some of these; None where their coordinates are not the same."""
        return Start(torch.stack([self.theta[list(own)].mean(0) for own in of]), self.curvature, True) if self.common else None


@dataclass(frozen=True)
class Fitted:
    """Problems at one penalty."""

    penalty: float
    logits: np.ndarray
    """(P, n, k), of all rows, held out or not."""
    keep: torch.Tensor
    """Which problems."""
    start: Start
    evaluations: int


class Problems:
    """Problems over the same rows, made ready to be solved at any penalty.

    Args:
        values: (n, d) features, shared by all.
        targets: int (n,) or (P, n), classes 0 … k-1.
        weights: (P, n), non-negative; 0 holds a row out.
        k: number of classes.
        tolerance: stop when no gradient component, per training row, is larger (scikit-learn's ``tol``).
        relative: and when the quasi-Newton step that is left moves no coefficient by more than this, against the largest one; where
            classes can be separated, the first criterion alone stops far from the optimum. Coefficients end within 0.1 % of it.
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
        relative: float = 3e-4,
        device: str | None = None,
    ) -> None:
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.k, self._tolerance, self._iterations, self.relative = k, tolerance, iterations, relative
        self._order, ends, used = _sorted(np.asarray(weights) > 0, k)
        given = torch.as_tensor(np.asarray(weights, float)[:, self._order], device=place)
        features = torch.as_tensor(np.asarray(values)[self._order], device=place)
        self._rows: Rows = rows(features, given)
        dtype = torch.float64 if tolerance < TIGHT else torch.float32
        self._design: Design = design(self._rows, k, penalties, dtype)
        self._blocks = [slice(start, end) for start, end in pairwise(ends)]
        self._used = torch.as_tensor(used, device=place)  # (blocks, P)
        own = torch.as_tensor(np.asarray(targets)[..., self._order], device=place).long()
        self._targets = own.expand(len(given), -1).T.contiguous()  # (n, P)
        self._shares = given.T.contiguous()
        self._curvature = 1.0 / k

    @property
    def size(self) -> int:
        """How many problems."""
        return self._shares.shape[1]

    def solve(self, penalty: float, keep: np.ndarray | None = None, start: Start | None = None) -> Fitted:
        """Solve some problems at one penalty.

        Args:
            penalty: positive.
            keep: which problems; all by default.
            start: that of the result at another penalty.
        """
        chosen = torch.arange(self.size, device=self._shares.device)
        chosen = chosen if keep is None else chosen[torch.as_tensor(keep, device=chosen.device)]
        shape = (len(chosen), self._design.width + 1, self.k)
        theta = torch.zeros(shape, dtype=self._design.dtype, device=chosen.device) if start is None else start.theta
        self._curvature = 1.0 / self.k if start is None else start.curvature
        strength = penalty * (2 if self.k == 2 else 1)
        step = max(1, CHUNK // (shape[1] * shape[2]))
        with _threads(self._shares.numel() * self.k * self._design.width < ALONE):
            self._design.prepare(strength, self._curvature)
            parts = [
                self._minimised(theta[at : at + step], chosen[at : at + step], strength) for at in range(0, len(chosen), step)
            ]
        theta = torch.cat([part for part, _ in parts])
        calls = sum(used for _, used in parts)
        return self._fitted(penalty, theta, chosen, calls)

    def solution(self, found: Fitted) -> Solution:
        """The weights on raw features."""
        theta = found.start.theta.double()
        coef = self._design.raw(theta[:, :-1], found.keep)
        offset = self._rows.mean[found.keep] + self._rows.shift
        intercept = theta[:, -1] - torch.einsum("pd,pdk->pk", offset, coef)
        return Solution(coef.cpu().numpy(), intercept.cpu().numpy(), found.evaluations)

    def _minimised(self, start: torch.Tensor, keep: torch.Tensor, penalty: float) -> tuple[torch.Tensor, int]:
        def evaluate(point: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._evaluate(point, keep[at], penalty)

        def precondition(slope: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return self._precondition(slope, keep[at])

        def settled(point: torch.Tensor, slope: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            """Gradients are small, and so is the step that is left by what is known of the curvature."""
            near = _largest(step[:, :-1]) <= self.relative * _largest(point[:, :-1])
            return near & (_largest(slope) <= self._tolerance)

        return minimise(evaluate, precondition, settled, start, self._iterations)

    def _evaluate(self, theta: torch.Tensor, keep: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (m,) and gradient (m, width + 1, k) per training row."""
        body, count = theta[:, :-1], self._rows.count[keep]
        blocks = self._blocks_of(keep)
        loss = 0.5 * penalty * (body**2).sum((1, 2), dtype=torch.float64)
        ends, residuals = torch.zeros_like(theta[:, -1], dtype=torch.float64), []
        for (at, own), scores in zip(blocks, self._design.forward(body, keep, blocks), strict=True):
            which, every = (keep, torch.arange(len(keep), device=keep.device)) if own is None else (keep[own], own)
            scores = scores + theta[every, -1]  # (rows, problems, k)
            scores -= scores.amax(2, keepdim=True)  # torch's own softmax is slow over few classes
            target, weight = self._targets[at][:, which, None], self._shares[at][:, which]
            hit = scores.gather(2, target)
            residual = scores.exp_()
            total = residual.sum(2, keepdim=True)
            loss.index_add_(0, every, (weight * (total.log() - hit)[:, :, 0]).sum(0))
            residual /= total
            residual.scatter_add_(2, target, torch.full_like(hit, -1))
            residual *= weight.to(residual.dtype)[:, :, None]
            ends.index_add_(0, every, residual.sum(0, dtype=torch.float64))
            residuals.append(residual)
        slope = self._design.backward(residuals, keep, blocks) + penalty * body
        slope = torch.cat([slope, ends[:, None].to(slope.dtype)], 1)
        return loss / count, slope / count[:, None, None].to(slope.dtype)

    def _blocks_of(self, keep: torch.Tensor) -> list[Block]:
        """The blocks that some of these problems train on."""
        used = self._used[:, keep]
        found: list[Block] = []
        for part, own in zip(self._blocks, used, strict=True):
            if own.all():
                found.append((part, None))
            elif own.any():
                found.append((part, torch.nonzero(own)[:, 0]))
        return found

    def _precondition(self, slope: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Of a gradient per training row: the scatter counts all training rows."""
        count = self._rows.count[keep][:, None, None].to(slope.dtype)
        body = self._design.precondition(slope[:, :-1], keep) * count
        return torch.cat([body, slope[:, -1:] / self._curvature], 1)

    def _fitted(self, penalty: float, theta: torch.Tensor, keep: torch.Tensor, calls: int) -> Fitted:
        logits = self._design.forward(theta[:, :-1], keep, [(slice(None), None)])[0].double() + theta[:, -1].double()
        spare = 1 - (torch.softmax(logits, 2) ** 2).sum(2)  # (n, m)
        weight = self._shares[:, keep]
        mean = float((spare * weight).sum() / weight.sum()) / (self.k - 1)
        self._curvature = min(max(mean, 1e-6), 1.0 / self.k)
        ordered = np.empty((len(keep), *logits.shape[::2]))
        ordered[:, self._order] = logits.permute(1, 0, 2).cpu().numpy()
        start = Start(theta, self._curvature, isinstance(self._design, Shared))
        return Fitted(penalty, ordered, keep, start, calls)


def path(problems: Problems, penalties: Sequence[float], keep: np.ndarray | None = None) -> Iterator[Fitted]:
    """Problems at each penalty, the largest first, each from the solution of the one before."""
    start = None
    for penalty in sorted(set(penalties), reverse=True):
        found = problems.solve(penalty, keep, start)
        start = found.start
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
    relative: float = 3e-4,
    device: str | None = None,
) -> Solution:
    """Fit P problems, each with its own penalty; arguments as of ``Problems``, and ``penalties`` (P,)."""
    penalties = np.asarray(penalties, float)
    many = len(np.unique(penalties))
    options: dict[str, Any] = {"tolerance": tolerance, "iterations": iterations, "relative": relative, "device": device}
    problems = Problems(values, targets, weights, k, penalties=many, **options)
    coef, intercept = np.zeros((len(weights), values.shape[1], k)), np.zeros((len(weights), k))
    calls = 0
    for penalty in np.unique(penalties):
        at = np.flatnonzero(penalties == penalty)
        found = problems.solution(problems.solve(float(penalty), at))
        coef[at], intercept[at], calls = found.coef, found.intercept, calls + found.evaluations
    return Solution(coef, intercept, calls)


@contextmanager
def _threads(alone: bool) -> Iterator[None]:
    """One thread inside, if so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if alone else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _sorted(used: np.ndarray, k: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Rows in an order in which those that the same problems train on stand together.

    Args:
        used: bool (P, n).
        k: number of classes.

    Returns:
        The order, where each block starts and the last one ends, and who uses which block, bool (blocks, P); one block where
        little would be left out, where there are many, and where calls cost more than numbers.
    """
    n = used.shape[1]
    patterns, number, size = np.unique(used.T, axis=0, return_inverse=True, return_counts=True)
    if used.mean() > 1 - WORTH or len(patterns) > 2 * len(used) or used.size * k < SMALL:
        return np.arange(n), [0, n], np.ones((1, len(used)), bool)
    return np.argsort(number.ravel(), kind="stable"), [0, *np.cumsum(size).tolist()], patterns


def _largest(values: torch.Tensor) -> torch.Tensor:
    """Largest absolute value per problem; 0 of none."""
    return values.flatten(1).abs().amax(1) if values.numel() else values.new_zeros(len(values))
