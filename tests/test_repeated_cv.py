"""Repeated cross-validation: published formula, agreement with a library where both apply, level and power by simulation."""

import numpy as np
import pytest
from scipy import stats

from probes.intervals import Interval
from probes.repeated import corrected_difference, corrected_interval, repeated_scores, split_sizes
from probes.splits import repeated_folds
from stimuli.errors import InputError

SCORES = np.random.default_rng(0).normal(0.7, 0.05, (5, 5))


def test_interval_is_that_of_the_published_formula() -> None:
    found = corrected_interval(SCORES, 64, 16)
    low, high = stats.t.interval(0.95, 24, SCORES.mean(), np.sqrt(SCORES.var(ddof=1) * (1 / 25 + 16 / 64)))
    assert (found.value, found.low, found.high) == pytest.approx((SCORES.mean(), low, high))
    assert corrected_interval(SCORES.ravel(), 640, 160) == found, "shape and unit do not matter"
    assert corrected_interval(SCORES, 64, 16, 0.5).high < found.high


def test_without_shared_training_rows_it_is_the_plain_t_interval_and_test() -> None:
    other = SCORES + np.random.default_rng(1).normal(0.01, 0.05, SCORES.shape)
    plain = stats.ttest_rel(other.ravel(), SCORES.ravel())
    found = corrected_difference(SCORES, other, 1e12, 1)
    band = plain.confidence_interval()
    assert (found.p, found.low, found.high) == pytest.approx((plain.pvalue, band.low, band.high))
    assert corrected_difference(SCORES, other, 64, 16).p > found.p


def test_difference_is_symmetric_and_nothing_is_not_significant() -> None:
    other = SCORES + np.random.default_rng(1).normal(0.05, 0.02, SCORES.shape)
    there, back = corrected_difference(SCORES, other, 4, 1), corrected_difference(other, SCORES, 4, 1)
    assert (there.value, there.low, there.high, there.p) == pytest.approx((-back.value, -back.high, -back.low, back.p))
    assert there.p < 0.05
    same = corrected_difference(SCORES, SCORES, 4, 1)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    steady = corrected_difference(np.zeros(4), np.ones(4), 4, 1)
    assert (steady.value, steady.p) == (1, 0)


def test_correction_keeps_the_level_where_scores_share_training_sets() -> None:
    """Scores of correlation 1/5, as the correction assumes: the plain t-test rejects far too often, the corrected one at 5 %."""
    rng = np.random.default_rng(2)
    shared, own = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 25))
    scores = np.sqrt(0.2) * shared + np.sqrt(0.8) * own
    corrected = np.mean([corrected_difference(np.zeros(25), row, 4, 1).p <= 0.05 for row in scores])
    plain = np.mean(stats.ttest_1samp(scores, 0, axis=1).pvalue <= 0.05)
    assert 0.035 < corrected < 0.065
    assert plain > 0.3


def made(signal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels, groups = np.tile(list("abc"), 20), np.repeat(np.arange(20), 3)
    return signal * rng.normal(size=(3, 8))[np.tile(range(3), 20)] + rng.normal(size=(60, 8)), labels, groups


def test_scores_are_balanced_accuracies_per_fold_and_sizes_count_references() -> None:
    from sklearn.metrics import balanced_accuracy_score

    from probes.linear import fit_predict

    values, labels, groups = made(1.0)
    keep = np.arange(60) % 7 != 0
    values, labels, groups = values[keep], labels[keep], groups[keep]
    repeats = repeated_folds(labels, groups, 4, 2, 0)
    scores = repeated_scores(values, labels, groups, repeats, penalties=(1.0,))
    assert scores.shape == (2, 4)
    predicted = fit_predict(values, labels, groups, repeats[1], penalties=(1.0,)).predicted
    expected = [balanced_accuracy_score(labels[test], predicted[test]) for _, test in repeats[1]]
    assert scores[1] == pytest.approx(expected)
    assert split_sizes(repeats, groups) == (15, 5)
    found = corrected_interval(scores, *split_sizes(repeats, groups))
    assert isinstance(found, Interval) and found.low > 1 / 3, "there is something to find"


@pytest.mark.parametrize(
    ("scores", "sizes", "said"),
    [
        ([0.5], (4, 1), "Got 1 scores of folds, 1 of them finite. Expected at least 2"),
        ([0.5, np.nan, 0.7], (4, 1), "Got 3 scores of folds, 2 of them finite"),
        ([0.5, 0.6], (0, 1), r"Got the sizes 0 \(training\) and 1 \(test\). Expected positive ones"),
        ([0.5, 0.6], (4, float("nan")), "Expected positive ones. Use split_sizes"),
    ],
)
def test_bad_scores_and_sizes_are_refused(scores: list[float], sizes: tuple[float, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        corrected_interval(scores, *sizes)


def test_other_shapes_levels_and_ragged_repeats_are_refused() -> None:
    with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\). Expected the same folds for both"):
        corrected_difference([1, 2], [1, 2, 3], 4, 1)
    with pytest.raises(InputError, match="Got the level 95. Expected a share between 0 and 1"):
        corrected_interval(SCORES, 4, 1, 95)
    values, labels, groups = made(0)
    ragged = [*repeated_folds(labels, groups, 3, 1), *repeated_folds(labels, groups, 4, 1)]
    with pytest.raises(InputError, match=r"Got repeats of \[3, 4\] folds. Expected the same number"):
        repeated_scores(values, labels, groups, ragged)
