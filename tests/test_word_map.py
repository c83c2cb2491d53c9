"""The ridge map: agreement with scikit-learn, cross-fitting, and what labels can and cannot do."""

import numpy as np
import pytest

from analysis.word_map import DIRECTIONS, chosen_penalty, mapped, predicted
from probes.splits import grouped_folds
from stimuli.errors import InputError


@pytest.mark.parametrize("d", [5, 60])
def test_it_is_the_ridge_regression_of_scikit_learn_in_both_forms(d: int) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x, y, new = 3 * rng.normal(size=(30, d)) + 2, rng.normal(size=(30, 4)), rng.normal(size=(7, d))
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(x, y).predict(new)
    assert np.allclose(predicted(x, y, 10.0, new), theirs)


def design(n_refs: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups = np.repeat([f"r{i}" for i in range(n_refs)], 4)
    labels = np.tile(["a", "b", "c", "d"], n_refs)
    return np.random.default_rng(1).normal(size=(len(groups), 12)), groups, labels


def test_a_linear_target_is_found_on_references_that_were_held_out() -> None:
    x, groups, labels = design()
    target = x @ np.random.default_rng(2).normal(size=(12, 100)) + 4
    found = mapped(x, target, groups, grouped_folds(labels, groups), penalties=(1e-3, 1.0, 1e3))
    assert ((found - target) ** 2).mean() < 1e-3 * target.var()


def test_no_row_is_mapped_by_a_fit_that_saw_its_reference() -> None:
    x, groups, labels = design()
    folds = grouped_folds(labels, groups)
    target = np.random.default_rng(3).normal(size=(len(x), 3))
    before = mapped(x, target, groups, folds)
    changed = target.copy()
    changed[folds[0][1]] += 100
    assert np.array_equal(mapped(x, changed, groups, folds)[folds[0][1]], before[folds[0][1]])


def test_the_penalty_chosen_on_random_directions_is_that_of_all() -> None:
    rng = np.random.default_rng(4)
    x, groups, _ = design()
    y = x[:, :1] @ rng.normal(size=(1, 4 * DIRECTIONS)) + 3 * rng.normal(size=(len(x), 4 * DIRECTIONS))
    from probes.ridge import left_out_errors

    penalties = (1.0, 100.0, 1e4)
    assert chosen_penalty(x, y, groups, penalties, 0) == penalties[left_out_errors(x, y, groups, penalties).sum(1).argmin()]


def test_rows_that_do_not_fit_are_refused() -> None:
    x, groups, labels = design()
    folds = grouped_folds(labels, groups)
    with pytest.raises(InputError, match="every row tested once"):
        mapped(x, x, groups, folds[:-1])
    with pytest.raises(InputError, match="one target per row"):
        mapped(x, x[1:], groups, folds)
