"""Many quadratics and one valley at once, each with its own state."""

import torch

from probes.lbfgs import minimise


def quadratics(conditions: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Curvatures (problems, 6) and minima."""
    curvature = torch.stack([torch.logspace(0, c, 6, dtype=torch.float64) for c in conditions])
    return curvature, torch.randn(len(conditions), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def solved(conditions: list[float], exact: bool) -> tuple[torch.Tensor, torch.Tensor, int, list[int]]:
    curvature, minimum = quadratics(conditions)
    sizes: list[int] = []

    def evaluate(x: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(keep))
        away = x - minimum[keep]
        return 0.5 * (curvature[keep] * away**2).sum(1), curvature[keep] * away

    found, calls = minimise(
        evaluate,
        lambda slope, keep: slope / (curvature[keep] if exact else curvature[keep].amax(1, keepdim=True)),
        lambda x, slope, step: slope.abs().amax(1) < 1e-9,
        torch.zeros_like(minimum),
        500,
    )
    return found, minimum, calls, sizes


def test_all_minima_are_found_whatever_their_condition() -> None:
    found, minimum, calls, sizes = solved([0.0, 2.0, 5.0], exact=False)
    torch.testing.assert_close(found, minimum, atol=1e-6, rtol=0)
    assert calls == len(sizes)
    assert sizes[0] == 3 and sizes[-1] == 1, "what has converged is left alone"


def test_the_inverse_hessian_as_preconditioner_is_newtons_step() -> None:
    found, minimum, calls, _ = solved([0.0, 2.0, 5.0], exact=True)
    torch.testing.assert_close(found, minimum, atol=1e-9, rtol=0)
    assert calls == 2


def test_a_better_preconditioner_needs_fewer_evaluations() -> None:
    assert solved([4.0], exact=True)[2] < solved([4.0], exact=False)[2]


def test_steps_that_overshoot_are_halved() -> None:
    def evaluate(x: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.log(torch.cosh(x)).sum(1), torch.tanh(x)

    found, _ = minimise(
        evaluate,
        lambda slope, keep: 1000 * slope,
        lambda x, slope, step: slope.abs().amax(1) < 1e-8,
        torch.tensor([[3.0], [-2.0]], dtype=torch.float64),
        100,
    )
    assert found.abs().max() < 1e-7


def test_who_starts_at_the_minimum_stays() -> None:
    _, minimum = quadratics([1.0])
    found, calls = minimise(
        lambda x, keep: (((x - minimum) ** 2).sum(1), 2 * (x - minimum)),
        lambda slope, keep: slope,
        lambda x, slope, step: slope.abs().amax(1) < 1e-9,
        minimum,
        10,
    )
    assert torch.equal(found, minimum) and calls == 1
