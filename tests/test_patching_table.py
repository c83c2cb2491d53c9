"""Effects and recoveries are what they say, with intervals over references, guards and controls."""

import numpy as np
import pytest

from analysis.patching_table import Resampling, corrected, exchange_row, ratio
from probes.intervals import least_p, resampled_rows

HOW = Resampling(400, 3)
GROUPS = np.repeat([f"r{i}" for i in range(8)], 3)


def values(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    receiver = rng.uniform(0.05, 0.2, len(GROUPS))
    return receiver, receiver + rng.uniform(0.4, 0.7, len(GROUPS))


@pytest.mark.parametrize("share", [-0.2, 0.0, 0.35, 1.0, 1.3])
@pytest.mark.parametrize("forward", [True, False])
def test_recovery_is_the_share_of_the_way_from_receiver_to_donor(share: float, forward: bool) -> None:
    low, high = values()
    receiver, donor = (low, high) if forward else (high, low)
    row = exchange_row(receiver, donor, receiver + share * (donor - receiver), None, GROUPS, HOW)
    assert [row[name] for name in ("recovery", "recovery_low", "recovery_high")] == pytest.approx([share] * 3, abs=1e-12)
    assert row["effect"] == pytest.approx(share * float((donor - receiver).mean()))
    published = (row["patched"] - low.mean()) / (high.mean() - low.mean())
    assert row["recovery"] == pytest.approx(published if forward else 1 - published)
    assert row["n"] == 24 and row["references"] == 8 and row["control"] is None and row["beyond_p"] is None


def test_the_interval_is_that_of_the_ratio_of_means_over_resampled_references() -> None:
    receiver, donor = values()
    part, whole = np.random.default_rng(5).normal(0.2, 0.3, len(GROUPS)), donor - receiver
    draws = [part[rows].mean() / whole[rows].mean() for rows in resampled_rows(GROUPS, HOW.n_boot, HOW.seed)]
    found = ratio(part, whole, GROUPS, HOW)
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())
    assert found.value == pytest.approx(part.mean() / whole.mean()) and found.low < found.value < found.high


def test_where_donor_and_receiver_answer_alike_there_is_no_recovery() -> None:
    receiver, _ = values()
    donor = receiver + np.random.default_rng(1).normal(0, 0.05, len(receiver))
    row = exchange_row(receiver, donor, receiver + 0.1, receiver, GROUPS, HOW)
    assert row["recovery"] is None and row["recovery_control"] is None
    assert "answer alike" in row["reason"] and row["effect"] == pytest.approx(0.1) and row["beyond"] == pytest.approx(0.1)
    clear = exchange_row(receiver, receiver - 0.1, receiver - 0.05, None, GROUPS, HOW)
    assert clear["recovery"] == pytest.approx(0.5) and clear["reason"] is None


def test_the_control_is_paired_and_taken_where_there_is_one() -> None:
    receiver, donor = values()
    control = receiver + 0.05
    control[:3] = np.nan
    patched = receiver + np.random.default_rng(2).normal(0.3, 0.02, len(receiver))
    row = exchange_row(receiver, donor, patched, control, GROUPS, HOW)
    assert row["beyond"] == pytest.approx(float((patched - control)[3:].mean())) and row["beyond_low"] > 0.2
    assert row["effect_control"] == pytest.approx(0.05)
    assert row["recovery_control"] == pytest.approx(0.05 / float((donor - receiver)[3:].mean()))


def test_pairs_without_such_tokens_do_not_count() -> None:
    receiver, donor = values()
    patched = donor.copy()
    patched[3:] = np.nan
    row = exchange_row(receiver, donor, patched, None, GROUPS, HOW)
    assert row["recovery"] is None and row["n"] == 3 and "1 references have such tokens" in row["reason"]
    patched[3:9] = donor[3:9]
    row = exchange_row(receiver, donor, patched, None, GROUPS, HOW)
    assert row["n"] == 9 and row["references"] == 3 and row["recovery"] == pytest.approx(1)
    assert row["receiver"] == pytest.approx(receiver[:9].mean())


def test_few_references_give_no_small_p() -> None:
    receiver, donor = values()
    few = exchange_row(receiver[:9], donor[:9], donor[:9], receiver[:9], GROUPS[:9], HOW)
    many = exchange_row(receiver, donor, donor, receiver, GROUPS, HOW)
    assert few["p"] == few["beyond_p"] == least_p(3) == 0.25 and many["p"] == least_p(8) == 2**-7


def test_correction_is_over_the_rows_of_a_direction() -> None:
    rows = [{"direction": d, "p": p, "beyond_p": b} for d, p, b in
            (("forward", 0.01, 0.02), ("forward", 0.04, None), ("reverse", 0.03, 0.5))]  # fmt: skip
    found = corrected(rows)
    assert [row["p_holm"] for row in found] == pytest.approx([0.02, 0.04, 0.03])
    assert [row["beyond_p_holm"] for row in found] == [0.02, None, 0.5] and "p_holm" not in rows[0]
