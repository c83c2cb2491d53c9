"""Calibration: hand-computed and scikit-learn's values, intervals over references, and the floor of few answers."""

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from analysis.calibration import DEPICTQA_WILD, calibration
from probes.intervals import paired_difference, resampled_rows
from stimuli.errors import InputError


def answers(n: int = 400, references: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over-confident answers about some references."""
    rng = np.random.default_rng(seed)
    sure = rng.beta(5, 2, n)
    return sure, rng.random(n) < 0.2 + 0.6 * sure, rng.integers(0, references, n)


def ece(sure: np.ndarray, hits: np.ndarray, edges: np.ndarray) -> float:
    """By its definition, bin by bin."""
    bins = [(sure > low) & (sure <= high) for low, high in zip(edges, edges[1:], strict=False)]
    return sum(abs(hits[own].mean() - sure[own].mean()) * own.mean() for own in bins if own.any())


def test_errors_are_those_computed_by_hand() -> None:
    found = calibration([0.95, 0.95, 0.55, 0.55], [True, False, True, True], list("abab"))
    assert found.ece == pytest.approx((0.45 + 0.45) / 2) and found.mce == pytest.approx(0.45)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.45**2) / 4)
    assert (found.confidence, found.accuracy, found.over_confidence) == (0.75, 0.75, 0)
    assert [row["n"] for row in found.table] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.table[5]["accuracy"] == 1 and found.table[0]["confidence"] is None
    json.dumps(found.as_dict(), allow_nan=False)


def test_bins_and_brier_are_scikit_learns() -> None:
    sure, hits, groups = answers()
    found = calibration(sure, hits, groups, n_boot=20)
    accuracy, confidence = calibration_curve(hits, sure, n_bins=10)
    shown = [row for row in found.table if row["n"]]
    assert [row["accuracy"] for row in shown] == pytest.approx(accuracy)
    assert [row["confidence"] for row in shown] == pytest.approx(confidence)
    assert found.brier == pytest.approx(brier_score_loss(hits, sure))
    assert found.mce == pytest.approx(np.abs(accuracy - confidence).max())


@pytest.mark.parametrize("bins", ["equal-width", "equal-mass", "depictqa-wild", (0, 0.3, 1)])
def test_error_and_intervals_are_those_of_a_loop_over_resampled_references(bins: str | tuple[float, ...]) -> None:
    sure, hits, groups = answers()
    found = calibration(sure, hits, groups, bins, 6, n_boot=50, seed=2)
    edges = np.array([found.table[0]["low"], *(row["high"] for row in found.table)])
    resampled = list(resampled_rows(groups, 50, 2))
    draws = [ece(sure[rows], hits[rows], edges) for rows in resampled]
    assert found.ece == pytest.approx(ece(sure, hits, edges))
    assert (found.ece_low, found.ece_high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    over = paired_difference(hits, sure, groups, 50, 2)
    assert (found.over_confidence, found.over_confidence_low, found.over_confidence_high) == pytest.approx(
        (over.value, over.low, over.high)
    )
    last = found.table[-1]
    inside = [hits[rows][sure[rows] > last["low"]].mean() for rows in resampled]
    assert (last["accuracy_low"], last["accuracy_high"]) == pytest.approx(tuple(np.quantile(inside, [0.025, 0.975])))


def test_bins_hold_their_upper_edge_and_zero() -> None:
    found = calibration([0.0, 0.1, 0.5, 0.9, 0.95, 1.0], [False] * 6, list("ababab"), "depictqa-wild", n_boot=20)
    assert [(row["low"], row["high"]) for row in found.table] == list(zip(DEPICTQA_WILD, DEPICTQA_WILD[1:], strict=False))
    assert [row["n"] for row in found.table] == [3, 0, 0, 0, 1, 1, 1] and found.bins == "depictqa-wild"


def test_bins_of_equal_mass_hold_equally_many_and_never_part_equal_confidences() -> None:
    sure, hits, groups = answers(400)
    assert [row["n"] for row in calibration(sure, hits, groups, "equal-mass", 8, n_boot=20).table] == [50] * 8
    found = calibration(np.where(sure > 0.5, 0.9, sure), hits, groups, "equal-mass", 8, n_boot=20)
    assert found.table[-1]["n"] + found.table[-2]["n"] >= (sure > 0.5).sum() and sum(row["n"] for row in found.table) == 400
    same = calibration(np.full(400, 0.7), hits, groups, "equal-mass", n_boot=20)
    assert same.ece == pytest.approx(abs(hits.mean() - 0.7))


def test_the_floor_is_what_a_calibrated_model_reaches_and_rarely_exceeds() -> None:
    rng = np.random.default_rng(4)
    sure, groups = rng.beta(5, 2, 300), rng.integers(0, 30, 300)
    runs = [calibration(sure, rng.random(300) < sure, groups, n_boot=100, seed=run) for run in range(200)]
    floor = runs[0].ece_floor
    assert np.mean([run.ece for run in runs]) == pytest.approx(floor, rel=0.08) and floor > 0.02
    assert 0.01 < np.mean([run.ece > run.ece_floor_high for run in runs]) < 0.1
    many = calibration(np.tile(sure, 30), np.tile(rng.random(300) < sure, 30), np.tile(groups, 30), n_boot=50)
    assert many.ece_floor < floor / 4, "it falls with the number of answers"


def test_answers_without_confidence_are_left_out_and_counted() -> None:
    sure, hits, groups = answers()
    holes = np.where(np.arange(400) % 4 == 0, np.nan, sure)
    kept = np.isfinite(holes)
    found, alone = calibration(holes, hits, groups, n_boot=30), calibration(sure[kept], hits[kept], groups[kept], n_boot=30)
    assert (found.n, found.left_out, alone.left_out) == (300, 100, 0)
    assert (found.ece, found.ece_low, found.accuracy) == (alone.ece, alone.ece_low, alone.accuracy)


def test_one_reference_has_values_and_no_intervals() -> None:
    found = calibration([0.2, 0.9, float("nan")], [False, True, True], ["a", "a", "b"])
    assert found.references == 1 and found.ece == pytest.approx(0.15)
    assert {found.ece_low, found.ece_high, found.over_confidence_low, found.table[-1]["accuracy_low"]} == {None}


def test_same_seed_same_numbers_other_seed_others() -> None:
    first, again, other = (calibration(*answers(), n_boot=50, seed=seed) for seed in (1, 1, 2))
    assert first == again and first.ece_low != other.ece_low and first.ece_floor != other.ece_floor


def test_refusals_are_in_words() -> None:
    with pytest.raises(InputError, match="None of the 2 answers has a confidence"):
        calibration([float("nan")] * 2, [True, False], ["a", "b"])
    with pytest.raises(InputError, match="A confidence is 85. Expected 0 to 1. Give probabilities"):
        calibration([0.5, 85], [True, False], ["a", "b"])
    with pytest.raises(InputError, match="A confidence is -0.3. Expected 0 to 1"):
        calibration([0.5, -0.3], [True, False], ["a", "b"])
    with pytest.raises(InputError, match="Unknown bins 'round'. Expected equal-width, equal-mass, depictqa-wild or a list"):
        calibration([0.5], [True], ["a"], "round")
    with pytest.raises(InputError, match="0 bins cannot hold anything"):
        calibration([0.5], [True], ["a"], n_bins=0)
    with pytest.raises(InputError, match=r"The edges \[0.0, 0.7, 0.6, 1.0\] do not part 0 to 1"):
        calibration([0.5], [True], ["a"], [0, 0.7, 0.6, 1])
