"""Many logistic regressions at once, against scikit-learn's one at a time."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.solver import Solution, solve


def problem(n: int, d: int, k: int, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of unlike scales, classes, and weights that hold 30 % of the rows out of each of four problems."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = (rng.normal(size=(n, d)) * 2 + rng.normal(size=(k, d))[y] * 0.6) * rng.uniform(0.1, 30, d) + offset
    return x, y, (rng.random((4, n)) < 0.7).astype(float)


def against_sklearn(x: np.ndarray, y: np.ndarray, train: np.ndarray, penalty: float, own: Solution, p: int) -> None:
    mean, spread = x[train].mean(0), x[train].std(0)
    z = (x - mean) / spread
    other = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=5000).fit(z[train], y[train])
    ours, theirs = own.coef[p].T * spread[:, None].T, other.coef_
    if len(theirs) == 1:  # two classes: scikit-learn keeps one vector, the difference of ours
        ours, theirs = ours[1:] - ours[:1], theirs
    else:
        ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)
    assert np.mean(own.logits(x)[p].argmax(1) == other.predict(z)) >= 0.999


@pytest.mark.parametrize(("n", "d", "k", "offset"), [(300, 40, 5, 0.0), (120, 200, 4, 5.0), (300, 30, 3, 1e5)])
def test_coefficients_and_predictions_agree_with_scikit_learn(n: int, d: int, k: int, offset: float) -> None:
    x, y, weights = problem(n, d, k, offset)
    penalties = np.array([1.0, 10, 100, 1000])
    own = solve(x, y, weights, penalties, k, tolerance=1e-7, iterations=2000)
    for p, penalty in enumerate(penalties):
        against_sklearn(x, y, weights[p] > 0, penalty, own, p)


def test_the_working_tolerance_predicts_what_the_tight_one_does() -> None:
    x, y, weights = problem(400, 60, 6, 3.0)
    penalties = np.array([1.0, 10, 100, 1000])
    quick, tight = (solve(x, y, weights, penalties, 6, tolerance=t, iterations=2000) for t in (1e-4, 1e-8))
    assert np.mean(quick.logits(x).argmax(2) == tight.logits(x).argmax(2)) > 0.995
    assert quick.evaluations < tight.evaluations


def test_the_gradient_is_zero_at_the_solution() -> None:
    x, y, weights = problem(200, 20, 3, 0.0)
    own = solve(x, y, weights[:1], np.array([10.0]), 3, tolerance=1e-9, iterations=2000)
    logits = own.logits(x)[0]
    p = np.exp(logits - logits.max(1, keepdims=True))
    residual = weights[0][:, None] * (p / p.sum(1, keepdims=True) - np.eye(3)[y])
    train = weights[0] > 0
    z = (x - x[train].mean(0)) / x[train].std(0)
    gradient = z.T @ residual + 10 * own.coef[0] * x[train].std(0)[:, None]
    assert np.abs(gradient).max() < 1e-5
    assert np.abs(residual.sum(0)).max() < 1e-5


def test_problems_do_not_disturb_each_other() -> None:
    x, y, weights = problem(200, 20, 4, 0.0)
    penalties = np.array([1.0, 10, 100, 1000])
    together = solve(x, y, weights, penalties, 4, tolerance=1e-7, iterations=2000)
    for p in range(4):
        alone = solve(x, y, weights[p : p + 1], penalties[p : p + 1], 4, tolerance=1e-7, iterations=2000)
        np.testing.assert_allclose(together.coef[p], alone.coef[0], atol=1e-4 * np.abs(alone.coef).max())


def test_held_out_rows_do_not_count() -> None:
    x, y, weights = problem(200, 20, 4, 0.0)
    spoilt = np.where(weights[0][:, None] > 0, x, 1e3)
    a, b = (solve(v, y, weights[:1], np.array([10.0]), 4, tolerance=1e-7, iterations=2000) for v in (x, spoilt))
    np.testing.assert_allclose(a.coef, b.coef, atol=1e-4 * np.abs(a.coef).max())


@pytest.mark.parametrize("constant", [0.0, 1.0, 1234.567])
def test_a_feature_that_never_changes_in_training_says_nothing(constant: float) -> None:
    x, y, weights = problem(200, 20, 4, 0.0)
    x[:, 0] = constant
    own = solve(x, y, weights[:1], np.array([10.0]), 4)
    assert np.abs(own.coef[0, 0]).max() < 1e-6


def test_labels_may_differ_between_problems() -> None:
    x, y, weights = problem(200, 20, 4, 0.0)
    other = np.roll(y, 1)
    both = solve(x, np.stack([y, other]), weights[[0, 0]], np.array([10.0, 10.0]), 4, tolerance=1e-7)
    alone = solve(x, other, weights[:1], np.array([10.0]), 4, tolerance=1e-7)
    np.testing.assert_allclose(both.coef[1], alone.coef[0], atol=1e-4 * np.abs(alone.coef).max())


def test_few_rows_in_many_dimensions_are_solved_in_their_own_coordinates() -> None:
    """The dual, and the primal by a tall copy of the same rows whose second half is held out."""
    from probes.designs import Own
    from probes.solver import Problems

    x, y, weights = problem(60, 900, 4, 2.0)
    dual = Problems(x, y, weights, 4, tolerance=1e-7, iterations=2000, penalties=2)
    assert isinstance(dual._design, Own)
    found = dual.solve(30.0)
    solution = dual.solution(found)
    for p in range(4):
        against_sklearn(x, y, weights[p] > 0, 30.0, solution, p)
    np.testing.assert_allclose(found.logits, solution.logits(x), atol=1e-6)


def test_the_path_ends_where_each_penalty_ends_alone() -> None:
    from probes.solver import Problems, path

    x, y, weights = problem(200, 20, 4, 0.0)
    problems = Problems(x, y, weights, 4, tolerance=1e-8, iterations=2000, penalties=3)
    for found in path(problems, (1.0, 100.0, 10.0)):
        alone = solve(x, y, weights, np.full(4, found.penalty), 4, tolerance=1e-8, iterations=2000)
        np.testing.assert_allclose(problems.solution(found).coef, alone.coef, atol=1e-5 * np.abs(alone.coef).max())


def test_classes_that_can_be_separated_are_solved_to_the_optimum_at_the_working_tolerance() -> None:
    """There gradients are small far from the optimum; a criterion on them alone gave other predictions."""
    x, y, weights = problem(300, 150, 5, 0.0)
    quick, tight = (solve(x, y, weights, np.full(4, 1.0), 5, tolerance=t, iterations=5000) for t in (1e-4, 1e-9))
    assert np.linalg.norm(quick.coef - tight.coef) < 2e-3 * np.linalg.norm(tight.coef)
