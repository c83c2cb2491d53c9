"""The sample-size curve: nested subsets of whole references, a gain where data is short, none where it is not."""

from typing import Any

import numpy as np
import pytest

from probes.sample_size import learning_curve, sample_size, subset
from probes.splits import grouped_folds
from stimuli.errors import InputError
from tests.test_sweep import store

GROUPS = np.repeat(np.arange(20), 8)
LABELS = np.tile(list("aabbccdd"), 20)
KIND = np.unique(LABELS, return_inverse=True)[1]
FOLDS = grouped_folds(LABELS, GROUPS)
OPTIONS: dict[str, Any] = {"penalties": [10.0], "n_boot": 200}


def planted(strength: float, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(160, d)) + strength * rng.normal(size=(4, d))[KIND]


@pytest.mark.parametrize("seed", range(3))
def test_subsets_hold_whole_training_references_and_are_nested(seed: int) -> None:
    train = FOLDS[0][0]
    parts = [subset(train, GROUPS, fraction, seed) for fraction in (0.01, 0.25, 0.5, 1)]
    assert [len(part) for part in parts] == [8, 32, 64, 128]
    for small, large in zip(parts, parts[1:], strict=False):
        assert set(small) < set(large)
    for part in parts:
        assert set(part) <= set(train) and set(part) == set(np.flatnonzero(np.isin(GROUPS, GROUPS[part])))
    assert not np.array_equal(parts[1], subset(train, GROUPS, 0.25, seed + 1))


def test_a_weak_signal_in_many_dimensions_gains_from_more_and_a_clear_one_does_not() -> None:
    weak = learning_curve(planted(0.3, 60), LABELS, GROUPS, FOLDS, draws=3, **OPTIONS)
    clear = learning_curve(planted(3, 8), LABELS, GROUPS, FOLDS, draws=3, **OPTIONS)
    assert [step.references for step in weak] == [2, 4, 8, 16]
    assert weak[-1].score.value > weak[0].score.value + 0.2 and weak[0].gain is None
    for before, after in zip(weak, weak[1:], strict=False):
        assert after.gain is not None and after.gain.value == pytest.approx(after.score.value - before.score.value)
        assert after.score.low <= after.score.value <= after.score.high
    assert weak[-1].gain is not None and weak[-1].gain.low > 0
    assert clear[-1].gain is not None and clear[-1].gain.low <= 0 and clear[-1].score.value > 0.97
    assert weak[0].spread > 0 and weak[-1].spread == 0


def test_the_largest_step_is_the_probe_on_everything() -> None:
    from probes.intervals import balanced_interval
    from probes.linear import fit_predict

    values = planted(0.5, 10)
    whole = fit_predict(values, LABELS, GROUPS, FOLDS, penalties=[10.0])
    step = learning_curve(values, LABELS, GROUPS, FOLDS, fractions=[1.0], **OPTIONS)[-1]
    assert step.score.value == balanced_interval(whole.predicted == LABELS, LABELS, GROUPS, 50).value and step.gain is None


@pytest.mark.parametrize("fractions", [(), (0.5, 0.25), (0.0, 1.0), (0.5, 1.5), (0.5, 0.5)])
def test_fractions_that_do_not_ascend_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="expected ascending ones above 0 to 1"):
        learning_curve(planted(1, 4), LABELS, GROUPS, FOLDS, fractions=fractions, **OPTIONS)


def test_sites_have_a_curve_each_and_the_last_gain_is_corrected_over_sites() -> None:
    own = store({"vision.0": 2.0, "llm.0": 0.0})
    result = sample_size(own, fractions=(0.25, 1.0), draws=2, folds=4, progress=False, **OPTIONS)
    curve = result.curve("vision.0")
    assert [row["fraction"] for row in curve] == [0.25, 1.0] and curve[1]["references"] == 15
    assert curve[0]["gain"] is None and curve[1]["gain"] == pytest.approx(curve[1]["score"] - curve[0]["score"])
    last = {row["site"]: row for row in result.last}
    assert set(last) == {"vision.0", "llm.0"} and last["vision.0"]["gain"] == curve[1]["gain"]
    assert not last["llm.0"]["limited"] and last["vision.0"]["limited"] == (last["vision.0"]["p_holm"] < 0.05)
    assert sample_size(own, fractions=(1.0,), folds=4, progress=False, **OPTIONS).last == []
