"""Differences between sites: agreement with the single comparison, level and power of the joint tests."""

import numpy as np
import pytest

from probes.differences import best_sites, max_t, site_differences, site_scores
from probes.intervals import balanced_accuracies, balanced_difference, holm, resamples
from stimuli.errors import InputError

LABELS, GROUPS = np.tile(list("abcd"), 30), np.repeat(np.arange(30), 4)


def hits(shares: dict[str, float], seed: int = 0, own: float = 0.3) -> dict[str, np.ndarray]:
    """Sites that are right on ``shares`` of the stimuli and mostly on the same ones; ``own`` is what they do not share."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=30)[GROUPS] + rng.normal(size=120)
    scale = np.sqrt(2 + own**2)
    from scipy.special import ndtri

    return {site: (common + own * rng.normal(size=120)) / scale < ndtri(share) for site, share in shares.items()}


def test_scores_of_all_sites_are_those_of_one_at_a_time() -> None:
    rng = np.random.default_rng(1)
    labels, groups = rng.choice(list("abc"), 90, p=[0.7, 0.2, 0.1]), rng.integers(0, 9, 90)
    matrix, weights = rng.random((90, 3)) < 0.5, resamples(9, 1500, 0)
    fast = site_scores(matrix, labels, groups, weights)
    slow = np.stack([balanced_accuracies(column, labels, groups, weights) for column in matrix.T], 1)
    assert fast == pytest.approx(slow)


@pytest.mark.parametrize("folds", [None, 5])
def test_each_row_is_the_paired_difference_of_its_two_sites(folds: int | None) -> None:
    found = hits({"vision.0": 0.4, "vision.1": 0.8, "llm.0": 0.6})
    rows = site_differences(found, LABELS, GROUPS, folds=folds, n_boot=500, seed=3)
    assert [(row["site"], row["against"]) for row in rows] == [("vision.0", "vision.1"), ("llm.0", "vision.1")]
    for row in rows:
        one = balanced_difference(found["vision.1"], found[row["site"]], LABELS, GROUPS, 500, 3, folds=folds)
        assert (row["change"], row["low"], row["high"], row["p"]) == pytest.approx((one.value, one.low, one.high, one.p))
        assert row["score"] == pytest.approx(found[row["site"]].mean())
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])


def test_against_the_previous_and_a_named_site() -> None:
    found = hits({"a": 0.4, "b": 0.8, "c": 0.6})
    before = site_differences(found, LABELS, GROUPS, "previous", n_boot=200)
    assert [(row["site"], row["against"]) for row in before] == [("b", "a"), ("c", "b")]
    assert before[0]["change"] > 0 > before[1]["change"]
    named = site_differences(found, LABELS, GROUPS, "a", n_boot=200)
    assert [row["site"] for row in named] == ["b", "c"] and all(row["change"] > 0 for row in named)


def test_shares_of_repeats_count_as_shares() -> None:
    found = {"a": np.tile([0.2, 0.6, 0.4, 0.4], 30), "b": np.tile([1.0, 0.8, 0.6, 0.8], 30)}
    (row,) = site_differences(found, LABELS, GROUPS, "a", n_boot=50)
    assert (row["score"], row["change"]) == pytest.approx((0.8, 0.4))
    assert [own["score"] for own in best_sites(found, LABELS, GROUPS, n_boot=50)] == pytest.approx([0.4, 0.8])


def test_max_t_keeps_the_family_wise_level_and_finds_more_than_holm_among_correlated_columns() -> None:
    """30 strongly correlated columns, none of them different from 0; then with a shift that Holm misses more often."""
    rng = np.random.default_rng(4)
    wrong, found, by_holm = 0, 0, 0
    from scipy.special import ndtr

    for _ in range(400):
        null = 0.95 * rng.normal(size=(400, 1)) + np.sqrt(1 - 0.95**2) * rng.normal(size=(400, 30))
        values = 0.95 * rng.normal() + np.sqrt(1 - 0.95**2) * rng.normal(size=30)
        wrong += max_t(values, values + null).min() <= 0.05
        found += max_t(values + 2.6, values + 2.6 + null).min() <= 0.05
        by_holm += min(holm((2 * ndtr(-np.abs(values + 2.6))).tolist())) <= 0.05
    assert 0.02 < wrong / 400 < 0.085
    assert found > by_holm + 40


def test_max_t_is_monotone_in_the_statistic_and_equals_the_plain_p_for_one_column() -> None:
    rng = np.random.default_rng(5)
    values, null = np.array([0.5, -2.5, 1.5]), rng.normal(size=(999, 3))
    p = max_t(values, values + null)
    assert p[1] < p[2] < p[0]
    one = max_t(values[:1], values[:1] + null[:, :1])[0]
    plain = (1 + (np.abs(null[:, 0]) / null[:, 0].std(ddof=1) >= 0.5 / null[:, 0].std(ddof=1)).sum()) / 1000
    assert one == pytest.approx(plain) and p[0] >= one
    close = max_t(np.array([2.0, 1.9]), null[:, :2] + [2.0, 1.9])
    assert close[0] == close[1] > 0.06, "what is less extreme is never less likely"
    assert max_t(values, values + null, 1.5)[1] > p[1], "a wider standard error gives a larger p"


def test_columns_that_never_vary_are_certain_or_nothing() -> None:
    p = max_t(np.array([0.0, 0.3]), np.tile([0.0, 0.3], (99, 1)))
    assert p.tolist() == [1.0, pytest.approx(1 / 100)]


def test_the_set_of_best_sites_holds_the_best_as_often_as_it_says() -> None:
    """Five equally good sites: each is kept in at least 95 % of the data sets, whichever happens to lead."""
    kept, runs = np.zeros(5), 150
    for seed in range(runs):
        rows = best_sites(hits(dict.fromkeys("abcde", 0.6), seed), LABELS, GROUPS, n_boot=300, seed=seed)
        assert max(rows, key=lambda row: row["score"])["among_best"]
        kept += [row["among_best"] for row in rows]
    assert (kept / runs > 0.9).all() and (kept / runs < 1).any()


def test_a_site_far_behind_is_told_from_the_best_and_equals_are_not() -> None:
    found = hits({"a": 0.3, "b": 0.8}) | {}
    found["c"] = found["b"]
    rows = {row["site"]: row for row in best_sites(found, LABELS, GROUPS, n_boot=500, folds=5)}
    assert [rows[site]["among_best"] for site in "abc"] == [False, True, True]
    assert rows["a"]["behind"] == pytest.approx(found["b"].mean() - found["a"].mean())
    assert rows["b"]["behind"] == 0 and rows["c"]["p"] == 1


def test_what_cannot_be_compared_is_refused() -> None:
    found = hits({"a": 0.4, "b": 0.8})
    with pytest.raises(InputError, match="Got 1 sites. Expected at least 2 to compare"):
        site_differences({"a": found["a"]}, LABELS, GROUPS)
    with pytest.raises(InputError, match="Site 'b' has 3 hits for 120 labels and 120 references"):
        best_sites({"a": found["a"], "b": found["b"][:3]}, LABELS, GROUPS)
    with pytest.raises(InputError, match="Unknown site 'x' to compare with. Expected 'best', 'previous' or one of a, b"):
        site_differences(found, LABELS, GROUPS, "x")
    with pytest.raises(InputError, match="Got the level 5. Expected a share between 0 and 1"):
        best_sites(found, LABELS, GROUPS, level=5)
