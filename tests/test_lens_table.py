"""Ranks, medians, gains and shuffled labels are what they say, against brute force and closed forms."""

import numpy as np
import pytest

from analysis.lens_table import Reading, Truth, class_ranks, compared, corrected, hits, median_interval, rows
from probes.intervals import resampled_rows


def truth(labels: np.ndarray, groups: np.ndarray, k: int, twins: np.ndarray | None = None) -> Truth:
    return Truth(tuple("abcdefgh"[:k]), labels, groups, np.full(len(labels), -1) if twins is None else twins, 200, 0)


@pytest.fixture
def design() -> tuple[np.ndarray, np.ndarray]:
    """Twelve references of four classes each."""
    return np.tile(np.arange(4), 12), np.repeat([f"r{i:02d}" for i in range(12)], 4)


def noise(n: int, k: int, seed: int = 0) -> Reading:
    rng = np.random.default_rng(seed)
    return Reading(rng.normal(size=(n, k)), rng.integers(1, 100, (n, k)).astype(float))


def test_ties_share_ranks_and_hits() -> None:
    logp = np.array([[0.0, 2.0, 2.0], [3.0, 1.0, 0.0]])
    assert class_ranks(logp).tolist() == [[3, 1.5, 1.5], [1, 2, 3]]
    assert hits(logp).tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_the_median_is_that_of_the_resampled_rows(design: tuple[np.ndarray, np.ndarray]) -> None:
    own = truth(*design, 4)
    values = np.random.default_rng(1).integers(1, 12, 48).astype(float)
    brute = [np.median(values[rows]) for rows in resampled_rows(design[1], 200, 0)]
    found = median_interval(values, own.draws)
    assert (found.value, found.low, found.high) == (np.median(values), *np.quantile(brute, [0.025, 0.975]))
    odd = np.arange(48) % 4 == 0
    brute = [np.median(np.repeat(values[odd], draw[odd])) for draw in own.draws]
    assert median_interval(values[odd], own.draws[:, odd]).low == np.quantile(brute, 0.025)


def test_the_columns_by_hand(design: tuple[np.ndarray, np.ndarray]) -> None:
    labels, groups = design
    reading = noise(48, 4)
    whole, *by_class = rows(reading, truth(labels, groups, 4))
    at = np.arange(48)
    right = reading.rank[at, labels]
    assert whole["rank"] == np.median(right) and whole["mrr"] == pytest.approx(np.mean(1 / right))
    ranks = 1 + (reading.logp > reading.logp[at, labels][:, None]).sum(1)
    assert whole["class_rank"] == ranks.mean() and whole["class_rank_chance"] == 2.5 and whole["chance"] == 0.25
    recalls = [float((ranks[labels == c] == 1).mean()) for c in range(4)]
    assert whole["accuracy"] == pytest.approx(np.mean(recalls)) and [r["accuracy"] for r in by_class] == pytest.approx(recalls)
    shares = np.exp(reading.logp) / np.exp(reading.logp).sum(1, keepdims=True)
    assert whole["probability"] == pytest.approx(shares[at, labels].mean())
    for row in (whole, *by_class):
        for name in ("rank", "mrr", "class_rank", "accuracy", "probability"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_shuffled_labels_tell_signal_from_noise(design: tuple[np.ndarray, np.ndarray]) -> None:
    labels, groups = design
    own = truth(labels, groups, 4)
    for seed in range(3):
        none = rows(noise(48, 4, seed), own)[0]
        assert none["p"] > 0.02 and none["class_rank_control"] == pytest.approx(2.5, abs=0.05)
        assert none["accuracy_control_low"] < 0.25 < none["accuracy_control_high"]
    told = noise(48, 4)
    told.logp[np.arange(48), labels] += 1.5
    found = rows(told, own)[0]
    assert found["p"] == 0.002 and found["accuracy"] > found["accuracy_control_high"]


def test_a_constant_word_has_recall_but_no_gain(design: tuple[np.ndarray, np.ndarray]) -> None:
    labels, groups = design
    reading = Reading(np.tile([0.0, -1, -2, -3], (48, 1)), np.tile([1.0, 5, 9, 20], (48, 1)))
    twins = np.where(labels == 3, -1, np.arange(48) // 4 * 4 + 3)
    whole, first, *_ = rows(reading, truth(labels, groups, 4, twins))
    assert (whole["accuracy"], whole["p"], whole["gain"], whole["gain_p"], whole["pairs"]) == (0.25, 1.0, 0.0, 1.0, 36)
    assert (first["class"], first["accuracy"], first["gain"]) == ("a", 1.0, 0.0)
    raised = Reading(reading.logp + np.where(labels == 0, 0.5, 0)[:, None], reading.rank)
    assert rows(raised, truth(labels, groups, 4, twins))[1]["gain"] == pytest.approx(0.5)
    assert rows(reading, truth(labels, groups, 4))[0]["gain"] is None


def test_classes_of_one_reference_have_no_row_of_their_own(design: tuple[np.ndarray, np.ndarray]) -> None:
    labels = design[0].copy()
    labels[labels == 2] = 1
    labels[2] = 2
    assert [row["class"] for row in rows(noise(48, 4), truth(labels, design[1], 4))] == ["all", "a", "b", "d"]


def test_holm_is_over_the_sites_of_a_position_and_class() -> None:
    table = [
        {"site": site, "position": "last", "class": "all", "p": p, "gain_p": None} for site, p in (("a", 0.01), ("b", 0.04))
    ] + [{"site": "a", "position": "image", "class": "all", "p": 0.04, "gain_p": 0.5}]
    found = corrected(table)
    assert [row["p_holm"] for row in found] == [0.02, 0.04, 0.04]
    assert [row["gain_p_holm"] for row in found] == [None, None, 0.5]


def test_compared_is_paired(design: tuple[np.ndarray, np.ndarray]) -> None:
    labels, groups = design
    one = noise(48, 4)
    better = Reading(one.logp.copy(), one.rank / 2 + 0.5)
    better.logp[np.arange(48), labels] += 3
    found = {row["measure"]: row for row in compared(one, better, truth(labels, groups, 4))}
    assert found["class_rank"]["change"] < 0 < found["mrr"]["change"] and found["accuracy"]["p"] < 0.02
    assert all(row["change"] == 0 and row["p"] == 1 for row in compared(one, one, truth(labels, groups, 4)))
