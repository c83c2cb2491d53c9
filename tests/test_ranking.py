"""Areas under the curve are scikit-learn's, on all images and on every resample of references."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.ranking import areas
from probes.intervals import resampled_rows
from stimuli.errors import InputError


def test_it_is_the_share_of_pairs_in_the_right_order_ties_half() -> None:
    scores = {"blur": [3.0, 1.0, 1.0, 0.0, 2.0]}
    found = areas(scores, ["blur", "blur", "clean", "clean", "noise"], np.array(list("aabbc")), 20)
    assert found[0]["auc"] == pytest.approx((3 + 1.5) / 6) and found[0]["n"] == 2


def test_values_and_intervals_are_scikit_learns_on_every_resample() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.choice(["blur", "noise", "clean"], 120), rng.permutation(np.repeat(np.arange(12), 10))
    scores = {name: np.round(rng.normal(labels == name, 1.5), 1) for name in ("blur", "noise")}
    found = areas(scores, list(labels), groups, 40, seed=3)
    drawn = {}
    for row in found[:2]:
        own, positive = scores[row["class"]], labels == row["class"]
        assert row["auc"] == pytest.approx(roc_auc_score(positive, own)) and row["n"] == positive.sum()
        drawn[row["class"]] = [roc_auc_score(positive[rows], own[rows]) for rows in resampled_rows(groups, 40, 3)]
        assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn[row["class"]], [0.025, 0.975])))
    mean = found[2]
    assert mean["class"] == "mean" and mean["n"] == 120 and mean["auc"] == pytest.approx(np.mean([r["auc"] for r in found[:2]]))
    together = np.mean([drawn["blur"], drawn["noise"]], 0)
    assert (mean["low"], mean["high"]) == pytest.approx(tuple(np.quantile(together, [0.025, 0.975])))
    json.dumps(found, allow_nan=False)


def test_a_class_that_no_image_has_or_every_one_is_left_out() -> None:
    groups, scores = np.array(list("aabb")), [1.0, 2.0, 3.0, 4.0]
    found = areas({"blur": scores, "noise": scores}, ["blur", "clean"] * 2, groups, 20)
    assert [row["class"] for row in found] == ["blur"], "one class needs no mean"
    assert areas({"blur": scores}, ["blur"] * 4, groups, 20) == []


def test_resamples_without_the_class_are_left_out() -> None:
    groups, scores = np.array(list("aabbcc")), [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    (row,) = areas({"blur": scores}, ["blur", *["clean"] * 5], groups, 50)
    assert row["auc"] == row["low"] == row["high"] == 1


def test_one_reference_has_no_interval() -> None:
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        areas({"blur": [1.0, 2.0]}, ["blur", "clean"], np.array(["a", "a"]), 20)
