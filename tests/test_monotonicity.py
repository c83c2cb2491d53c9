"""Scores against severity within references: by hand, against scipy, and where there is nothing to order."""

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.monotonicity import Monotonicity, monotonicity
from probes.intervals import group_bootstrap, holm, paired_difference
from stimuli.errors import InputError

Columns = tuple[np.ndarray, list[str | None], np.ndarray, list[str]]


def ladders(references: int = 8, types: tuple[str, ...] = ("blur", "noise"), levels: int = 5, clean: bool = True) -> Columns:
    """Scores that mostly fall with severity."""
    rng = np.random.default_rng(0)
    columns: list[tuple[str | None, float, str]] = []
    for reference in range(references):
        for kind in ((None,) if clean else ()) + types:
            for level in range(levels if kind else 1):
                columns.append((kind, level + rng.random() if kind else np.nan, f"I{reference}"))
    kinds, names = [kind for kind, _, _ in columns], [name for _, _, name in columns]
    x = np.array([depth for _, depth, _ in columns])
    return -np.nan_to_num(x) + rng.normal(size=len(x)), kinds, x, names


def tiny(scores: list[float], severity: list[float], types: list[str | None] | None = None) -> dict[str, Any]:
    """The row of one type; the same ladder in two references."""
    kinds = types or ["blur"] * len(scores)
    found = monotonicity(np.array(scores * 2), kinds * 2, np.array(severity * 2), ["a"] * len(scores) + ["b"] * len(scores), 20)
    return dict(found.table[0])


def test_perfect_reversed_and_constant_scorers() -> None:
    falling, rising = tiny([4, 3, 2, 1], [1, 2, 3, 4]), tiny([1, 2, 3, 4], [1, 2, 3, 4])
    assert (falling["tau"], falling["violations"], falling["ties"]) == (-1, 0, 0)
    assert (rising["tau"], rising["violations"], rising["ties"]) == (1, 1, 0)
    constant = tiny([2, 2, 2, 2], [1, 2, 3, 4])
    assert (constant["tau"], constant["violations"], constant["ties"], constant["p"]) == (0, 0, 1, 1)


def test_one_swap_by_hand() -> None:
    row = tiny([5, 3, 4, 1], [1, 2, 3, 4])
    assert row["tau"] == pytest.approx((1 - 5) / 6), "one of six pairs rises"
    assert row["violations"] == pytest.approx(1 / 3), "one of three neighbours rises"
    assert row["n"] == 8 and row["references"] == 2


def test_severity_orders_not_the_place() -> None:
    assert tiny([1, 4, 2, 3], [9, -1, 5, 2])["tau"] == -1


def test_equal_severity_is_no_pair() -> None:
    row = tiny([5, 1, 4, 3], [1, 2, 2, 3])
    assert row["tau"] == pytest.approx((1 - 4) / 5)
    assert row["violations"] == pytest.approx(1 / 4), "both images in the middle are neighbours of both ends"


def test_clean_original_is_the_least_severe() -> None:
    kinds: list[str | None] = [None, "blur", "blur", "blur"]
    row = tiny([2, 3, 2.5, 1], [np.nan, 1, 2, 3], kinds)
    assert (row["tau"], row["violations"]) == (-1, 0), "it is not among the distorted ones"
    assert row["violations_with_clean"] == pytest.approx(1 / 3)
    assert row["n"] == 6
    assert tiny([3, 2, 1], [1, 2, 3])["violations_with_clean"] is None, "no clean original, no share"


def test_identity_and_clean_are_equally_severe() -> None:
    row = tiny([5, 1, 3, 2], [np.nan, -np.inf, 1, 2], [None, "shift", "shift", "shift"])
    assert row["tau"] == pytest.approx((2 - 1) / 3)
    assert row["violations"] == pytest.approx(1 / 2)
    assert row["violations_with_clean"] == pytest.approx(1 / 3), "clean to 3, identity to 3, 3 to 2"


def test_unparsed_is_counted_apart() -> None:
    row = tiny([4, np.nan, 3, 2], [1, 2, 3, 4])
    assert row["tau"] == -1
    assert (row["violations"], row["ties"], row["unparsed"]) == pytest.approx((0, 0, 2 / 3))
    found = monotonicity(np.array([4, np.nan, 3, 2] * 2), ["blur"] * 8, np.array([1, 2, 3, np.nan] * 2), list("aaaabbbb"), 20)
    assert (found.n, found.without_score, found.without_severity) == (8, 2, 2)
    assert found.table[0]["n"] == 6
    nothing = monotonicity(np.full(8, np.nan), ["blur"] * 8, np.arange(8.0), list("aaaabbbb"), 20).table[0]
    assert (nothing["tau"], nothing["p"], nothing["unparsed"]) == (None, None, 1)


