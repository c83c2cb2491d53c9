"""Held-out types, datasets and severities: never trained on, and the drop is found where it was planted."""

import numpy as np
import pytest

from probes.transfer import evaluate, leave_one_out, severity_shift, transfer
from stimuli.errors import InputError

KINDS = ["clean", "gaussian-blur", "lens-blur", "white-noise", "impulse-noise", "jpeg"]
CLASS = dict(zip(KINDS, ["clean", "blur", "blur", "noise", "noise", "compression"], strict=True))
REFERENCES = 16
BY = np.tile(KINDS, REFERENCES)
LABELS = np.array([CLASS[kind] for kind in BY])
GROUPS = np.repeat(np.arange(REFERENCES), len(KINDS))


def features(alone: str | None = None, seed: int = 0) -> np.ndarray:
    """Rows that show their class, but for one type that shows a direction of its own and points to no class."""
    rng = np.random.default_rng(seed)
    directions = {name: 3 * row for name, row in zip([*sorted(set(LABELS)), "alone"], rng.normal(size=(5, 10)), strict=True)}
    shown = np.stack([directions["alone" if kind == alone else CLASS[kind]] for kind in BY])
    return shown + 0.5 * rng.normal(size=(REFERENCES, 10))[GROUPS] + 0.5 * rng.normal(size=shown.shape)


def test_neither_the_type_nor_the_reference_that_is_tested_is_trained_on() -> None:
    split = leave_one_out(LABELS, GROUPS, BY, 4, 1)
    assert split.names == ("gaussian-blur", "impulse-noise", "lens-blur", "white-noise")
    for part in split.parts:
        assert set(BY[part.test]) == {part.name} and part.name not in BY[part.train]
        assert set(BY[part.common]) == {"clean"} and "clean" in BY[part.train]
        assert not set(GROUPS[part.train]) & set(GROUPS[np.concatenate([part.test, part.common])])
    for name in split.names:
        tested = np.concatenate([part.test for part in split.parts if part.name == name])
        assert sorted(tested) == np.flatnonzero(BY == name).tolist(), "each row of the type is tested once"


def test_a_type_alone_in_its_class_is_left_out_and_told() -> None:
    split = leave_one_out(LABELS, GROUPS, BY, 4)
    assert "jpeg" not in split.names
    assert [(row["held_out"], row["class"], row["stimuli"]) for row in split.left_out] == [("jpeg", "compression", REFERENCES)]
    assert "no other training rows of this class" in split.left_out[0]["why"]


def test_the_drop_is_found_for_the_type_that_looks_unlike_its_class_and_not_for_its_like() -> None:
    rows = {
        r["held_out"]: r for r in transfer(features("lens-blur"), LABELS, GROUPS, BY, folds=4, penalties=(1.0,), n_boot=200)
    }
    planted, like = rows["lens-blur"], rows["white-noise"]
    assert planted["inside"] > 0.9 and planted["score"] < 0.3 and planted["change_high"] < 0 and planted["p_holm"] < 0.1
    assert planted["change"] == pytest.approx(planted["score"] - planted["inside"])
    assert like["score"] > 0.9 and like["change_low"] <= 0 <= like["change_high"]
    assert like["detection"] > 0.9
    assert like["n"] == like["references"] == REFERENCES
    assert like["train"] == pytest.approx(like["train_inside"] * 5 / 6)


def test_score_of_one_type_is_its_recall_and_detection_counts_clean_rows() -> None:
    from probes.linear import fit_predict

    values = features("lens-blur", 2) + 2.5 * np.random.default_rng(9).normal(size=(len(BY), 10))
    split = leave_one_out(LABELS, GROUPS, BY, 4, 0)
    rows = {row["held_out"]: row for row in evaluate(values, LABELS, GROUPS, split, penalties=(1.0,), n_boot=50)}
    hits, called, clean = [], [], []
    for part in split.parts:
        if part.name == "lens-blur":
            both = [(part.train, np.concatenate([part.test, part.common]))]
            predicted = fit_predict(values, LABELS, GROUPS, both, penalties=(1.0,)).predicted
            hits += (predicted[part.test] == "blur").tolist()
            called += (predicted[part.test] != "clean").tolist()
            clean += (predicted[part.common] == "clean").tolist()
    assert len(hits) == len(clean) == REFERENCES
    assert 0 < np.mean(hits) < 1 and 0 < np.mean(clean) < 1
    assert rows["lens-blur"]["score"] == pytest.approx(np.mean(hits))
    assert rows["lens-blur"]["detection"] == pytest.approx((np.mean(called) + np.mean(clean)) / 2)


def test_a_dataset_is_held_out_by_references_of_the_others() -> None:
    source = np.where(GROUPS < 8, "kadid10k", "tid2013")
    split = leave_one_out(LABELS, GROUPS, source, 4)
    assert split.names == ("kadid10k", "tid2013") and not split.left_out
    for part in split.parts:
        assert set(source[part.test]) == {part.name} and set(source[part.train]) == set(split.names) - {part.name}
        assert not len(part.common)
    rows = evaluate(features(), LABELS, GROUPS, split, penalties=(1.0,), n_boot=50)
    assert [row["held_out"] for row in rows] == ["kadid10k", "tid2013"]
    assert all(row["score"] > 0.9 and np.isnan(row["detection"]) for row in rows)


