"""Crossed tables: hand-computed cells, brute force over resamples, and independent implementations of the dependence."""

import numpy as np
import pytest

from analysis.contingency import (
    against_zero,
    crossed,
    dependence,
    independent_shares,
    same_class,
    sample_and_resamples,
    share_of,
    shares,
    tally,
)
from probes.intervals import group_bootstrap, group_counts, paired_difference, resampled_rows
from stimuli.errors import InputError

ONE = np.ones((1, 1))


def table(pairs: str, strata: list[int] | None = None) -> np.ndarray:
    """Tables of the sample alone, of pairs such as "TF" (encoded, not said)."""
    encoded, said = (np.array([pair[i] == "T" for pair in pairs.split()]) for i in (0, 1))
    own = np.zeros(len(encoded), int) if strata is None else np.array(strata)
    return crossed(encoded, said, own, np.zeros(len(encoded), int), ONE)


def random(n: int = 300, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Encoded and said with a common cause, three unequal strata, 20 groups of unequal size."""
    rng = np.random.default_rng(seed)
    ease, strata = rng.normal(size=n), rng.choice(3, n, p=[0.6, 0.3, 0.1])
    encoded, said = ease + rng.normal(size=n) > -0.5 * strata, ease + rng.normal(size=n) > 0.5
    return encoded, said, strata, rng.integers(0, 20, n)


def test_cells_are_counted_by_stratum() -> None:
    found = table("TT TF TF FT FF FF FF TF", [0, 0, 0, 0, 0, 0, 0, 2])
    assert found[..., 0].tolist() == [[[1, 2], [1, 3]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_shares_average_the_strata_and_their_expectation_is_the_product_of_the_margins() -> None:
    found = table("TT TT FF FF TF TF", [0, 0, 0, 0, 1, 1])
    assert shares(found)[..., 0].tolist() == [[0.25, 0.5], [0, 0.25]], "classes weigh alike: (0 + 1) / 2 encoded, not said"
    assert shares(found.sum(0, keepdims=True))[..., 0].ravel() == pytest.approx([2 / 6, 2 / 6, 0, 2 / 6])
    assert independent_shares(found)[..., 0].ravel() == pytest.approx([0.125, 0.625, 0.125, 0.125])
    empty = table("TT TF", [0, 2])
    assert shares(empty)[..., 0].ravel() == pytest.approx([0.5, 0.5, 0, 0]), "an absent class does not count"


def test_every_draw_is_the_statistic_of_the_resampled_rows() -> None:
    encoded, said, strata, names = random()
    groups, n_groups = group_counts(names)
    tables = crossed(encoded, said, strata, groups, sample_and_resamples(n_groups, 20, 3))
    fast = [shares(tables)[0, 1], independent_shares(tables)[0, 1], dependence(tables)["dependence"], dependence(tables)["phi"]]
    for i, rows in enumerate(resampled_rows(names, 20, 3), start=1):
        alone = crossed(encoded[rows], said[rows], strata[rows], np.zeros(len(rows), int), ONE)
        slow = [shares(alone)[0, 1], independent_shares(alone)[0, 1], dependence(alone)["dependence"], dependence(alone)["phi"]]
        assert [values[i] for values in fast] == pytest.approx([values[0] for values in slow])
    own = [np.mean((encoded & ~said)[strata == c]) for c in range(3)]
    assert shares(tables)[0, 1, 0] == pytest.approx(np.mean(own))


def test_dependence_is_the_slope_of_a_regression_with_an_intercept_per_stratum() -> None:
    encoded, said, strata, _ = random()
    tables = crossed(encoded, said, strata, np.zeros(len(said), int), ONE)
    design = np.column_stack([encoded, *(strata == c for c in range(3))]).astype(float)
    slope = np.linalg.lstsq(design, said.astype(float), rcond=None)[0][0]
    assert dependence(tables, by_size=True)["dependence"][0] == pytest.approx(slope)
    weight = np.array([1 / np.mean(strata == c) for c in strata]) ** 0.5  # every class then weighs the same
    slope = np.linalg.lstsq(design * weight[:, None], said * weight, rcond=None)[0][0]
    assert dependence(tables)["dependence"][0] == pytest.approx(slope)


def test_in_one_stratum_it_is_the_plain_difference_and_phi_is_matthews() -> None:
    from sklearn.metrics import matthews_corrcoef

    found = {name: values[0] for name, values in dependence(table("TT TT TT TF FT FT FF FF FF FF")).items()}
    assert found["said_if_encoded"] == pytest.approx(3 / 4) and found["said_if_not_encoded"] == pytest.approx(2 / 6)
    assert found["dependence"] == pytest.approx(3 / 4 - 2 / 6)
    assert found["phi"] == pytest.approx(matthews_corrcoef([1] * 4 + [0] * 6, [1, 1, 1, 0, 1, 1] + [0] * 4))


def test_a_template_answer_and_a_probe_that_favour_one_class_do_not_depend_on_each_other() -> None:
    found = table("TT TT TT FT TF FF FF FF", [0, 0, 0, 0, 1, 1, 1, 1])
    plain, within = (dependence(t)["dependence"][0] for t in (found.sum(0, keepdims=True), found))
    assert plain == pytest.approx(0.75 - 0.25) and within == 0


def test_where_nothing_can_be_compared_there_is_no_number() -> None:
    assert np.isnan(list(dependence(table("TT TF TF")).values())).all(), "all are encoded"
    never = dependence(table("TF TF FF"))
    assert never["dependence"] == 0 and np.isnan(never["phi"]), "none is said"


def test_wrong_classes_agree_by_habit_or_beyond() -> None:
    zero = np.zeros(4, int)
    labels, probe, answer = zero, np.array([1, 1, 1, 2]), np.array([1, 2, 2, 2])
    found = same_class(labels, probe, answer, 3, zero, ONE)
    assert [found[name][0] for name in ("same", "expected", "excess")] == [0.5, 0.375, 0.125]
    found = same_class(labels, probe, probe, 3, zero, ONE)
    assert [found[name][0] for name in ("same", "expected", "excess")] == [1, 0.625, 0.375]
    apart = np.array([0, 0, 1, 1])
    found = same_class(apart, np.array([1, 1, 0, 0]), np.array([1, 1, 0, 0]), 3, zero, ONE)
    assert found["same"][0] == found["expected"][0] == 1, "one habit per true class: agreement says nothing"
    assert np.isnan(same_class(zero[:0], zero[:0], zero[:0], 3, zero[:0], ONE)["excess"][0])


def test_shares_of_rows_are_means_over_groups() -> None:
    rng = np.random.default_rng(1)
    part, names = rng.random(200) < 0.3, rng.integers(0, 15, 200)
    groups, n_groups = group_counts(names)
    draws = share_of(part, groups, sample_and_resamples(n_groups, 300, 4))
    known = group_bootstrap(part, names, 300, 4)
    assert [draws[0], *np.quantile(draws[1:], [0.025, 0.975])] == pytest.approx([known.value, known.low, known.high])
    assert np.isnan(share_of(part[:0], groups[:0], sample_and_resamples(n_groups, 3))).all()


def test_counts_are_those_of_bincount() -> None:
    numbers, groups = np.array([0, 2, 2, 4, 2]), np.array([0, 0, 1, 1, 1])
    assert tally(numbers, 5, groups, np.array([[1.0, 2.0], [1.0, 0.0]])).T.tolist() == [[1, 0, 3, 0, 1], [2, 0, 2, 0, 0]]


def test_p_is_that_of_the_other_intervals() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.15, 2.0):
        values, names = rng.normal(shift, 1, 60), np.repeat(np.arange(20), 3)
        groups, n_groups = group_counts(names)
        draws = sample_and_resamples(n_groups, 300, 0)
        means = np.array([np.average(values, weights=own) for own in draws[groups].T])
        own, known = against_zero(means, names), paired_difference(np.zeros(60), values, names, 300, 0)
        assert (own.value, own.low, own.high, own.p) == pytest.approx((known.value, known.low, known.high, known.p))
    assert against_zero(np.full(10, np.nan), np.arange(20)).p == 1


def test_one_reference_has_no_interval() -> None:
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        sample_and_resamples(1)
