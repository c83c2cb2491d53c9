"""The proportional-odds probe against published estimates, logistic regression and finite differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.ordinal import _objective, fit, fit_predict
from probes.splits import grouped_folds
from stimuli.errors import InputError

CHEESE = np.array([[0, 0, 1, 7, 8, 8, 19, 8, 1], [6, 9, 12, 11, 7, 6, 1, 0, 0],
                   [1, 1, 6, 8, 23, 7, 5, 1, 0], [0, 0, 0, 1, 3, 7, 14, 16, 11]])  # fmt: skip
"""Tasters' ratings, 1 to 9, of four cheeses (McCullagh and Nelder 1989, table 5.1)."""
CUTS = (-7.0801, -6.0249, -4.9254, -3.8568, -2.5205, -1.5685, -0.0669, 1.4930)
EFFECTS = (1.6128, 4.9645, 3.3227)
"""Their fit, against the fourth cheese, of the model with the odds' sign as here."""
GROUPS = np.repeat([f"r{i}" for i in range(30)], 4)


def ladder(seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Four uneven levels along one direction of eight features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(120, 8)) * 3 + 10
    latent = (x[:, 0] - 10) + (x[:, 1] - 10) + noise * rng.logistic(size=120)
    return x, np.array([0.0, 1.0, 3.0, 5.0])[np.searchsorted([-4.0, 0.0, 1.5], latent)]


def test_the_published_fit_of_the_cheese_tasting() -> None:
    cheese, rating = (np.repeat(axis.ravel(), CHEESE.ravel()) for axis in np.indices(CHEESE.shape))
    x = np.eye(4)[cheese][:, :3]
    probe = fit(x, rating + 1, np.full(len(x), "one"), penalties=[1e-9])
    np.testing.assert_allclose(probe.thresholds, CUTS, atol=2e-3)
    np.testing.assert_allclose(-probe.coef, EFFECTS, atol=2e-3)


def test_with_two_levels_it_is_logistic_regression() -> None:
    x, y = ladder()
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=1 / 7.0, tol=1e-8).fit(scaler.transform(x), y > 1)
    ours = fit(x, y > 1, GROUPS, penalties=[7.0])
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(scaler.transform(x)), atol=1e-5)


def test_the_gradient_is_that_of_the_objective_also_where_rows_are_far_out() -> None:
    x, y = ladder()
    z, place = StandardScaler().fit_transform(x), np.unique(y, return_inverse=True)[1]
    for scale in (0.5, 20.0):
        at = np.random.default_rng(1).normal(size=11) * scale
        at[-2:] /= scale
        slope = _objective(at, z, place, 3.0)[1]
        off = check_grad(lambda t: _objective(t, z, place, 3.0)[0], lambda t: _objective(t, z, place, 3.0)[1], at)
        assert off < 1e-5 * np.linalg.norm(slope)


def test_levels_are_ordered_and_their_unit_does_not_count() -> None:
    x, y = ladder(noise=0.3)
    probe = fit(x, y, GROUPS, penalties=[1.0])
    assert (np.diff(probe.thresholds) > 0).all() and list(probe.levels) == [0, 1, 3, 5]
    other = fit(x, y**3, GROUPS, penalties=[1.0])
    np.testing.assert_allclose(other.coef, probe.coef)
    assert np.allclose(probe.probabilities(x).sum(1), 1) and (probe.probabilities(x) >= 0).all()


def test_out_of_fold_levels_follow_what_was_planted_and_not_the_held_out_labels() -> None:
    x, y = ladder(noise=0.3)
    folds = grouped_folds(y.astype(str), GROUPS, 3, 0)
    found = fit_predict(x, y, GROUPS, folds)
    assert np.mean(found.predicted == y) > 0.75
    assert np.corrcoef(found.expected, y)[0, 1] > 0.9
    held, changed = folds[0][1], y.copy()
    changed[held] = 0.0
    again = fit_predict(x, changed, GROUPS, folds, penalties=[10.0]).probabilities[held]
    np.testing.assert_array_equal(again, fit_predict(x, y, GROUPS, folds, penalties=[10.0]).probabilities[held])


def test_a_level_that_training_lacks_gets_no_probability() -> None:
    x, y = ladder()
    y[GROUPS == "r0"] = 9.0
    train, test = np.flatnonzero(GROUPS != "r0"), np.flatnonzero(GROUPS == "r0")
    found = fit_predict(x, y, GROUPS, [(train, test)], penalties=[1.0])
    assert (found.probabilities[test, -1] == 0).all() and np.allclose(found.probabilities[test].sum(1), 1)


def test_the_penalty_is_chosen_by_inner_log_loss() -> None:
    x, y = ladder(noise=0.3)
    assert fit(x, y, GROUPS, penalties=[1.0, 1e6]).penalty == 1.0
    assert fit(np.random.default_rng(0).normal(size=(120, 60)), y, GROUPS, penalties=[1e-3, 1e6]).penalty == 1e6


def test_what_cannot_be_fitted_is_refused() -> None:
    x, y = ladder()
    with pytest.raises(InputError, match="the single level 2; expected two or more"):
        fit(x, np.full(120, 2), GROUPS)
    with pytest.raises(InputError, match="NaN or infinity"):
        fit(np.where(x > 12, np.inf, x), y, GROUPS)
