"""Scores of maps against masks: equal to the libraries', exact on drawn examples, and chance where a map knows nothing."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from probes.map_scores import SCORES, THRESHOLDS, average_precision, best_threshold, cell_auc, iou, scores

RNG = np.random.default_rng(0)
NOBODY = np.array([-1])


def one(own: np.ndarray, shares: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    found = scores(own[None], shares[None], np.array([threshold]), np.array([True]), NOBODY)
    return {name: float(value[0]) for name, value in found.items()}


def test_area_and_precision_are_scikit_learns_also_with_ties() -> None:
    for _ in range(20):
        inside = RNG.random(30) < 0.3
        inside[:2] = True, False
        values = RNG.integers(0, 6, 30) / 5
        assert cell_auc(values, inside) == pytest.approx(roc_auc_score(inside, values))
        assert average_precision(values, inside) == pytest.approx(average_precision_score(inside, values))


def test_a_map_of_the_mask_itself_is_perfect() -> None:
    shares = np.zeros(16)
    shares[:5] = 1.0
    found = one(shares, shares)
    assert [found[name] for name in SCORES if name != "paired"] == [1.0] * 5 and np.isnan(found["paired"])
    turned = one(1 - shares, shares)
    assert turned["auc"] == turned["iou"] == turned["pointing"] == 0.0


def test_a_map_that_says_everywhere_the_same_has_chance() -> None:
    shares = RNG.random(36) * 0.09
    shares[:9] = 0.9
    found = one(np.full(36, 0.7), shares)
    for name in SCORES:
        if name != "paired":
            assert found[name] == pytest.approx(found[f"{name}_chance"])
    assert found["iou_chance"] == pytest.approx(shares.mean()) and found["pointing_chance"] == 0.25


def test_the_iou_is_of_areas() -> None:
    shares, own = np.array([1.0, 0.5, 0.0, 0.25]), np.array([0.9, 0.9, 0.9, 0.1])
    assert iou(own, shares, 0.5) == pytest.approx(1.5 / (3 + 0.25))
    assert one(own, shares, threshold=0.95)["iou_best"] == 0.0


def test_cells_that_the_mask_cuts_are_not_ranked() -> None:
    shares, own = np.array([1.0, 0.3, 0.0, 0.05]), np.array([0.8, 0.0, 0.1, 0.2])
    assert one(own, shares)["auc"] == 1.0
    assert one(np.array([0.8, 1.0, 0.1, 0.2]), shares)["auc"] == 1.0
    assert one(np.array([0.8, 1.0, 0.1, 0.2]), shares)["pointing"] == 0.0


def test_against_the_clean_image_place_and_content_cancel() -> None:
    shares = np.zeros((3, 25))
    shares[:2, :6] = 1.0
    content = RNG.random(25)
    own = np.stack([content + 0.01 * shares[0], content, content])  # found, missed, clean
    found = scores(own, shares, np.full(3, 0.5), np.array([True, True, False]), np.array([2, 2, -1]))
    assert found["paired"][:2].tolist() == [1.0, 0.5]
    assert all(np.isnan(value[2]) for value in found.values())
    assert found["auc"][0] < 1


def test_the_best_threshold_is_the_one_of_the_highest_mean_iou() -> None:
    shares = (RNG.random((8, 20)) < 0.3).astype(float)
    own = np.clip(0.2 + 0.3 * shares + RNG.normal(0, 0.08, shares.shape), 0, 1)
    masked = np.array([True] * 6 + [False] * 2)
    found = best_threshold(own, shares, masked)
    means = [np.mean([iou(m, s, t) for m, s in zip(own[:6], shares[:6], strict=True)]) for t in THRESHOLDS]
    assert found == THRESHOLDS[int(np.argmax(means))] and 0.25 < found < 0.45
