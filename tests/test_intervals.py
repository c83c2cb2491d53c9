"""Intervals over references: known values, coverage, symmetry."""

import numpy as np
import pytest

from probes.intervals import (
    balanced_accuracies,
    balanced_difference,
    balanced_interval,
    enough,
    group_bootstrap,
    holm,
    interval,
    least_p,
    paired_difference,
    permutation_p,
    resampled_rows,
    resamples,
    widening,
)
from stimuli.errors import InputError


def clustered(rng: np.random.Generator, groups: int = 30, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Values of mean 0 that share an effect within their group."""
    number = np.repeat(np.arange(groups), size)
    return rng.normal(size=groups)[number] + 0.3 * rng.normal(size=groups * size), number


def test_group_interval_covers_where_an_interval_over_rows_does_not() -> None:
    rng = np.random.default_rng(0)
    over_groups, over_rows = 0, 0
    for run in range(200):
        values, groups = clustered(rng)
        by_group = group_bootstrap(values, groups, 300, run)
        by_row = group_bootstrap(values, np.arange(len(values)), 300, run)
        over_groups += by_group.low <= 0 <= by_group.high
        over_rows += by_row.low <= 0 <= by_row.high
    assert 0.88 <= over_groups / 200 <= 0.99
    assert over_rows / 200 < 0.7


def test_paired_p_is_rarely_small_without_an_effect_and_small_with_one() -> None:
    rng = np.random.default_rng(1)
    found = []
    for run in range(200):
        values, groups = clustered(rng)
        found.append(paired_difference(np.zeros(len(values)), values, groups, 400, run).p)
    assert np.mean(np.array(found) < 0.05) < 0.12
    values, groups = clustered(rng)
    assert paired_difference(values, values + 1 + 0.1 * rng.normal(size=len(values)), groups).p < 0.01


def test_paired_difference_is_symmetric() -> None:
    rng = np.random.default_rng(2)
    (a, groups), (b, _) = clustered(rng), clustered(rng)
    there, back = paired_difference(a, b, groups), paired_difference(b, a, groups)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == back.p
    labels = np.tile(["x", "y"], len(a) // 2)
    there, back = (balanced_difference(*pair, labels, groups) for pair in ((a > 0, b > 0), (b > 0, a > 0)))
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == back.p


def test_no_change_has_a_zero_interval_and_p_one() -> None:
    values, groups = clustered(np.random.default_rng(3))
    same = paired_difference(values, values, groups)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_p_is_never_zero_and_nothing_measured_is_never_significant() -> None:
    values, groups = clustered(np.random.default_rng(4))
    assert paired_difference(values, values + 5, groups, 99).p == pytest.approx(2 / 100)
    unknown = paired_difference(values, np.full(len(values), np.nan), groups)
    assert np.isnan([unknown.value, unknown.low, unknown.high]).all()
    assert unknown.p == 1


def test_balanced_accuracy_is_mean_recall_and_matches_a_loop_over_resamples() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(5)
    labels, groups = rng.choice(list("abc"), 120, p=[0.6, 0.3, 0.1]), rng.integers(0, 20, 120)
    answers = np.where(rng.random(120) < 0.5, labels, "a")
    weights = resamples(20, 5, 0)
    fast = balanced_accuracies(answers == labels, labels, groups, weights)
    names = np.unique(groups)
    for row, value in zip(weights, fast, strict=True):
        drawn = np.repeat(names, row.astype(int))
        picked = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        assert value == pytest.approx(balanced_accuracy_score(labels[picked], answers[picked]))
    whole = balanced_interval(answers == labels, labels, groups)
    assert whole.value == pytest.approx(balanced_accuracy_score(labels, answers))
    assert whole.low < whole.value < whole.high


def test_unanswered_rows_are_left_out() -> None:
    values, groups = np.array([1.0, np.nan, 3.0, 5.0]), np.array(["a", "a", "b", "c"])
    assert group_bootstrap(values, groups).value == 3


def test_holm_gives_the_textbook_values_in_the_given_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_same_seed_same_interval_other_seed_another() -> None:
    values, groups = clustered(np.random.default_rng(6))
    assert group_bootstrap(values, groups, seed=1) == group_bootstrap(values, groups, seed=1)
    assert group_bootstrap(values, groups, seed=1) != group_bootstrap(values, groups, seed=2)


def test_one_reference_has_no_interval() -> None:
    with pytest.raises(InputError, match="needs at least 2 of them, got 1. Show more references"):
        group_bootstrap(np.ones(4), np.zeros(4))


def test_resampled_rows_draw_whole_groups_and_agree_with_the_means() -> None:
    rng = np.random.default_rng(0)
    groups, values = np.array(list("aabbbcd")), rng.random(7)
    draws = [rows for rows in resampled_rows(groups, 200, 3)]
    assert all(len(set(np.bincount(rows, minlength=7)[groups == name])) == 1 for rows in draws for name in "abcd"), (
        "all rows of a group are drawn as often"
    )
    found, means = interval(values.mean(), [values[rows].mean() for rows in draws]), group_bootstrap(values, groups, 200, 3)
    assert (found.value, found.low, found.high) == pytest.approx((means.value, means.low, means.high))


def test_out_of_fold_scores_have_wider_intervals_of_the_same_value_within_bounds() -> None:
    rng = np.random.default_rng(7)
    labels, groups = np.tile(list("ab"), 40), np.repeat(np.arange(20), 4)
    hits, other = rng.random(80) < 0.7, rng.random(80) < 0.6
    answers, probe = balanced_interval(hits, labels, groups), balanced_interval(hits, labels, groups, folds=5)
    assert probe.value == answers.value
    assert probe.high - probe.value == pytest.approx(widening(5) * (answers.high - answers.value))
    assert probe.value - probe.low == pytest.approx(widening(5) * (answers.value - answers.low))
    there, wide = (balanced_difference(hits, other, labels, groups, folds=folds) for folds in (None, 5))
    assert wide.high - wide.low == pytest.approx(widening(5) * (there.high - there.low))
    assert wide.p >= there.p
    mean, more = (group_bootstrap(hits, groups, folds=folds) for folds in (None, 5))
    assert more.value == mean.value and more.high - more.low == pytest.approx(widening(5) * (mean.high - mean.low))
    there, wide = (paired_difference(hits, other, groups, folds=folds) for folds in (None, 5))
    assert wide.high - wide.low == pytest.approx(widening(5) * (there.high - there.low))
    nearly = np.arange(80) > 1
    assert balanced_interval(nearly, labels, groups, folds=2).high == 1


def test_more_folds_widen_less_and_never_beyond_the_published_correction() -> None:
    factors = [widening(folds) ** 2 for folds in (2, 5, 10)]
    assert factors == sorted(factors, reverse=True) and min(factors) > 1
    assert all(factor < 1 + folds / (folds - 1) for factor, folds in zip(factors, (2, 5, 10), strict=True))
    assert widening(None) == 1
    with pytest.raises(InputError, match="Got 1 folds. Expected at least 2, or None if nothing was trained"):
        widening(1)


def test_permutation_p_counts_ties_is_never_zero_and_is_exact() -> None:
    assert permutation_p(0.5, [0.5, 0.4, 0.6, 0.1]) == 3 / 5
    assert permutation_p(1.0, np.zeros(19)) == 1 / 20
    rng = np.random.default_rng(8)
    found = np.mean([permutation_p(row[0], row[1:]) <= 0.05 for row in rng.normal(size=(4000, 40))])
    assert abs(found - 0.05) < 0.012
    with pytest.raises(InputError, match="Got the score 0.5 and 0 permuted ones, 0 of them finite"):
        permutation_p(0.5, [])
    with pytest.raises(InputError, match="2 permuted ones, 1 of them finite. Expected finite scores"):
        permutation_p(0.5, [np.nan, 0.2])


@pytest.mark.heavy
@pytest.mark.parametrize("signal", [0.0, 0.4])
def test_out_of_fold_intervals_cover_and_tests_keep_their_level_at_realistic_size(signal: float) -> None:
    """Where a plain bootstrap of the hits covers too seldom; docs/coverage.md has more designs."""
    from benchmarks.coverage import Design, rates, simulate, wrong

    assert wrong(rates(simulate(Design(64, signal), 200)), 200) == []


def test_enough_resamples_for_one_of_many_tests_to_pass_holm() -> None:
    for tests in (1, 12, 13, 100):
        n = enough(1000, tests)
        assert n >= 1000 and holm([2 / (n + 1), *[1.0] * (tests - 1)])[0] < 0.05
    assert enough(5, 1) < 1000 and enough(1000, 3) == 1000


def test_few_groups_on_one_side_prove_no_more_than_the_sign_test() -> None:
    groups = np.repeat(["a", "b", "c"], 4)
    before, after = np.zeros(12), np.ones(12)
    assert paired_difference(before, after, groups).p == least_p(3) == 0.25
    only_two = np.where(groups == "c", np.nan, after)
    assert paired_difference(before, only_two, groups).p == least_p(2) == 0.5
    labels = np.tile([0, 1, 0, 1], 3)
    assert balanced_difference(before, after, labels, groups).p == 0.25
    many = np.arange(30)
    assert paired_difference(np.zeros(30), np.ones(30), many, 1000).p == 2 / 1001
