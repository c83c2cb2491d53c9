"""Ridge regression against scikit-learn's, and the closed form of leaving references out against leaving them out."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.preprocessing import StandardScaler

from probes.ridge import PENALTIES, fit, fit_predict, left_out_errors
from probes.splits import grouped_folds
from stimuli.errors import InputError

GROUPS = np.repeat([f"r{i}" for i in range(10)], 4)
SHAPES = (6, 90)


def data(d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features far from zero, one of them constant, and two targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, d)) @ rng.normal(size=(d, d)) + 50
    x[:, 1] = 3.0
    return x, np.stack([x[:, 0] + rng.normal(size=40), rng.normal(size=40) + 7], 1)


@pytest.mark.parametrize("d", SHAPES)
@pytest.mark.parametrize("penalty", [0.3, 10.0, 1e4])
def test_equal_to_scikit_learn_in_the_primal_and_in_the_dual(d: int, penalty: float) -> None:
    x, y = data(d)
    scaler = StandardScaler().fit(x)
    theirs = Ridge(alpha=penalty, solver="svd").fit(scaler.transform(x), y)
    ours = fit(x, y, GROUPS, penalties=[penalty])
    other, _ = data(d, seed=1)
    np.testing.assert_allclose(ours.coef * scaler.scale_[:, None], theirs.coef_.T, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.predict(other), theirs.predict(scaler.transform(other)), rtol=1e-8)


@pytest.mark.parametrize("d", SHAPES)
def test_the_closed_form_is_the_error_of_leaving_each_reference_out(d: int) -> None:
    x, y = data(d)
    z = StandardScaler().fit_transform(x)
    expected = np.zeros((2, 2))
    for row, penalty in enumerate((3.0, 300.0)):
        for train, test in LeaveOneGroupOut().split(z, y, GROUPS):
            expected[row] += ((Ridge(alpha=penalty).fit(z[train], y[train]).predict(z[test]) - y[test]) ** 2).sum(0)
    np.testing.assert_allclose(left_out_errors(x, y, GROUPS, (3.0, 300.0)), expected / 40, rtol=1e-8)


def test_each_target_chooses_the_penalty_of_least_error() -> None:
    x, y = data(6)
    chosen = fit(x, y, GROUPS).penalties
    assert list(chosen) == [PENALTIES[i] for i in left_out_errors(x, y, GROUPS).argmin(0)]
    assert chosen[0] < chosen[1]  # the first can be read, the second is noise
    assert fit(x, y[:, 0], np.full(40, "one")).penalties == PENALTIES[len(PENALTIES) // 2]


def test_out_of_fold_predictions_never_saw_their_reference() -> None:
    x, y = data(6)
    folds = grouped_folds(np.full(40, "a"), GROUPS, 5, 0)
    whole = fit_predict(x, y[:, 0], GROUPS, folds)
    assert whole.predicted.shape == (40,) and whole.penalties.shape == (5,)
    held = folds[2][1]
    changed = y[:, 0].copy()
    changed[held] += 1000
    again = fit_predict(x, changed, GROUPS, folds).predicted
    np.testing.assert_array_equal(again[held], whole.predicted[held])
    assert not np.allclose(np.delete(again, held), np.delete(whole.predicted, held))
    both = fit_predict(x, y, GROUPS, folds)
    np.testing.assert_allclose(both.predicted[:, 0], whole.predicted)
    assert both.penalties.shape == (5, 2)


def test_what_cannot_be_fitted_is_refused() -> None:
    x, y = data(6)
    with pytest.raises(InputError, match="40 rows and 39 numbers; expected one number per row"):
        fit(x, y[1:], GROUPS)
    with pytest.raises(InputError, match="NaN or infinity"):
        fit(x, np.where(y > 7, np.nan, y), GROUPS)
    with pytest.raises(InputError, match="each above zero"):
        fit_predict(x, y, GROUPS, [], penalties=[1.0, 0.0])