def test_tau_is_scipys_where_scores_do_not_tie_and_somers_d_where_they_do() -> None:
    scores, kinds, severity, names = ladders(clean=False)
    for own, reference in ((scores, stats.kendalltau), (np.round(scores), lambda x, y: stats.somersd(x, y).statistic)):
        found = monotonicity(own, kinds, severity, names, 20)
        for row in found.table:
            taus = []
            for name in sorted(set(names)):
                rows = [i for i in range(len(kinds)) if kinds[i] == row["type"] and names[i] == name]
                value = reference(severity[rows], own[rows])
                taus.append(float(getattr(value, "statistic", value)))
            assert row["tau"] == pytest.approx(np.mean(taus))
            assert -1 <= row["tau_low"] < row["tau"] < row["tau_high"] <= 1


def brute(
    scores: np.ndarray, kinds: list[str | None], severity: np.ndarray, names: list[str], kind: str
) -> tuple[list[float], list[str]]:
    """Whether each pair of neighbours rises, and its reference, clean images included."""
    rises: list[float] = []
    own: list[str] = []
    for name in dict.fromkeys(names):
        rows = [i for i in range(len(kinds)) if names[i] == name and kinds[i] in (kind, None)]
        depth = {i: -np.inf if kinds[i] is None else severity[i] for i in rows}
        for i, j in combinations(sorted(rows, key=lambda i: depth[i]), 2):
            if depth[i] < depth[j] and not any(depth[i] < depth[k] < depth[j] for k in rows):
                rises.append(float(scores[j] > scores[i]))
                own.append(name)
    return rises, own


def test_shares_and_intervals_agree_with_a_loop_over_pairs() -> None:
    scores, kinds, severity, names = ladders()
    found = monotonicity(scores, kinds, severity, names, 50, 7)
    for row in found.table:
        rises, own = brute(scores, kinds, severity, names, row["type"])
        expected = group_bootstrap(np.array(rises), own, 50, 7)
        got = tuple(row[f"violations_with_clean{end}"] for end in ("", "_low", "_high"))
        assert got == pytest.approx((expected.value, expected.low, expected.high))


def test_p_is_that_of_the_mean_tau_and_adjusted_over_types() -> None:
    scores, kinds, severity, names = ladders(types=("blur", "noise", "none"))
    scores = np.where(np.array([kind == "none" for kind in kinds]), np.random.default_rng(5).normal(size=len(scores)), scores)
    found = monotonicity(scores, kinds, severity, names, 200)
    p = [row["p"] for row in found.table]
    assert [row["type"] for row in found.table] == ["blur", "noise", "none"]
    assert [row["p_holm"] for row in found.table] == pytest.approx(holm(p))
    assert p[0] == p[1] == pytest.approx(2 / 201) and p[2] > 0.05
    blur = [
        stats.kendalltau(
            *(
                np.array([c[i] for i in range(len(kinds)) if kinds[i] == "blur" and names[i] == name])
                for c in (severity, scores)
            )
        )[0]
        for name in dict.fromkeys(names)
    ]
    assert p[0] == paired_difference(np.zeros(8), np.array(blur), list(dict.fromkeys(names)), 200).p


def test_all_types_together_is_the_mean_over_ladders() -> None:
    found = monotonicity(*ladders(), 30)
    assert found.overall["tau"] == pytest.approx(np.mean([row["tau"] for row in found.table]))
    assert (found.overall["n"], found.overall["references"], found.n) == (80, 8, 88)
    assert found.overall["tau_high"] - found.overall["tau_low"] < max(row["tau_high"] - row["tau_low"] for row in found.table)


def test_one_reference_of_a_type_has_no_interval() -> None:
    scores, kinds, severity, names = ladders()
    kinds = ["rare" if kind == "noise" and name == "I3" else kind for kind, name in zip(kinds, names, strict=True)]
    rare = next(row for row in monotonicity(scores, kinds, severity, names, 30).table if row["type"] == "rare")
    assert rare["tau"] < 0 and [rare[key] for key in ("tau_low", "tau_high", "violations_low", "p", "p_holm")] == [None] * 5


def test_dictionary_is_plain() -> None:
    found = monotonicity(*ladders(), 30)
    assert isinstance(found, Monotonicity)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["table"] == found.table and plain["overall"]["type"] == "all" and plain["n_boot"] == 30


def test_nothing_to_order_is_refused() -> None:
    with pytest.raises(InputError, match="No two of the 2 images differ in severity alone.*Show more levels"):
        monotonicity(np.array([1.0, 2.0]), ["blur", "noise"], np.array([1.0, 2.0]), ["a", "a"])
    with pytest.raises(InputError, match=r"shapes \(2,\), \(2,\), \(2,\), \(1,\)"):
        monotonicity(np.array([1.0, 2.0]), ["blur", "blur"], np.array([1.0, 2.0]), ["a"])
