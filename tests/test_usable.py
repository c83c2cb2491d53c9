"""Usable information: the closed form of a known channel, zero of noise, PVI of each stimulus on held-out references."""

from typing import Any

import numpy as np
import pytest

from probes.information import surprisal
from probes.linear import fit_predict
from probes.splits import grouped_folds
from probes.usable import PENALTIES, usable, usable_information
from tests.test_sweep import store

GROUPS = np.repeat(np.arange(20), 8)
LABELS = np.tile(list("aabbccdd"), 20)
KIND = np.unique(LABELS, return_inverse=True)[1]
FOLDS = grouped_folds(LABELS, GROUPS)


def planted(strength: float, d: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(160, d)) + strength * rng.normal(size=(4, d))[KIND]


def test_pvi_is_the_difference_of_held_out_surprisals() -> None:
    values = planted(0.7)
    found = usable(values, LABELS, GROUPS, FOLDS, penalties=[10.0])
    p = fit_predict(values, LABELS, GROUPS, FOLDS, penalties=[10.0])
    np.testing.assert_allclose(found.given, surprisal(p.probabilities, KIND))
    np.testing.assert_allclose(found.null, 2, atol=1e-12)  # balanced in every fold
    np.testing.assert_allclose(found.pvi, found.null - found.given)
    assert np.array_equal(found.right, p.predicted == LABELS)


def test_a_clear_signal_is_worth_the_entropy_of_the_labels_and_noise_nothing() -> None:
    clear, none = (usable(planted(s, seed=2), LABELS, GROUPS, FOLDS).pvi.mean() for s in (5, 0))
    assert 1.9 < clear < 2 and abs(none) < 0.05


def test_a_noisy_channel_is_worth_its_mutual_information() -> None:
    """A bit that is flipped with probability 0.1 tells 1 - H(0.1) = 0.531 bits, which a linear probe can use whole."""
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1], 2000)
    seen = np.where(rng.random(4000) < 0.1, 1 - truth, truth)
    groups = np.repeat(np.arange(40), 100)
    labels = np.array(["off", "on"])[truth]
    found = usable(seen[:, None].astype(float), labels, groups, grouped_folds(labels, groups, 3), penalties=[1.0])
    share = float(np.mean(seen != truth))
    expected = 1 + share * np.log2(share) + (1 - share) * np.log2(1 - share)
    assert found.pvi.mean() == pytest.approx(expected, abs=0.01)


def test_the_null_model_is_the_class_frequencies_of_training_rows() -> None:
    labels = np.where(KIND == 0, "rare", "often")
    found = usable(planted(0), labels, GROUPS, FOLDS, penalties=[1e4])
    np.testing.assert_allclose(found.null[KIND == 0], -np.log2(0.99 * 0.25 + 0.005))
    lonely = np.where(GROUPS == 0, "only here", labels)
    fold = next(train for train, test in FOLDS if 0 in test)
    assert "only here" not in lonely[fold]
    alone = usable(planted(0), lonely, GROUPS, FOLDS, penalties=[1e4])
    np.testing.assert_allclose(alone.null[:8], np.log2(3 / 0.01))


def test_an_overconfident_probe_is_told_as_negative_and_the_inner_choice_mends_it() -> None:
    values = planted(0, d=120)
    forced = usable(values, LABELS, GROUPS, FOLDS, penalties=[0.01]).pvi.mean()
    chosen = usable(values, LABELS, GROUPS, FOLDS).pvi.mean()
    assert forced < -1 and -0.05 < chosen < 0.1 and max(PENALTIES) == 1e4


def test_usable_information_may_rise_with_depth_though_no_information_is_added() -> None:
    """Exclusive or: a later layer that multiplies two bits lets a linear probe use what it could not use before."""
    rng = np.random.default_rng(1)
    bits = rng.choice([-1.0, 1.0], size=(160, 2))
    labels = np.where(bits.prod(1) > 0, "same", "differ")
    folds = grouped_folds(labels, GROUPS)
    early, late = (usable(v, labels, GROUPS, folds).pvi.mean() for v in (bits, bits.prod(1, keepdims=True)))
    assert early < 0.05 and late > 0.9


def test_every_site_and_stimulus_is_told_with_intervals_and_control() -> None:
    own = store({"vision.0": 2.0, "llm.0": 0.0})
    options: dict[str, Any] = {"penalties": [10.0, 1000.0], "folds": 4, "n_boot": 200, "progress": False}
    result = usable_information(own, **options)
    strong, none = result.row("vision.0"), result.row("llm.0")
    assert strong["information"] == pytest.approx(strong["h_null"] - strong["h_given"]) and strong["low"] > 1
    assert strong["low"] <= strong["information"] <= strong["high"] and strong["p_holm"] == pytest.approx(2 * strong["p"])
    assert abs(none["information"]) < 0.1 and abs(strong["control"]) < 0.1
    rows = result.pvi("vision.0")
    assert [row["id"] for row in rows] == list(result.ids) and len(rows) == 160
    assert np.mean([row["pvi"] for row in rows]) == pytest.approx(strong["information"])
    wrong, right = ([row["pvi"] for row in rows if row["right"] == own] for own in (False, True))
    assert wrong and np.mean(wrong) < np.mean(right)
    assert {row["site"] for row in rows} == {"vision.0"} and rows[0]["label"] == "clean" and rows[0]["reference"] == "r0"
    change = result.compare("vision.0", "llm.0")
    assert change.value == pytest.approx(none["information"] - strong["information"]) and change.high < 0