LEVEL = np.where(BY == "clean", np.nan, np.tile(np.arange(6), REFERENCES) + 10 * (LABELS == "noise") + GROUPS % 2 * 0.5)


def test_low_is_trained_on_and_high_is_tested_by_the_median_of_each_class() -> None:
    split = severity_shift(LABELS, GROUPS, LEVEL, 4)
    for part in split.parts:
        assert part.name == "high from low"
        for label in ("blur", "noise", "compression"):
            own = LEVEL[part.test][LABELS[part.test] == label]
            assert len(own) and own.min() > LEVEL[part.train][LABELS[part.train] == label].max()
        assert set(LABELS[part.common]) == {"clean"} and "clean" in LABELS[part.train]
        assert not set(GROUPS[part.train]) & set(GROUPS[part.test])
    back = severity_shift(LABELS, GROUPS, LEVEL, 4, reverse=True)
    assert back.names == ("low from high",)
    tested = [np.concatenate([part.test for part in own.parts]) for own in (split, back)]
    assert sorted([*tested[0], *tested[1]]) == np.flatnonzero(BY != "clean").tolist(), "every distorted row is low or high"


def test_thresholds_leave_the_middle_out_and_a_class_without_low_rows_is_told() -> None:
    split = severity_shift(LABELS, GROUPS, LEVEL, 4, thresholds=(1.5, 2.5))
    for part in split.parts:
        assert np.nanmax(LEVEL[part.train]) <= 1.5 and LEVEL[part.test].min() >= 2.5
        assert set(LABELS[part.test]) == {"blur"}
    assert {row["class"]: row["stimuli"] for row in split.left_out} == {"compression": REFERENCES, "noise": 2 * REFERENCES}


def test_a_shift_that_hurts_is_measured() -> None:
    """Classes are told by the sign of a feature at low severity, and by the opposite sign at high."""
    rng = np.random.default_rng(0)
    labels, groups, level = np.tile(["a", "a", "b", "b"], 12), np.repeat(np.arange(12), 4), np.tile([1.0, 2.0], 24)
    sign = np.where(labels == "a", 1, -1) * np.where(level == 1, 1, -1)
    other = np.where(labels == "a", 1, -1) * np.where(level == 1, 0, 6)
    values = np.stack([3 * sign, other], 1) + rng.normal(size=(48, 2)) * [0.1, 1]
    (row,) = evaluate(values, labels, groups, severity_shift(labels, groups, level, 4), penalties=(1.0,), n_boot=100)
    assert row["score"] < 0.1 and row["inside"] > 0.9 and row["change_high"] < -0.5


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match="Leaving one out needs at least 2 kinds, got kadid10k. Give a column"):
        leave_one_out(LABELS, GROUPS, ["kadid10k", None] * (len(LABELS) // 2))
    with pytest.raises(InputError, match="Nothing can be tested: no held-out row has a class that is also in training"):
        leave_one_out(LABELS, GROUPS, LABELS)
    with pytest.raises(InputError, match="Got 96 labels, 96 references and 95 kinds. Expected one of each per row"):
        leave_one_out(LABELS, GROUPS, BY[:-1])
    with pytest.raises(InputError, match=r"Got the thresholds \(3, 2\). Expected the low one to be below the high one"):
        severity_shift(LABELS, GROUPS, LEVEL, thresholds=(3, 2))


def test_a_kind_on_a_single_reference_is_left_out() -> None:
    by = BY.copy()
    by[(by == "lens-blur") & (GROUPS > 0)] = "gaussian-blur"
    split = leave_one_out(LABELS, GROUPS, by, 4)
    assert "lens-blur" not in split.names
    assert ("lens-blur", "fewer than two references to test") in [(row["held_out"], row["why"]) for row in split.left_out]


def test_rows_at_the_median_are_low() -> None:
    level = np.where(BY == "clean", np.nan, np.array([1.0, 3.0, 5.0])[GROUPS % 3])
    for part in severity_shift(LABELS, GROUPS, level, 4).parts:
        assert set(level[part.test]) <= {5.0} and np.nanmax(level[part.train]) == 3.0
    for part in severity_shift(LABELS, GROUPS, level, 4, reverse=True).parts:
        assert set(level[part.test]) <= {1.0, 3.0} and np.nanmin(level[part.train]) == 5.0


def test_a_probe_of_a_single_class_is_no_probe() -> None:
    by, labels = np.tile(["mixed", "mixed", "pure"], 8), np.tile(["a", "b", "a"], 8)
    split = leave_one_out(labels, np.repeat(np.arange(8), 3), by, 4)
    assert split.names == ("pure",)
    assert [(row["held_out"], row["class"], row["stimuli"]) for row in split.left_out] == [("mixed", "a", 8), ("mixed", "b", 8)]
