"""Weighted statistics against the plain ones on rows that are really repeated."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import r2_score, roc_auc_score, root_mean_squared_error

from probes import weighted
from probes.intervals import group_counts, resampled_rows, resamples

RNG = np.random.default_rng(0)
GROUPS = np.repeat([f"r{i}" for i in range(9)], 5)
TRUE = RNG.integers(0, 6, 45).astype(float)
FOUND = np.round(TRUE + RNG.normal(0, 2, 45), 0)  # many ties
PAIRS = [
    (weighted.spearman, TRUE, lambda x, y: spearmanr(x, y)[0]),
    (weighted.pearson, TRUE, lambda x, y: pearsonr(x, y)[0]),
    (weighted.rmse, TRUE, lambda x, y: root_mean_squared_error(y, x)),
    (weighted.r2, TRUE, lambda x, y: r2_score(y, x)),
    (weighted.auc, TRUE > 2, lambda x, y: roc_auc_score(y, x)),
]


@pytest.mark.parametrize(("ours", "truth", "theirs"), PAIRS)
def test_equal_to_the_library_on_repeated_rows(
    ours: weighted.Statistic, truth: np.ndarray, theirs: Callable[[Any, Any], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted, "BLOCK", 45 * 7)  # 20 resamples in three blocks
    number, count = group_counts(GROUPS)
    found = ours(FOUND, truth, number, resamples(count, 20, 0))
    expected = [theirs(FOUND[rows], truth[rows]) for rows in resampled_rows(GROUPS, 20, 0)]
    assert np.allclose(found, expected, atol=1e-12)


def test_what_is_not_defined_is_nan() -> None:
    number, one = np.array([0, 0, 1, 1]), np.array([[1.0, 0.0]])
    x, constant = np.arange(4.0), np.array([2.0, 2.0, 1.0, 3.0])
    for statistic in (weighted.spearman, weighted.pearson, weighted.r2):
        assert np.isnan(statistic(x, constant, number, one)).all()
        assert np.isfinite(statistic(x, constant, number, np.ones((1, 2)))).all()
    assert np.isnan(weighted.auc(x, np.array([True, True, False, False]), number, one)).all()
    assert np.isnan(weighted.spearman(x, x, number, np.array([[0.0, 0.0]]))).all()
