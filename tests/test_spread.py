"""Repeated levels and scores: flips by hand, the published ICC, Thurstone's order by brute force."""

import json
from math import erf, sqrt

import numpy as np
import pytest

from analysis.agreement import agreement
from analysis.spread import LEVELS, _pairs, flips, preferences, spread
from probes.intervals import resampled_rows
from stimuli.errors import InputError

NAN = float("nan")
FIVE = np.array([
    [5, 5, 5],
    [4, 5, 4],
    [3, 4, 2],
    [4, NAN, 1],
    [2, NAN, NAN],
])  # fmt: skip
GROUPS = np.array(["r1", "r1", "r2", "r2", "r3"])
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Shrout and Fleiss 1979, table 2: 6 targets, 4 judges."""


def sampled(seed: int, n: int = 40, m: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Scores with a tenth unparsed, and their references."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(3, 1, (n, 1)) + rng.normal(0, 0.5, (n, m))
    scores[rng.random((n, m)) < 0.1] = np.nan
    return scores, np.arange(n) // 4


def anova(scores: np.ndarray) -> tuple[float, float]:
    """Standard deviation of image means and ICC(1,1), score by score."""
    rows = [row[np.isfinite(row)] for row in scores]
    sizes, everything = np.array([len(row) for row in rows]), np.concatenate(rows)
    above = sum(len(row) * (row.mean() - everything.mean()) ** 2 for row in rows) / (len(rows) - 1)
    below = sum(((row - row.mean()) ** 2).sum() for row in rows) / (len(everything) - len(rows))
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(rows) - 1)
    return float(np.std([row.mean() for row in rows], ddof=1)), float((above - below) / (above + (size - 1) * below))


def test_flips_by_hand() -> None:
    found = flips(FIVE, GROUPS)
    values = {name: round(getattr(found, name).value, 6) for name in ("unstable", "unstable_or_unparsed", "crossing", "jumps")}
    assert values == {"unstable": 0.75, "unstable_or_unparsed": 0.8, "crossing": 0.5, "jumps": 0.5}
    assert found.differing_pairs.value == pytest.approx((0 + 2 / 3 + 1 + 1) / 4)
    assert found.unparsed.value == pytest.approx(3 / 15)
    assert (found.images, found.references, found.times, found.left_out) == (5, 3, 3, 1)


def test_transitions_count_from_the_first_level_to_each_later_one() -> None:
    counts = np.array(flips(FIVE, GROUPS).transitions)
    where = {(LEVELS[i], LEVELS[j]): int(counts[i, j]) for i, j in np.argwhere(counts)}
    assert where == {("excellent", "excellent"): 2, ("good", "excellent"): 1, ("good", "good"): 1, ("fair", "good"): 1,
                     ("fair", "poor"): 1, ("good", "bad"): 1}  # fmt: skip


def test_the_boundary_can_be_moved() -> None:
    wide = np.array([[3, 1, 1], [4, 3, 3], [3, 2, 2], [5, 5, 4]])
    assert flips(wide, np.arange(4)).crossing.value == 0, "fair is on neither side"
    assert flips(wide, np.arange(4), ((3, 4, 5), (1, 2))).crossing.value == 0.5
    assert flips(wide, np.arange(4), ((5,), (4,))).crossing.value == 0.25


def test_flips_agree_with_the_agreement_of_the_same_answers() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 6, (50, 3)).astype(float)
    whole = flips(levels, np.arange(50) // 5)
    words = agreement(np.array(LEVELS)[levels.astype(int) - 1], np.arange(50) // 5)
    assert whole.differing_pairs.value == pytest.approx(1 - words.pairwise.value)
    assert whole.differing_pairs.low == pytest.approx(1 - words.pairwise.high)
    levels[rng.random((50, 3)) < 0.4] = np.nan
    said = np.array([["unparsed" if np.isnan(v) else LEVELS[int(v) - 1] for v in row] for row in levels])
    holed, words = flips(levels, np.arange(50) // 5), agreement(said, np.arange(50) // 5)
    assert np.isnan(levels).all(1).any(), "also where nothing at all could be read"
    assert holed.unstable_or_unparsed.value == pytest.approx(1 - words.unanimous.value)
    assert holed.unparsed.value == pytest.approx(words.unparsed.value)


def test_flips_have_intervals_over_references() -> None:
    levels = np.random.default_rng(1).integers(2, 5, (40, 3))
    found = flips(levels, np.arange(40) // 8, n_boot=50, seed=1)
    drawn = [np.mean(np.ptp(levels[rows], axis=1) >= 2) for rows in resampled_rows(np.arange(40) // 8, 50, 1)]
    assert [found.jumps.low, found.jumps.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_icc_is_the_published_one() -> None:
    found = spread(JUDGES, np.arange(6))
    assert found.icc.value == pytest.approx(0.166, abs=5e-4)
    assert found.within.value == pytest.approx(np.std(JUDGES, axis=1, ddof=1).mean())
    assert found.between.value == pytest.approx(np.std(JUDGES.mean(1), ddof=1))
    assert found.relative.value == pytest.approx(found.within.value / found.between.value)
    assert found.range.value == pytest.approx((7 + 5 + 4 + 6 + 5 + 5) / 6)
    assert (found.pairs, found.all_pairs, found.left_out, found.unparsed.value) == (15, 15, 0, 0)


def test_scores_that_are_missing_are_left_out_and_counted() -> None:
    scores, groups = sampled(2)
    scores[0, 1:], scores[1] = np.nan, np.nan
    found, kept = spread(scores, groups), np.isfinite(scores).sum(1) > 1
    assert found.left_out == (~kept).sum() >= 2 and found.unparsed.value == pytest.approx(np.isnan(scores).mean())
    assert (found.between.value, found.icc.value) == pytest.approx(anova(scores[kept]))
    assert found.within.value == pytest.approx(np.nanstd(scores[kept], axis=1, ddof=1).mean())
    assert [row["scores"] for row in found.table] == np.isfinite(scores).sum(1).tolist()
    assert np.isnan(found.table[0]["mean"]) and np.isnan(found.table[1]["sd"])
    last = scores[-1][np.isfinite(scores[-1])]
    assert [found.table[-1][name] for name in ("mean", "sd", "range")] == pytest.approx(
        [last.mean(), last.std(ddof=1), np.ptp(last)]
    )


def test_spread_is_computed_anew_on_resamples_of_references() -> None:
    scores, groups = sampled(3)
    found = spread(scores, groups, n_boot=60, seed=5)
    drawn = np.array([anova(scores[rows]) for rows in resampled_rows(groups, 60, 5)])
    assert [found.between.low, found.between.high] == pytest.approx(np.quantile(drawn[:, 0], [0.025, 0.975]))
    assert [found.icc.low, found.icc.high] == pytest.approx(np.quantile(drawn[:, 1], [0.025, 0.975]))


def test_order_is_thurstones_over_all_pairs() -> None:
    scores = np.array([[4.0, 4.0], [1.0, 3.0], [4.0, 4.002], [2.5, 3.5]])
    means, variances = [4.0, 2.0, 4.001, 3.0], [0.0, 2.0, 2e-6, 0.5]
    chances = []
    for i in range(4):
        for j in range(i):
            z = (means[i] - means[j]) / sqrt(variances[i] + variances[j] + 1e-6)
            chances.append((1 + erf(z / sqrt(2))) / 2)
    found = spread(scores, np.arange(4))
    assert found.sureness.value == pytest.approx(np.mean([abs(2 * p - 1) for p in chances]), abs=1e-6)
    assert found.unsettled.value == pytest.approx(np.mean([0.25 <= p <= 0.75 for p in chances]))
    assert 0 < found.unsettled.value < 1


def test_preference_is_even_between_equals_and_turns_with_the_order() -> None:
    means, variances = np.array([3.0, 3.0, 4.0]), np.array([0.0, 0.2, 0.3])
    there, back = (preferences(means, variances, np.array(a), np.array(b)) for a, b in (([0, 1], [1, 2]), ([1, 2], [0, 1])))
    assert there[0] == 0.5 and there + back == pytest.approx([1, 1]) and there[1] < 0.25


def test_pairs_are_all_or_a_random_part_of_them_without_repetition() -> None:
    first, second = _pairs(30, 1000, 0)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(i, j) for i in range(30) for j in range(i + 1, 30)]
    assert len({*zip(*_pairs(100, 4000, 0), strict=True)}) == 4000
    first, second = _pairs(5000, 400, 0)
    assert (first >= 0).all() and (first < second).all() and (second < 5000).all()
    assert 0.2 < np.mean(first) / 5000 < 0.45 < np.mean(second) / 5000 < 0.8, "over the whole range: a third, two thirds"
    assert (_pairs(5000, 400, 1)[0] != first).any()


def test_a_part_of_the_pairs_tells_what_all_tell() -> None:
    scores, groups = sampled(4, 300)
    every, part = spread(scores, groups, 20), spread(scores, groups, 20, most_pairs=4000)
    n = 300 - every.left_out
    assert (every.pairs, part.pairs, part.all_pairs) == (n * (n - 1) / 2, 4000, every.pairs)
    assert part.sureness.value == pytest.approx(every.sureness.value, abs=0.03)
    assert part.unsettled.value == pytest.approx(every.unsettled.value, abs=0.03)


def test_one_score_for_all_has_no_spread_and_no_order() -> None:
    scores = np.full((6, 3), 0.1)  # (0.1 + 0.1 + 0.1) / 3 is not 0.1
    scores[1, 1] = np.nan
    found = spread(scores, np.arange(6) // 2)
    assert found.within.value == found.between.value == found.sureness.value == 0 and found.unsettled.value == 1
    assert np.isnan(found.relative.value) and np.isnan(found.icc.value)


def test_results_are_plain() -> None:
    scores, groups = sampled(5)
    plain = json.loads(json.dumps(spread(scores, groups).as_dict(), allow_nan=False))
    assert "table" not in plain and set(plain["icc"]) == {"value", "low", "high"}
    plain = json.loads(json.dumps(flips(FIVE, GROUPS).as_dict(), allow_nan=False))
    assert plain["levels"] == list(LEVELS) and np.shape(plain["transitions"]) == (5, 5)


def test_refusals_are_in_words() -> None:
    with pytest.raises(InputError, match=r"Got the level 2.5. Expected integers from 1 \(bad\) to 5 \(excellent\)"):
        flips([[1, 2.5], [1, 2]], np.arange(2))
    with pytest.raises(InputError, match="Got the level 0. Expected integers"):
        flips([[1, 0], [1, 2]], np.arange(2))
    for boundary in (((4, 5), (2, 4)), ((4, 5), ()), ((5, 6), (1,)), ((5,), (3,), (1,))):
        with pytest.raises(InputError, match="Expected two sets of levels from 1 to 5 that share none"):
            flips(FIVE, GROUPS, boundary)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Got 1 of the scores per image. Expected at least 2"):
        spread(np.ones((4, 1)), np.arange(4))
    with pytest.raises(InputError, match="No image has two scores that could be read"):
        spread(np.full((4, 3), NAN), np.arange(4))
    with pytest.raises(InputError, match="Only 1 image has two scores that could be read. Expected at least 2 images"):
        spread([[1, 2], [1, NAN], [NAN, NAN]], np.arange(3))
