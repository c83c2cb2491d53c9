"""Scores from level words and their agreement with opinion: against scipy, by hand, and where there is nothing to tell."""

import json
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from analysis.quality_scores import (
    DEQA,
    Q_ALIGN,
    Q_BENCH,
    Q_BOOST,
    Levels,
    compare_correlations,
    correlations,
    flat,
    level_score,
    level_spread,
    mean_interval,
)
from probes.intervals import Interval, resampled_rows
from stimuli.errors import InputError


def rated(references: int = 12, each: int = 15, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and references, with an effect of the reference on the score."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(references), each)
    truth = rng.uniform(1, 5, len(groups))
    scores = (
        1 / (1 + np.exp(-2 * (truth - 3))) + 0.15 * rng.normal(size=references)[groups] + 0.1 * rng.normal(size=len(groups))
    )
    return scores, truth, groups


def test_level_score_is_the_expected_weight() -> None:
    shares = np.array([[0.5, 0.3, 0.1, 0.1, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    loglik = np.log(np.maximum(shares, 1e-300))
    assert level_score(loglik, Q_ALIGN.weights) == pytest.approx([0.5 + 0.225 + 0.05 + 0.025, 0.5])
    assert level_score(loglik, DEQA.weights) == pytest.approx([2.5 + 1.2 + 0.3 + 0.2, 3.0])
    assert level_score(loglik + 7.5, Q_ALIGN.weights) == pytest.approx(level_score(loglik, Q_ALIGN.weights)), (
        "logits do as well"
    )


def test_temperature_divides_the_likelihoods() -> None:
    logits = np.array([[21.0, 19.0], [10.0, 30.0]])
    by_hand = 1 / (1 + np.exp((logits[:, 1] - logits[:, 0]) / 100))
    assert level_score(logits, Q_BENCH.weights, Q_BENCH.temperature) == pytest.approx(by_hand)
    assert level_score(logits, (1, 0), 1e9) == pytest.approx([0.5, 0.5])


def test_spread_is_the_standard_deviation_over_levels() -> None:
    shares = np.array([[0.5, 0.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.4, 0.2, 0.1]])
    spread = level_spread(np.log(np.maximum(shares, 1e-300)), DEQA.weights)
    assert spread == pytest.approx([2, 0, np.sqrt(0.1 * 4 + 0.2 * 1 + 0.2 * 1 + 0.1 * 4)])
    assert level_spread(np.array([[2.0, 0.0]]), (1, 0), 1e9) == pytest.approx([0.5])


def test_synonyms_of_a_level_are_averaged() -> None:
    assert Q_BOOST.merge(np.array([[1.0, 2, 3, 10, 20, 30, -1, 0, 4]])) == pytest.approx(np.array([[2, 20, 1]]))
    uneven = Levels("own", (("good", "fine"), ("bad",)), (1.0, 0.0), 1.0, "")
    assert uneven.merge(np.array([[1.0, 2, 5]])) == pytest.approx(np.array([[1.5, 5]]))
    with pytest.raises(InputError, match="Expected one row per image and 9 columns, one per word: good, high, fine, average"):
        Q_BOOST.merge(np.zeros((4, 3)))


def test_a_missing_likelihood_gives_no_score() -> None:
    assert np.isnan(level_score(np.array([[np.nan, 1.0], [1.0, 1.0]]), (1, 0))).tolist() == [True, False]


def test_unfit_likelihoods_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(4, 3\) for 2 weights.*Merge synonyms first"):
        level_score(np.zeros((4, 3)), (1, 0))
    with pytest.raises(InputError, match="temperature of 0. Expected more than 0"):
        level_score(np.zeros((4, 2)), (1, 0), 0)


def test_values_are_scipys_and_the_fit_raises_plcc() -> None:
    scores, truth, groups = rated()
    found = correlations(scores, truth, groups, n_boot=20)
    assert found.srcc and found.krcc and found.plcc and found.plcc_fitted and found.rmse_fitted and found.fit
    assert found.srcc.value == pytest.approx(stats.spearmanr(scores, truth)[0])
    assert found.krcc.value == pytest.approx(stats.kendalltau(scores, truth)[0])
    assert found.plcc.value == pytest.approx(stats.pearsonr(scores, truth)[0])
    assert found.plcc_fitted.value == pytest.approx(stats.pearsonr(found.fit.predict(scores), truth)[0])
    assert found.rmse_fitted.value == pytest.approx(np.sqrt(np.mean((found.fit.predict(scores) - truth) ** 2)))
    assert found.plcc_fitted.value > found.plcc.value
    assert (found.n, found.references, found.note) == (180, 12, "")


def test_ties_are_scipys_too() -> None:
    scores, truth, groups = rated()
    found = correlations(np.round(4 * scores), np.round(truth), groups, n_boot=20)
    assert found.srcc and found.krcc
    assert found.srcc.value == pytest.approx(stats.spearmanr(np.round(4 * scores), np.round(truth))[0])
    assert found.krcc.value == pytest.approx(stats.kendalltau(np.round(4 * scores), np.round(truth))[0])


def test_intervals_are_over_references_and_exact_on_every_resample() -> None:
    scores, truth, groups = rated()
    found = correlations(scores, truth, groups, n_boot=60, seed=3)
    draws = [
        (
            stats.spearmanr(scores[r], truth[r])[0],
            stats.kendalltau(scores[r], truth[r])[0],
            stats.pearsonr(scores[r], truth[r])[0],
        )
        for r in resampled_rows(groups, 60, 3)
    ]
    for name, own in zip(("srcc", "krcc", "plcc"), np.array(draws).T, strict=True):
        assert astuple(getattr(found, name))[1:] == pytest.approx(np.quantile(own, [0.025, 0.975]))
    assert found.plcc_fitted and found.plcc_fitted.low < found.plcc_fitted.value < found.plcc_fitted.high
    assert found.rmse_fitted and found.rmse_fitted.low < found.rmse_fitted.value < found.rmse_fitted.high


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    """Five copies of each image, as one reference and as five."""
    scores, truth, _ = rated(40, 1)
    copies, groups = (np.repeat(scores, 5), np.repeat(truth, 5)), np.repeat(np.arange(40), 5)
    by_reference, by_image = correlations(*copies, groups, n_boot=100), correlations(*copies, np.arange(200), n_boot=100)
    for name in ("srcc", "krcc", "plcc", "plcc_fitted", "rmse_fitted"):
        own, single = getattr(by_reference, name), getattr(by_image, name)
        assert own.value == single.value and own.high - own.low > 1.7 * (single.high - single.low)


def test_direction_is_kept() -> None:
    scores, truth, groups = rated()
    up, down = correlations(scores, truth, groups, n_boot=20), correlations(-scores, truth, groups, n_boot=20)
    for name in ("srcc", "krcc", "plcc", "plcc_fitted"):
        rising, falling = getattr(up, name), getattr(down, name)
        assert rising.value > 0
        assert astuple(falling) == pytest.approx((-rising.value, -rising.high, -rising.low), abs=1e-5)
    assert down.fit and not down.fit.rises and up.fit and up.fit.rises
    assert down.rmse_fitted and up.rmse_fitted and down.rmse_fitted.value == pytest.approx(up.rmse_fitted.value)


def test_unparsed_scores_are_left_out_and_counted() -> None:
    scores, truth, groups = rated()
    missing = np.arange(len(scores)) % 4 == 0
    found = correlations(np.where(missing, np.nan, scores), truth, groups, n_boot=20)
    alone = correlations(scores[~missing], truth[~missing], groups[~missing], n_boot=20)
    assert (found.srcc, found.plcc_fitted, found.fit) == (alone.srcc, alone.plcc_fitted, alone.fit)
    assert found.unparsed and found.unparsed.value == pytest.approx(missing.mean()) and found.n == (~missing).sum()
    assert alone.unparsed == Interval(0, 0, 0)


@pytest.mark.parametrize(
    ("score", "truth", "note"),
    [(0.5, None, "all scores are equal"), (None, 3.0, "all true scores are equal"), (np.nan, None, "no image has a score")],
)
def test_nothing_to_compare_is_none_with_a_note(score: float | None, truth: float | None, note: str) -> None:
    s, q, groups = rated()
    s, q = (np.full(len(s), score) if score is not None else s), (np.full(len(q), truth) if truth is not None else q)
    found = correlations(s, q, groups, n_boot=20)
    assert [found.srcc, found.krcc, found.plcc, found.plcc_fitted, found.rmse_fitted, found.fit] == [None] * 6
    assert found.note == note
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["srcc"] is None


@pytest.mark.parametrize("levels", [3, 6])
def test_a_resample_of_equal_scores_does_not_spoil_the_interval(levels: int) -> None:
    """Reference a alone is drawn once in 27; with 3 different scores the curve is a line."""
    scores = np.minimum([1.0, 1, 1, 1, 2, 3, 4, 5, 6], levels)
    truth, groups = np.array([1.0, 2, 3, 4, 2, 4, 5, 7, 6]), np.array(list("aaaabbbcc"))
    found = correlations(scores, truth, groups, n_boot=150)
    assert found.fit and found.fit.kind == ("linear" if levels == 3 else "logistic")
    for name in ("srcc", "krcc", "plcc", "plcc_fitted", "rmse_fitted"):
        assert np.isfinite(astuple(getattr(found, name))).all()


def test_one_reference_has_values_without_intervals() -> None:
    scores, truth, _ = rated()
    plain = correlations(scores, truth, np.zeros(len(scores)), n_boot=20).as_dict()
    assert plain["srcc"] == pytest.approx(stats.spearmanr(scores, truth)[0])
    assert plain["srcc_low"] is None and plain["unparsed"] == 0 and plain["unparsed_high"] is None
    change = compare_correlations(scores, truth, truth, np.zeros(len(scores)), n_boot=20).as_dict()
    assert change["srcc"] > 0 and change["srcc_low"] is None and change["srcc_p"] == 1


def test_dictionary_holds_points_and_curve() -> None:
    scores, truth, groups = rated()
    scores[3] = np.nan
    found = correlations(scores, truth, groups, n_boot=20)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["scores"][3] is None and plain["scores"][4] == scores[4] and plain["truth"] == truth.tolist()
    assert found.fit and found.plcc
    assert plain["curve_truth"] == pytest.approx(found.fit.predict(np.array(plain["curve_scores"])))
    assert (plain["curve_scores"][0], plain["curve_scores"][-1]) == pytest.approx((np.nanmin(scores), np.nanmax(scores)))
    assert (plain["plcc"], plain["plcc_low"], plain["plcc_high"]) == astuple(found.plcc)
    assert plain["fit"] == "logistic" and plain["fit_parameters"] == list(found.fit.parameters)


def test_difference_of_two_scorers_is_paired() -> None:
    scores, truth, groups = rated()
    worse = scores + 0.4 * np.random.default_rng(1).normal(size=len(scores))
    change = compare_correlations(scores, worse, truth, groups, n_boot=100, seed=2)
    assert change.srcc and change.plcc
    assert change.srcc.value == pytest.approx(stats.spearmanr(worse, truth)[0] - stats.spearmanr(scores, truth)[0])
    draws = [
        stats.pearsonr(worse[r], truth[r])[0] - stats.pearsonr(scores[r], truth[r])[0] for r in resampled_rows(groups, 100, 2)
    ]
    assert astuple(change.plcc)[1:3] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert change.srcc.p == pytest.approx(2 / 101) and change.srcc.high < 0
    back = compare_correlations(worse, scores, truth, groups, n_boot=100, seed=2)
    assert back.srcc and (back.srcc.value, back.srcc.p) == pytest.approx((-change.srcc.value, change.srcc.p))
    same = compare_correlations(scores, scores, truth, groups, n_boot=50)
    assert same.srcc and astuple(same.srcc) == (0, 0, 0, 1)


def test_images_that_one_scorer_missed_are_left_out_of_both() -> None:
    scores, truth, groups = rated()
    a, b = scores.copy(), truth + scores
    a[:5], b[3:9] = np.nan, np.nan
    change, alone = compare_correlations(a, b, truth, groups, 30), compare_correlations(a[9:], b[9:], truth[9:], groups[9:], 30)
    assert (change.n, change.left_out) == (171, 9) and change.srcc == alone.srcc
    constant = compare_correlations(a, np.ones(len(a)), truth, groups, 30)
    assert constant.srcc is None and constant.note == "all scores are equal"
    assert json.dumps(constant.as_dict(), allow_nan=False)


def test_unfit_arrays_are_refused() -> None:
    scores, truth, groups = rated()
    with pytest.raises(InputError, match=r"Got \(180,\) scores, \(179,\) true scores and \(180,\) references"):
        correlations(scores, truth[1:], groups)
    with pytest.raises(InputError, match="Got 0 infinite scores and 1 true scores that are no numbers"):
        correlations(scores, np.where(truth == truth[0], np.nan, truth), groups)
    with pytest.raises(InputError, match="Got 180 infinite scores"):
        correlations(np.full(180, np.inf), truth, groups)


def test_means_over_groups_say_what_they_lack() -> None:
    groups = np.array(["a", "a", "b"])
    assert mean_interval(np.full(3, np.nan), groups) is None
    alone = mean_interval(np.array([1.0, 2.0, np.nan]), groups)
    assert alone and alone.value == 1.5 and flat("x", alone) == {"x": 1.5, "x_low": None, "x_high": None}
    both = mean_interval(np.array([1.0, 2.0, 6.0]), groups)
    assert both and both.value == 3 and both.low == 1.5 and both.high == 6
    assert flat("x", None) == {"x": None, "x_low": None, "x_high": None}
