"""The online code: bits by hand, blocks of whole references, never infinite, cheap where labels are easy to learn."""

from typing import Any

import numpy as np
import pytest

from probes.information import FRACTIONS, block_starts, description_length, online_code, surprisal
from probes.linear import fit_predict
from stimuli.errors import InputError
from tests.test_sweep import store

GROUPS = np.repeat(np.arange(12), 8)
LABELS = np.tile(list("aabbccdd"), 12)
KIND = np.unique(LABELS, return_inverse=True)[1]
FEW: dict[str, Any] = {"fractions": (0.1, 0.5, 1.0), "orders": 2, "penalties": [10.0]}


def planted(strength: float, d: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(96, d)) + strength * rng.normal(size=(4, d))[KIND]


def test_the_fractions_are_those_published() -> None:
    assert FRACTIONS == (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
    assert block_starts(1000) == (0, 1, 2, 4, 8, 16, 32, 63, 125, 250, 500)
    assert block_starts(12) == (0, 1, 2, 3, 6)  # those that mean the same number of references are one
    assert block_starts(2) == (0, 1)


@pytest.mark.parametrize(("references", "fractions"), [(1, FRACTIONS), (5, ()), (5, (0.0, 1.0)), (5, (0.5, 1.5))])
def test_a_code_without_two_references_or_fractions_is_refused(references: int, fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=f"An online code of {references} references in fractions .*at least 2 references and"):
        block_starts(references, fractions)


def test_surprisal_in_bits_by_hand_and_never_infinite() -> None:
    p = np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    found = surprisal(p, np.array([1, 0, 0]), 0.08)
    np.testing.assert_allclose(found, -np.log2([0.92 * 0.5 + 0.02, 0.94, 0.02]))
    uniform = np.full((1, 8), 1 / 8)
    assert surprisal(uniform, np.array([3]))[0] == pytest.approx(3)  # the floor costs nothing where all is uniform
    for floor in (0.0, 1.0):
        with pytest.raises(InputError, match="expected one above 0 and below 1, so that no label costs infinitely many bits"):
            surprisal(p, np.array([0, 0, 0]), floor)


def test_the_code_is_the_published_sum_over_blocks() -> None:
    values = planted(0.7)
    found = online_code(values, LABELS, GROUPS, **{**FEW, "orders": 1}, seed=3)
    order = np.random.default_rng([3, 55, 0]).permutation(12)[GROUPS]
    expected = 2 * 8 * 2.0  # the first block: two references of eight stimuli, two bits each
    for start, end in ((2, 6), (6, 12)):
        train, test = np.flatnonzero(order < start), np.flatnonzero((order >= start) & (order < end))
        p = fit_predict(values, LABELS, GROUPS, [(train, test)], penalties=[10.0]).probabilities[test]
        expected += float(-np.log2(0.99 * p[np.arange(len(test)), KIND[test]] + 0.0025).sum())
    assert found.starts == (0, 2, 6) and found.uniform == 192
    assert found.total == pytest.approx(expected) and found.compression == pytest.approx(192 / expected)
    assert found.bits.sum() == pytest.approx(found.total)


def test_no_label_is_coded_by_a_probe_that_saw_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[np.ndarray, np.ndarray]] = []

    def spy(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: Any, **options: Any) -> Any:
        calls.extend(folds)
        return fit_predict(values, labels, groups, folds, **options)

    monkeypatch.setattr("probes.information.fit_predict", spy)
    online_code(planted(1), LABELS, GROUPS, orders=2, penalties=[10.0])
    assert len(calls) == 2 * 4  # five blocks; the first needs no probe, and none is fitted to everything
    for train, test in calls:
        assert not set(GROUPS[train]) & set(GROUPS[test]) and len(train) < 96
    for own in (calls[:4], calls[4:]):
        coded = np.concatenate([test for _, test in own])
        assert len(coded) == len(set(coded)) == 88  # all but the first reference, once
        for (train, test), (later, _) in zip(own, own[1:], strict=False):
            assert set(later) == set(train) | set(test)
    assert not np.array_equal(calls[0][0], calls[4][0])


def test_a_signal_compresses_noise_does_not_and_a_clearer_signal_compresses_more() -> None:
    none, some, much = (
        online_code(planted(s, seed=1), LABELS, GROUPS, orders=2, penalties=[10.0, 1000.0]) for s in (0, 0.7, 3)
    )
    assert none.compression < 1.1 < some.compression < much.compression
    assert much.total < 0.4 * much.uniform and none.total > 0.95 * none.uniform


def test_the_code_knows_speed_where_final_accuracy_is_the_same() -> None:
    quick, slow = (
        online_code(np.hstack([planted(3), np.random.default_rng(2).normal(size=(96, d))]), LABELS, GROUPS, penalties=[10.0])
        for d in (1, 150)
    )
    assert quick.total < 0.8 * slow.total


def test_classes_not_met_so_far_and_single_stimuli_cost_finite_bits() -> None:
    one_label_each = np.repeat(list("abcd") * 3, 8)
    found = online_code(planted(1), one_label_each, GROUPS, orders=2, penalties=[10.0, 100.0])
    assert np.isfinite(found.bits).all() and found.bits.max() <= np.log2(4 / 0.01) + 1e-9
    alone = online_code(planted(1)[:8], LABELS[:8], np.arange(8), orders=2)
    assert np.isfinite(alone.bits).all() and alone.starts == (0, 1, 2, 4)


def test_same_seed_same_code_and_orders_differ() -> None:
    a, b, c = (online_code(planted(0.5), LABELS, GROUPS, **FEW, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(a.bits, b.bits) and not np.array_equal(a.bits, c.bits) and a.totals[0] != a.totals[1]


def test_sites_are_compared_by_reference_and_against_shuffled_labels() -> None:
    result = description_length(store({"vision.0": 2.0, "llm.0": 0.0}), n_boot=200, progress=False, **FEW)
    strong, none = result.row("vision.0"), result.row("llm.0")
    assert strong["uniform_bits"] == 320 and strong["n"] == 160 and strong["blocks"] == 3
    assert strong["compression"] == pytest.approx(320 / strong["bits"]) and strong["compression_low"] > 1.3
    assert strong["compression_low"] < strong["compression"] < strong["compression_high"]
    assert strong["saved"] == pytest.approx((strong["control_bits"] - strong["bits"]) / 160)
    assert strong["saved_low"] <= strong["saved"] <= strong["saved_high"] and strong["p"] < 0.05 and strong["p_holm"] < 0.05
    assert abs(none["saved"]) < 0.1 and none["compression"] < 1.05 and strong["control_compression"] < 1.05
    per = result.references("vision.0")
    assert len(per) == 20 and sum(per.values()) == pytest.approx(strong["bits"])
    change = result.compare("vision.0", "llm.0")
    assert change.value == pytest.approx(none["bits_per_stimulus"] - strong["bits_per_stimulus"]) and change.low > 0


def test_numbers_have_no_code() -> None:
    own = store({"vision.0": 1.0})
    with pytest.raises(InputError, match="The target 'size' is of numbers; this comparison is made for classes"):
        description_length(own, "size", labels={id: float(i) for i, id in enumerate(own.ids)}, progress=False)
