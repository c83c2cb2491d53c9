"""Shared resamples: agreement with the plain ones, paired changes, guarded ratios, Holm, what is refused."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from analysis.distance_compared import References, bounds, compare, draws_by_class, widened
from analysis.semantic_distance import Distances
from probes.intervals import balanced_interval, group_bootstrap, holm, paired_difference
from stimuli.errors import InputError

CLASSES = ("blur", "noise", "clean")
N_REFS = 12
GROUPS = np.repeat([f"r{i:02}" for i in range(N_REFS)], 3)
LABELS = np.tile(CLASSES, N_REFS)


def distances(values: Mapping[str, np.ndarray], site: str = "projector", **more: object) -> Distances:
    """Of values that are given."""
    ids = tuple(f"s{i}" for i in range(len(GROUPS)))
    return replace(Distances([], {site: dict(values)}, LABELS, GROUPS, ids, CLASSES), **more)  # type: ignore[arg-type]


def draw(seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    own = rng.normal(size=N_REFS).repeat(3) + rng.normal(size=len(GROUPS))
    return {"centred": 1 + 0.1 * own + shift, "margin": 0.1 * own - shift, "zero_shot": (own > 0).astype(float)}


def test_means_and_intervals_are_those_of_the_plain_bootstrap() -> None:
    values = draw(0)
    found = draws_by_class(values, LABELS, CLASSES, References(GROUPS, 300, 1))
    for label in ("all", "noise"):
        keep = np.ones(len(LABELS), bool) if label == "all" else LABELS == label
        plain = group_bootstrap(values["centred"][keep], GROUPS[keep], 300, 1)
        low, high = bounds(found[label]["centred"][1:, None])
        assert found[label]["centred"][0] == pytest.approx(plain.value)
        assert (low[0], high[0]) == (pytest.approx(plain.low), pytest.approx(plain.high))
    balanced = balanced_interval(values["zero_shot"], LABELS, GROUPS, 300, 1)
    own = found["all"]["zero_shot_balanced"]
    assert own[0] == pytest.approx(balanced.value) and bounds(own[1:, None])[0][0] == pytest.approx(balanced.low)


def test_what_is_not_measured_is_left_out_of_the_mean() -> None:
    values = draw(0)["centred"].copy()
    values[::2] = np.nan
    found = draws_by_class({"centred": values}, LABELS, CLASSES, References(GROUPS, 50, 1))
    assert found["all"]["centred"][0] == pytest.approx(np.nanmean(values))
    assert found["all"]["centred"][1:].std() > 0


def test_changes_are_those_of_the_paired_bootstrap_and_holm_is_over_sites_and_classes() -> None:
    before, after = draw(0), draw(0, 0.05)
    after["centred"] = after["centred"] + 0.02 * np.random.default_rng(3).normal(size=len(GROUPS))
    rows = compare(distances(before), distances(after), 5000, 2)
    row = next(r for r in rows if r["class"] == "all" and r["measure"] == "centred")
    plain = paired_difference(before["centred"], after["centred"], GROUPS, 5000, 2)
    assert (row["change"], row["low"], row["high"], row["p"]) == pytest.approx((plain.value, plain.low, plain.high, plain.p))
    own = [r for r in rows if r["measure"] == "centred"]
    assert len(own) == 4 and [r["p_holm"] for r in own] == pytest.approx(holm([r["p"] for r in own]))


def test_an_adjusted_p_can_be_small_although_few_resamples_were_asked_for() -> None:
    rows = compare(distances(draw(0)), distances(draw(0, 0.5)), 20)
    assert max(r["p_holm"] for r in rows if r["measure"] == "centred") <= 0.021


def test_a_ratio_is_given_where_zero_means_something_and_the_value_before_is_not_zero() -> None:
    before = {"centred": draw(0)["centred"], "cosine": draw(1)["margin"], "margin": draw(2)["margin"]}
    rows = {
        r["measure"]: r
        for r in compare(distances(before), distances({k: v * 0.5 for k, v in before.items()}))
        if r["class"] == "all"
    }
    row = rows["centred"]
    assert row["relative_change"] == pytest.approx(-0.5)
    assert (row["relative_low"], row["relative_high"]) == pytest.approx((-0.5, -0.5))  # of each resample's own value before
    assert rows["cosine"]["relative_change"] is None  # its interval before holds 0
    assert rows["margin"]["relative_change"] is rows["margin"]["relative_low"] is None


def test_a_model_compared_with_itself_has_not_changed() -> None:
    found = distances(draw(0))
    rows = found.compare(found)
    assert rows and all(r["change"] == 0 and r["p"] == r["p_holm"] == 1 for r in rows)


def test_without_a_change_p_is_seldom_small() -> None:
    small = []
    for seed in range(150):
        a, b = ({"margin": draw(2 * seed + i)["margin"]} for i in range(2))
        rows = compare(distances(a), distances(b), 200, seed)
        small.append(next(r["p"] for r in rows if r["class"] == "all") <= 0.05)
    assert (
        np.mean(small) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150) + 0.04
    )  # a percentile bootstrap of 12 references is a little bold


def test_the_spread_that_resamples_do_not_see_is_put_in_and_without_an_estimate_there_is_no_interval() -> None:
    before, after = distances(draw(0)), distances(draw(0, 0.02))
    rng = np.random.default_rng(5)
    noise = [{label: {"centred": scale * rng.normal(size=10)} for label in ("all", *CLASSES)} for scale in (1.0, np.nan)]
    still = [{label: {"centred": np.zeros(10)} for label in ("all", *CLASSES)}] * 2
    plain = compare(before, after)
    seen = compare(replace(before, anew={"projector": still[0]}), replace(after, anew={"projector": noise[0]}))
    none = compare(replace(before, anew={"projector": still[0]}), replace(after, anew={"projector": noise[1]}))
    rows = [next(r for r in table if r["measure"] == "centred") for table in (plain, seen, none)]
    assert rows[0]["change"] == rows[1]["change"] == rows[2]["change"]
    assert rows[2]["low"] is None and rows[2]["p"] is None and "p_holm" not in rows[2]
    assert rows[1]["high"] - rows[1]["low"] >= rows[0]["high"] - rows[0]["low"]
    assert np.allclose(widened(np.array([1.0, 2.0, 0.5]), 2), [1, 3, 0])


def test_models_that_cannot_be_paired_are_refused() -> None:
    found = distances(draw(0))
    other = {
        "over different stimuli": replace(found, ids=tuple(f"t{i}" for i in range(len(GROUPS)))),
        "different classes": replace(found, classes=("a", "b")),
        "of the kind 'contextual'": replace(found, words="contextual"),
        "no site in common": distances(draw(0), "llm.0"),
    }
    for said, after in other.items():
        with pytest.raises(InputError, match=said):
            compare(found, after)


@pytest.mark.heavy
@pytest.mark.parametrize("length", [1, 20])
def test_intervals_cover_the_value_of_the_population(length: float) -> None:
    """30 references of 4 classes; with long words, nearly all the spread of ``whitened`` is that of the covariance."""
    from analysis.distance_measures import MEASURES, factors_of, left_out, measure, measured_anew

    rng = np.random.default_rng(0)
    words, classes, scale = length * rng.normal(size=(4, 24)), list("abcd"), rng.uniform(0.3, 3, 24)
    effect = 0.5 * rng.normal(size=(4, 24)) + 0.25 * words / length
    groups, targets = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    labels = np.array(classes)[targets]
    values, ends = [], []
    for seed in range(200):
        x = (rng.normal(size=(30, 24))[groups] + 0.7 * rng.normal(size=(120, 24))) * scale + effect[targets]
        own, blocks = measure(x, words, targets).values, left_out(groups, seed)
        anew = measured_anew(x, words, targets, labels, classes, MEASURES, blocks)
        by = factors_of(anew, own, labels, classes, blocks)["all"]
        draws = draws_by_class(own, labels, classes, References(groups, 400, seed))["all"]
        values.append([draws[name][0] for name in MEASURES])
        ends.append(bounds(np.stack([widened(draws[name], by[name]) for name in MEASURES], 1)[1:]))
    truth = np.mean(values, 0)
    covered = np.mean([(low <= truth) & (truth <= high) for low, high in ends], 0)
    assert (covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)).all(), dict(zip(MEASURES, covered, strict=True))
