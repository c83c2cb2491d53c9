"""Response distributions against what they might follow, and scores by distortion type at equal severity."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.isotonic import IsotonicRegression

from analysis.parsing import UNPARSED
from analysis.template_bias import SMOOTHING, divergence, score_residuals
from probes.intervals import group_bootstrap, resampled_rows
from stimuli.errors import InputError

NAMES = ["a", "b", "c", "d"]


def against(found: dict, name: str) -> dict:
    return next(row for row in found["against"] if row["against"] == name)


def test_known_distances_from_uniform() -> None:
    always = divergence(["a"] * 8, NAMES, list("ppqqrrss"), n_boot=50).as_dict()
    row = against(always, "uniform")
    assert row["total_variation"] == row["total_variation_low"] == row["total_variation_high"] == 0.75
    p, q = 1 - SMOOTHING + SMOOTHING / 5, (1 - SMOOTHING) / 4 + SMOOTHING / 5
    rest = SMOOTHING / 5
    assert row["kl"] == pytest.approx(p * np.log2(p / q) + 3 * rest * np.log2(rest / q)), "near log2(4) = 2 bits"
    assert (always["top"], always["top_share"]["value"], always["entropy"]["value"]) == ("a", 1, 0)
    even = divergence(NAMES * 2, NAMES, list("ppppqqqq"), n_boot=50).as_dict()
    assert against(even, "uniform")["kl"] == against(even, "uniform")["jensen_shannon"] == 0
    assert even["entropy"]["value"] == pytest.approx(2)


def test_distances_agree_with_scipy_and_the_prior_is_normalised() -> None:
    rng = np.random.default_rng(0)
    said = rng.choice([*NAMES, UNPARSED], 200, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    truth, groups = rng.choice(NAMES, 200), rng.integers(0, 20, 200)
    found = divergence(said, NAMES, groups, {"a": 6, "b": 2}, 100, truth=truth)
    shares = np.array([np.mean(said == name) for name in [*NAMES, UNPARSED]])
    true = np.array([np.mean(truth == name) for name in [*NAMES, UNPARSED]])
    assert [row["share"] for row in found.distribution] == pytest.approx(shares.tolist())
    assert [row["prior"] for row in found.distribution] == [0.75, 0.25, 0, 0, 0]
    for name, other in {"prior": np.array([0.75, 0.25, 0, 0, 0]), "truth": true}.items():
        row = against(found.as_dict(), name)
        assert row["jensen_shannon"] == pytest.approx(jensenshannon(shares, other, base=2) ** 2)
        assert row["total_variation"] == pytest.approx(np.abs(shares - other).sum() / 2)
    json.dumps(found.as_dict(), allow_nan=False)


def test_unparsed_answers_are_an_outcome_that_uniform_never_gives() -> None:
    found = divergence([UNPARSED] * 6, NAMES, list("ppqqrr"), n_boot=20).as_dict()
    assert found["top"] == UNPARSED and against(found, "uniform")["jensen_shannon"] == 1
    assert 5 < against(found, "uniform")["kl"] < 20, "finite, though uniform gives it no mass"


def test_intervals_are_over_references_and_the_truth_is_resampled_with_the_answers() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 4)
    said = np.repeat(rng.choice(NAMES, 12), 4)  # all images of a reference are answered alike
    found = divergence(said, NAMES, groups, n_boot=300, seed=4, truth=said)
    means = group_bootstrap(said == "b", groups, 300, 4)
    own = found.distribution[1]
    assert (own["share"], own["low"], own["high"]) == pytest.approx((means.value, means.low, means.high))
    row = against(found.as_dict(), "truth")
    assert row["kl_high"] == row["total_variation_high"] == 0, "answers equal to the truth are so in every resample"
    drawn = [np.mean(said[rows] == found.top) for rows in resampled_rows(groups, 300, 4)]
    assert found.top_share.high == pytest.approx(np.quantile(drawn, 0.975))


def test_bad_answers_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="'e' is no category. Expected a, b, c, d, unparsed"):
        divergence(["a", "e"], NAMES, ["p", "q"])
    with pytest.raises(InputError, match="'x' is no category"):
        divergence(["a", "a"], NAMES, ["p", "q"], {"x": 1})
    with pytest.raises(InputError, match="Expected shares or counts of 0 or more"):
        divergence(["a", "a"], NAMES, ["p", "q"], {"a": 0})
    with pytest.raises(InputError, match="Got 1 true classes for 2 images"):
        divergence(["a", "a"], NAMES, ["p", "q"], truth=["a"])
    with pytest.raises(InputError, match="Got no categories"):
        divergence(["a", "a"], [], ["p", "q"])


def scored(rng: np.random.Generator, biases: dict[str, float], references: int = 30) -> tuple[np.ndarray, ...]:
    """Scores that fall with severity, plus a bias for each type; five severities per reference and type."""
    types = np.tile(np.repeat(list(biases), 5), references)
    groups = np.repeat(np.arange(references).astype(str), 5 * len(biases))
    severity = rng.uniform(0, 1, len(types))
    bias = np.array([biases[name] for name in types])
    return 5 - 4 * severity**2 + bias + rng.normal(0, 0.2, len(types)), severity, types, groups


def test_a_type_that_is_scored_too_well_is_found_and_the_others_are_not() -> None:
    data = scored(np.random.default_rng(2), {"blur": 0.0, "noise": 0.0, "jpeg": 0.6, "jitter": 0.0})
    rows = {row["type"]: row for row in score_residuals(*data, n_boot=160)}
    assert rows["jpeg"]["low"] < 0.6 < rows["jpeg"]["high"] and rows["jpeg"]["p_holm"] < 0.05
    assert rows["blur"]["residual"] == pytest.approx(-0.2, abs=0.08), "the biased type lifts the curve of the others by a third"
    same = score_residuals(*scored(np.random.default_rng(3), {"blur": 0.0, "noise": 0.0, "jpeg": 0.0}), n_boot=100)
    assert all(row["low"] < 0 < row["high"] and row["p_holm"] > 0.05 for row in same)


def test_the_residual_is_that_of_scikit_learns_fit_to_the_other_types() -> None:
    score, severity, types, groups = scored(np.random.default_rng(4), {"blur": 0.3, "noise": 0.0, "jpeg": -0.2}, 6)
    severity = np.round(severity, 1)  # ties
    rows = score_residuals(score, severity, types, groups, 40, 5)
    own = types == "blur"
    fit = IsotonicRegression(increasing=False, out_of_bounds="nan")
    whole = score[own] - fit.fit(severity[~own], score[~own]).predict(severity[own])
    assert rows[0]["residual"] == pytest.approx(np.nanmean(whole))
    drawn = []
    for picked in resampled_rows(groups, 40, 5):
        mine = picked[own[picked]]
        rest = picked[~own[picked]]
        drawn.append(np.nanmean(score[mine] - fit.fit(severity[rest], score[rest]).predict(severity[mine])))
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert rows[0]["p"] == pytest.approx(min(1, 2 * (min(np.sum(np.array(drawn) <= 0), np.sum(np.array(drawn) >= 0)) + 1) / 41))


def test_a_model_that_scores_against_severity_is_not_followed() -> None:
    score, severity, types, groups = scored(np.random.default_rng(5), {"blur": 0.0, "noise": 0.0})
    row = score_residuals(-score, severity, types, groups, 20)[0]
    own = types == "blur"
    assert row["residual"] == pytest.approx(np.mean(-score[own]) - np.mean(-score[~own]), abs=0.15), (
        "the best falling curve is flat"
    )


def test_severities_that_no_other_type_has_are_left_out_and_counted() -> None:
    score, severity, types, groups = scored(np.random.default_rng(6), {"blur": 0.0, "noise": 0.0})
    own = np.flatnonzero(types == "blur")
    severity[own[: len(own) // 2]] = 7.0
    score[own[0]] = score[own[-1]] = np.nan
    blur, noise = score_residuals(score, severity, types, groups, 20)
    assert blur["outside"] == pytest.approx((len(own) // 2 - 1) / (len(own) - 2), abs=0.03)
    assert blur["n"] == len(own) - 2 and blur["unparsed"] == 2 / len(own) and noise["unparsed"] == 0
    severity[own] = 7.0
    row = score_residuals(score, severity, types, groups, 20)[0]
    assert np.isnan([row["residual"], row["low"], row["high"]]).all() and (row["outside"], row["p"], row["p_holm"]) == (1, 1, 1)


def test_one_type_or_uneven_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="scores and severities of 1 distortion types. Expected at least 2"):
        score_residuals([1, 2], [0, 1], ["blur", "blur"], ["p", "q"])
    with pytest.raises(InputError, match="Got 1 severities for 2 images"):
        score_residuals([1, 2], [0], ["blur", "noise"], ["p", "q"])
