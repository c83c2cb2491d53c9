"""L-BFGS for many problems of one shape at once, each with its own state and a preconditioner.

Two-loop recursion with the preconditioner as the initial inverse Hessian, and backtracking until Armijo's condition holds:
Nocedal and Wright 2006, algorithms 7.4 and 3.1. One joint L-BFGS over all problems would share a step length between them and
take as many iterations as the hardest; here a problem that has converged is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MEMORY = 10
HALVINGS = 25
Evaluate = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From points (m, …) and which problems they are of, int (m,), to losses (m,) and gradients (m, …), both float64."""
Precondition = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From gradients (m, …) and which problems they are of to directions of descent (m, …)."""
Settled = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From points (m, …) and their gradients to whether each is near enough to its minimum, bool (m,)."""
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""How far each problem moved, how its gradient changed, and the inverse of their product."""


def minimise(
    evaluate: Evaluate, precondition: Precondition, settled: Settled, start: torch.Tensor, iterations: int
) -> tuple[torch.Tensor, int]:
    """Minimise smooth convex problems.

    Args:
        evaluate: loss and gradient.
        precondition: an approximate inverse Hessian, symmetric and positive definite.
        settled: which problems are left alone.
        start: (problems, …).
        iterations: at most.

    Returns:
        The points, and how often ``evaluate`` was called.
    """
    theta, everyone, steps = start.clone(), torch.arange(len(start), device=start.device), list[Step]()
    loss, slope = evaluate(theta, everyone)
    active, calls = everyone[~settled(theta, slope)], 1
    for _ in range(iterations):
        if not len(active):
            break
        direction = -_turned(slope[active], [tuple(part[active] for part in step) for step in steps], precondition, active)
        slant = _dot(direction, slope[active])
        uphill = slant >= 0
        if uphill.any():
            direction = torch.where(_wide(uphill, direction), -precondition(slope[active], active), direction)
            slant = _dot(direction, slope[active])
        new, new_loss, new_slope, tried = _search(evaluate, theta, loss, slope, active, direction, slant)
        moved, bent = torch.zeros_like(theta), torch.zeros_like(slope)
        moved[active], bent[active] = new - theta[active], new_slope - slope[active]
        curvature = _dot(moved, bent)
        inverse = torch.where(curvature > 0, 1 / curvature.clamp(min=1e-300), torch.zeros_like(curvature))
        steps = [*steps[-MEMORY + 1 :], (moved, bent, inverse)]
        stuck = new_loss >= loss[active]
        theta[active], loss[active], slope[active] = new, new_loss, new_slope
        active, calls = active[~settled(new, new_slope) & ~stuck], calls + tried
    return theta, calls


def _turned(slope: torch.Tensor, steps: list, precondition: Precondition, active: torch.Tensor) -> torch.Tensor:
    """The two-loop recursion, per problem."""
    q, alphas = slope.clone(), []
    for moved, bent, inverse in reversed(steps):
        alpha = inverse * _dot(moved, q)
        q -= _wide(alpha, q) * bent
        alphas.append(alpha)
    q = precondition(q, active)
    for (moved, bent, inverse), alpha in zip(steps, reversed(alphas), strict=True):
        q += _wide(alpha - inverse * _dot(bent, q), q) * moved
    return q


def _search(
    evaluate: Evaluate,
    theta: torch.Tensor,
    loss: torch.Tensor,
    slope: torch.Tensor,
    active: torch.Tensor,
    direction: torch.Tensor,
    slant: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Halve each problem's step until its loss falls enough; a problem whose never does stays where it was."""
    best, best_loss, best_slope = theta[active].clone(), loss[active].clone(), slope[active].clone()
    length, left, tried = torch.ones_like(slant), torch.arange(len(active), device=active.device), 0
    while len(left) and tried < HALVINGS:
        own = active[left]
        trial = theta[own] + _wide(length[left], theta) * direction[left]
        value, gradient = evaluate(trial, own)
        good = value <= loss[own] + 1e-4 * length[left] * slant[left]
        done = left[good]
        best[done], best_loss[done], best_slope[done] = trial[good], value[good], gradient[good]
        left, tried = left[~good], tried + 1
        length[left] *= 0.5
    return best, best_loss, best_slope, tried


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product per problem."""
    return (a * b).flatten(1).sum(1)


def _wide(per_problem: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return per_problem.view(-1, *[1] * (like.ndim - 1))
