"""L-BFGS for many problems of one shape at once, each with its own state and a preconditioner.

Two-loop recursion with the preconditioner as the initial inverse Hessian, and backtracking until Armijo's condition holds:
Nocedal and Wright 2006, algorithms 7.4 and 3.1. One joint L-BFGS over all problems would share a step length between them and
take as many iterations as the hardest; here a problem that has converged is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

MEMORY = 10
HALVINGS = 25
NOISE = 1e-7
"""Relative: changes of a loss this small are not told from rounding, and the slope decides (Hager and Zhang 2005)."""
TINY = 1e-30
Evaluate = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From points (m, …) and which problems they are of, int (m,), to losses (m,), float64, and gradients (m, …)."""
Precondition = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From gradients (m, …) and which problems they are of to directions of descent (m, …)."""
Settled = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From points (m, …), their gradients and the quasi-Newton steps from there to whether each is near enough, bool (m,)."""
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""How far each problem moved, how its gradient changed, and the inverse of their product."""


@dataclass(frozen=True)
class _State:
    """The problems that have not settled."""

    keep: torch.Tensor
    theta: torch.Tensor
    loss: torch.Tensor
    slope: torch.Tensor
    steps: list[Step]

    def only(self, left: torch.Tensor) -> _State:
        """Some of them."""
        if left.all():
            return self
        steps = [(moved[left], bent[left], inverse[left]) for moved, bent, inverse in self.steps]
        return _State(self.keep[left], self.theta[left], self.loss[left], self.slope[left], steps)


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
    found, everyone = start.clone(), torch.arange(len(start), device=start.device)
    loss, slope = evaluate(start, everyone)
    now, calls = _State(everyone, start, loss, slope, []), 1
    for _ in range(iterations):
        direction = -_turned(now, precondition)
        left = ~settled(now.theta, now.slope, direction)
        now, direction = now.only(left), direction[left]
        if not len(now.keep):
            break
        theta, loss, slope, better, tried = _search(evaluate, now, direction)
        moved, bent = theta - now.theta, slope - now.slope
        curvature = _dot(moved, bent)
        inverse = torch.where(curvature > TINY, 1 / curvature.clamp(min=TINY), torch.zeros_like(curvature))
        steps = [*now.steps[-MEMORY + 1 :], (moved, bent, inverse)]
        found[now.keep] = theta
        now = _State(now.keep, theta, loss, slope, steps).only(better)
        calls += tried
    return found, calls


def _turned(now: _State, precondition: Precondition) -> torch.Tensor:
    """The gradient times the inverse Hessian of the two-loop recursion, per problem."""
    q, alphas = now.slope.clone(), []
    for moved, bent, inverse in reversed(now.steps):
        alpha = inverse * _dot(moved, q)
        q.sub_(_wide(alpha, q) * bent)
        alphas.append(alpha)
    q = precondition(q, now.keep)
    for (moved, bent, inverse), alpha in zip(now.steps, reversed(alphas), strict=True):
        q.add_(_wide(alpha - inverse * _dot(bent, q), q) * moved)
    uphill = _dot(q, now.slope) <= 0
    return torch.where(_wide(uphill, q), precondition(now.slope, now.keep), q) if uphill.any() else q


def _search(
    evaluate: Evaluate, now: _State, direction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Halve each problem's step until its loss falls enough; one whose never does stays where it was, and is told by False."""
    slant = _dot(direction, now.slope)
    length = torch.ones_like(slant)
    theta, keep = now.theta + direction, now.keep
    loss, slope = evaluate(theta, keep)
    good, tried = _falls(now.loss, slant, length, loss, _dot(direction, slope)), 1
    while not good.all() and tried < HALVINGS:
        bad = torch.nonzero(~good)[:, 0]
        length[bad] *= 0.5
        theta[bad] = now.theta[bad] + _wide(length[bad], theta) * direction[bad]
        loss[bad], slope[bad] = evaluate(theta[bad], keep[bad])
        good[bad] = _falls(now.loss[bad], slant[bad], length[bad], loss[bad], _dot(direction[bad], slope[bad]))
        tried += 1
    for new, old in ((theta, now.theta), (loss, now.loss), (slope, now.slope)):
        new[~good] = old[~good]
    return theta, loss, slope, good, tried


def _falls(
    before: torch.Tensor, slant: torch.Tensor, length: torch.Tensor, after: torch.Tensor, new_slant: torch.Tensor
) -> torch.Tensor:
    """Armijo's condition, or a loss that is the same up to rounding and a flatter slope."""
    enough = after <= before + 1e-4 * length * slant
    return enough | ((after <= before + NOISE * (1 + before.abs())) & (new_slant.abs() <= 0.9 * slant.abs()))


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product per problem."""
    return (a * b).flatten(1).sum(1)


def _wide(per_problem: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return per_problem.view(-1, *[1] * (like.ndim - 1))
