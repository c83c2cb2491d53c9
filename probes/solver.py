"""Many multinomial logistic regressions over the same rows at once, each with its own L-BFGS state.

All folds and penalties of a site share one matrix; a problem is a weight per row (0 = held out) and a penalty. Objective per
problem, as in scikit-learn with C = 1/penalty: Σᵢ wᵢ·nllᵢ + penalty/2·‖W‖², intercepts free, on features standardised by
the problem's own training rows. The standardisation is folded into the weights, so each evaluation is two matrix products.
L-BFGS with two-loop recursion and per-problem backtracking: Nocedal and Wright 2006, algorithm 7.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

MEMORY = 10


@dataclass(frozen=True)
class Solution:
    """Weights of P problems on raw features."""

    coef: np.ndarray
    """(P, d, k)."""
    intercept: np.ndarray
    """(P, k)."""
    iterations: int

    def logits(self, values: np.ndarray) -> np.ndarray:
        """(P, n, k) for values (n, d)."""
        return np.matmul(values, self.coef) + self.intercept[:, None]


def solve(
    values: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    penalties: np.ndarray,
    k: int,
    *,
    tolerance: float = 1e-3,
    iterations: int = 300,
) -> Solution:
    """Fit P problems.

    Args:
        values: (n, d) features, shared by all problems.
        targets: int (n,) or (P, n), classes 0 … k-1.
        weights: (P, n), non-negative; 0 holds a row out.
        penalties: (P,), positive.
        k: number of classes.
        tolerance: stop when the largest gradient component, per training row, is below it.
        iterations: at most.

    Returns:
        The solution.
    """
    x = torch.as_tensor(np.asarray(values), dtype=torch.float64)
    w = torch.as_tensor(weights, dtype=torch.float64)
    p, n, d = len(w), len(x), x.shape[1]
    shift = x.mean(0)
    x = x - shift  # a large common offset would cost the variance its digits
    count = w.sum(1, keepdim=True)
    mean = (w @ x) / count  # (P, d)
    spread = ((w @ x**2) / count - mean**2).clamp(min=0).sqrt()
    spread = torch.where(spread > 1e-9 * (1 + (mean + shift).abs()), spread, torch.ones_like(spread))
    y = torch.as_tensor(targets).expand(p, n)
    onehot = torch.nn.functional.one_hot(y.long(), k).double()  # (P, n, k)
    lam = torch.as_tensor(penalties, dtype=torch.float64)[:, None, None]

    def evaluate(theta: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (p,) and gradient (p, d + 1, k) of the kept problems, divided by their number of training rows."""
        wide = theta[:, :d] / spread[keep][:, :, None]
        bias = theta[:, d] - torch.einsum("pd,pdk->pk", mean[keep], wide)
        m = len(theta)
        logits = (x @ wide.permute(1, 0, 2).reshape(d, m * k)).view(n, m, k).permute(1, 0, 2) + bias[:, None]
        logp = torch.log_softmax(logits, 2)
        weight, hot, rows = w[keep], onehot[keep], count[keep]
        loss = -(weight * (logp * hot).sum(2)).sum(1) + 0.5 * lam[keep][:, 0, 0] * (theta[:, :d] ** 2).sum((1, 2))
        residual = weight[:, :, None] * (logp.exp() - hot)
        total = residual.sum(1)
        raw = (x.T @ residual.permute(1, 0, 2).reshape(n, m * k)).view(d, m, k).permute(1, 0, 2)
        slope = (raw - mean[keep][:, :, None] * total[:, None]) / spread[keep][:, :, None] + lam[keep] * theta[:, :d]
        return loss / rows[:, 0], torch.cat([slope, total[:, None]], 1) / rows[:, :, None]

    theta, used = _lbfgs(evaluate, p, (d + 1) * k, (d + 1, k), tolerance, iterations)
    coef = theta[:, :d] / spread[:, :, None]
    intercept = theta[:, d] - torch.einsum("pd,pdk->pk", mean + shift, coef)
    return Solution(coef.numpy(), intercept.numpy(), used)


def _lbfgs(
    evaluate: object, p: int, size: int, shape: tuple[int, int], tolerance: float, iterations: int
) -> tuple[torch.Tensor, int]:
    """Minimise P problems from zero; a problem that has converged is left alone."""
    theta = torch.zeros(p, size, dtype=torch.float64)
    everyone = torch.arange(p)

    def at(point: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, slope = evaluate(point.view(-1, *shape), keep)  # type: ignore[operator]
        return loss, slope.reshape(len(point), size)

    loss, slope = at(theta, everyone)
    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    active, used = everyone, 0
    while used < iterations and len(active):
        used += 1
        direction = _direction(slope[active], [(s[active], y[active], r[active]) for s, y, r in steps])
        slant = (direction * slope[active]).sum(1)
        uphill = slant >= 0
        direction = torch.where(uphill[:, None], -slope[active], direction)
        slant = torch.where(uphill, -(slope[active] ** 2).sum(1), slant)
        first = 1.0 if steps else 1.0 / max(1.0, float(slope[active].norm(dim=1).max()))
        new_theta, new_loss, new_slope = _search(at, theta, loss, slope, active, direction, slant, first)
        moved, bent = torch.zeros_like(theta), torch.zeros_like(slope)
        moved[active], bent[active] = new_theta - theta[active], new_slope - slope[active]
        curvature = (moved * bent).sum(1)
        inverse = torch.where(curvature > 1e-14, 1 / curvature.clamp(min=1e-14), torch.zeros_like(curvature))
        steps = [*steps[-MEMORY + 1 :], (moved, bent, inverse)]
        stuck = new_loss >= loss[active]
        theta[active], loss[active], slope[active] = new_theta, new_loss, new_slope
        active = active[(slope[active].abs().amax(1) > tolerance * 0.1) & ~stuck]
    return theta.view(p, *shape), used


def _direction(slope: torch.Tensor, steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The two-loop recursion, per problem."""
    q, alphas = slope.clone(), []
    for moved, bent, inverse in reversed(steps):
        alpha = inverse * (moved * q).sum(1)
        q = q - alpha[:, None] * bent
        alphas.append(alpha)
    if steps:
        moved, bent, inverse = steps[-1]
        scale = (moved * bent).sum(1) / (bent**2).sum(1).clamp(min=1e-30)
        q = torch.where((inverse > 0)[:, None], scale[:, None] * q, q)
    for (moved, bent, inverse), alpha in zip(steps, reversed(alphas), strict=True):
        beta = inverse * (bent * q).sum(1)
        q = q + (alpha - beta)[:, None] * moved
    return -q


def _search(
    at: object,
    theta: torch.Tensor,
    loss: torch.Tensor,
    slope: torch.Tensor,
    active: torch.Tensor,
    direction: torch.Tensor,
    slant: torch.Tensor,
    first: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Backtracking until each problem meets Armijo's condition; a problem that never does stays where it was."""
    length = torch.full_like(slant, first)
    best, best_loss, best_slope = theta[active].clone(), loss[active].clone(), slope[active].clone()
    open_ = torch.arange(len(active))
    for _ in range(25):
        trial = theta[active[open_]] + length[open_, None] * direction[open_]
        value, gradient = at(trial, active[open_])  # type: ignore[operator]
        good = value <= loss[active[open_]] + 1e-4 * length[open_] * slant[open_]
        chosen = open_[good]
        best[chosen], best_loss[chosen], best_slope[chosen] = trial[good], value[good], gradient[good]
        open_ = open_[~good]
        if not len(open_):
            break
        length[open_] *= 0.5
    return best, best_loss, best_slope
