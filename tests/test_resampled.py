"""Rows of draws give the intervals of ``probes.intervals``, alone and in pairs."""

import numpy as np
import pytest

from probes.intervals import balanced_difference, balanced_interval, group_bootstrap, least_p, widening
from probes.resampled import accuracy_draws, mean_draws, score_change, score_interval

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(15), 6)
LABELS = np.tile(list("aabbcd"), 15)
BEFORE, AFTER = (RNG.random(90) < share for share in (0.4, 0.7))


def test_one_score_has_the_interval_of_balanced_accuracy() -> None:
    draws = accuracy_draws(AFTER, LABELS, GROUPS, 400, 3)
    assert len(draws) == 401
    found, expected = score_interval(draws, 5), balanced_interval(AFTER, LABELS, GROUPS, 400, 3, folds=5)
    assert vars(found) == pytest.approx(vars(expected))


def test_a_difference_of_rows_is_the_paired_difference() -> None:
    before, after = (accuracy_draws(hits, LABELS, GROUPS, 400, 3) for hits in (BEFORE, AFTER))
    found = score_change(after - before, 5, GROUPS)
    assert vars(found) == pytest.approx(vars(balanced_difference(BEFORE, AFTER, LABELS, GROUPS, 400, 3, folds=5)))


def test_means_are_those_of_the_group_bootstrap_but_wider_and_kept_in_their_range() -> None:
    values = RNG.normal(size=90)
    draws = mean_draws(values, GROUPS, 400, 3)
    plain, wide = group_bootstrap(values, GROUPS, 400, 3), score_change(draws, 5, GROUPS)
    assert wide.value == pytest.approx(plain.value) == pytest.approx(values.mean())
    assert wide.high - wide.low == pytest.approx(widening(5) * (plain.high - plain.low))
    assert score_interval(np.array([0.99, 0.9, 1.0, 1.0]), 5).high == 1


def test_a_change_of_few_references_has_no_smaller_p_than_their_sign_test() -> None:
    draws, groups = np.full(401, 0.5), np.repeat(["a", "b", "c"], 5)
    assert score_change(draws, 5, groups).p == least_p(3) == 0.25 and score_change(draws, 5, np.arange(40)).p == 2 / 401
