"""Scores out of comparisons: against scikit-learn, finite without defeats; ranks within parts against scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from analysis.bradley_terry import PRIOR, bradley_terry, part_correlation


def league(
    images: int = 12, comparisons: int = 400, pull: float = 0.8
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First, second, wins of the first, and the scores that made them."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=images)
    first = rng.integers(0, images, comparisons)
    second = (first + rng.integers(1, images, comparisons)) % images
    wins = rng.random(comparisons) < 1 / (1 + np.exp(-(true[first] - true[second] + pull)))
    return first, second, wins.astype(float), true


def test_scores_are_those_of_a_penalised_logistic_regression() -> None:
    first, second, wins, _ = league()
    rows, design = np.arange(len(first)), np.zeros((len(first), 13))
    design[rows, first], design[rows, second], design[:, 12] = 1, -1, 1
    theirs = LogisticRegression(C=PRIOR**2, fit_intercept=False, tol=1e-9, max_iter=10_000).fit(design, wins).coef_[0]
    scores, pull = bradley_terry(first, second, wins, 12)
    assert np.append(scores, pull) == pytest.approx(theirs, abs=1e-4)


def test_made_up_scores_and_pull_are_found() -> None:
    first, second, wins, true = league(comparisons=40_000)
    scores, pull = bradley_terry(first, second, wins, 12)
    assert scores - scores.mean() == pytest.approx(true - true.mean(), abs=0.15)
    assert pull == pytest.approx(0.8, abs=0.05)


def test_two_images_by_hand() -> None:
    """Two wins in both orders: the slope of the posterior is 0 where 2 σ(−2x) = x / PRIOR²."""
    scores, pull = bradley_terry(np.array([0, 1]), np.array([1, 0]), np.array([1.0, 0.0]), 2)
    assert scores[0] == -scores[1] and pull == pytest.approx(0, abs=1e-6)
    assert 2 / (1 + np.exp(2 * scores[0])) == pytest.approx(scores[0] / PRIOR**2, abs=1e-6)


def test_undefeated_images_stay_finite_and_in_order() -> None:
    first, second = (np.array(side) for side in zip(*[(i, j) for i in range(6) for j in range(6) if i != j], strict=True))
    scores, pull = bradley_terry(first, second, (first < second).astype(float), 6)
    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all() and abs(pull) < 1e-5


def test_an_image_in_no_comparison_has_zero() -> None:
    scores, _ = bradley_terry(np.array([0]), np.array([1]), np.array([1.0]), 3)
    assert scores[2] == 0 < scores[0]


def test_one_part_is_scipys_spearman_also_with_ties_and_copies() -> None:
    rng = np.random.default_rng(1)
    score, truth, often = rng.normal(size=40).round(), rng.normal(size=40).round(1), rng.integers(0, 4, 40)
    one = np.zeros(40, int)
    assert part_correlation(score, truth, one, np.ones(40)) == pytest.approx(stats.spearmanr(score, truth)[0])
    copies = np.repeat(score, often), np.repeat(truth, often)
    assert part_correlation(score, truth, one, often.astype(float)) == pytest.approx(stats.spearmanr(*copies)[0])


def test_parts_are_ranked_apart_and_weighted_by_images() -> None:
    rng = np.random.default_rng(2)
    part = np.array([0] * 5 + [1] * 8 + [2] * 2)
    score, truth = rng.normal(size=15) + 10 * part, rng.normal(size=15)
    own = [stats.spearmanr(score[part == p], truth[part == p])[0] for p in (0, 1)]
    assert part_correlation(score, truth, part, np.ones(15)) == pytest.approx((5 * own[0] + 8 * own[1]) / 13), "two are too few"
    shuffled = rng.permutation(15)
    assert part_correlation(score[shuffled], truth[shuffled], part[shuffled], np.ones(15)) == pytest.approx(
        part_correlation(score, truth, part, np.ones(15))
    )


def test_a_part_of_equal_scores_counts_as_zero_and_one_of_equal_truth_not_at_all() -> None:
    part, truth = np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 2, 3, 1, 2, 3])
    assert part_correlation(np.array([1.0, 2, 3, 5, 5, 5]), truth, part, np.ones(6)) == pytest.approx(0.5)
    same = np.array([1.0, 2, 3, 4, 4, 4])
    assert part_correlation(np.array([1.0, 2, 3, 5, 7, 6]), same, part, np.ones(6)) == pytest.approx(1)
    assert np.isnan(part_correlation(np.arange(6.0), np.ones(6), part, np.ones(6)))
