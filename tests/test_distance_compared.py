"""Shared resamples: agreement with the plain ones, paired changes, guarded ratios, Holm, what is refused."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from analysis import distance_compared
from analysis.distance_compared import compare
from analysis.distance_table import References, bounds, draws_by_class, widened
from analysis.distances import Distances
from analysis.token_transport import Tokens
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


def test_measures_of_single_tokens_have_an_interval_from_eight_measured_references_on() -> None:
    values = draw(0)["centred"]
    for n, there in ((7, False), (8, True)):
        some = np.where((np.unique(GROUPS, return_inverse=True)[1] < n) & (LABELS != "noise"), values, np.nan)
        some[GROUPS == "r00"] = np.where(LABELS[GROUPS == "r00"] == "clean", np.nan, some[GROUPS == "r00"])
        own = {"centred": values, "token_centred": some}
        found = draws_by_class(own, LABELS, CLASSES, References(GROUPS, 50, 1))
        has = {label: bool(np.isfinite(draws["token_centred"][1:]).any()) for label, draws in found.items()}
        assert has == {"all": there, "blur": there, "noise": False, "clean": False}
        assert np.isfinite(found["all"]["token_centred"][0]) and np.isfinite(found["noise"]["centred"]).all()
        rows = compare(distances(own), distances({name: own[name] + 1 for name in own}), 50)
        row = next(r for r in rows if (r["class"], r["measure"]) == ("all", "token_centred"))
        assert row["change"] == pytest.approx(1) and ((row["p"] is not None), (row["low"] is not None)) == (there, there)


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


def test_a_ratio_asks_for_the_spread_of_the_value_before_alone() -> None:
    before = {"centred": draw(0)["centred"]}
    after = {"centred": before["centred"] * 0.5}
    spread = {"projector": {label: {"centred": 40.0} for label in ("all", *CLASSES)}}
    found = [
        next(r for r in compare(replace(distances(before), factors=factors), distances(after)) if r["class"] == "all")
        for factors in ({}, spread)
    ]
    assert found[0]["relative_change"] == pytest.approx(-0.5)
    assert found[1]["relative_change"] is None, "with its own spread, the value before may be 0"
    rng = np.random.default_rng(5)
    noise = {"projector": {label: {"centred": 9 * rng.normal(size=10)} for label in ("all", *CLASSES)}}
    still = {"projector": {label: {"centred": np.zeros(10)} for label in ("all", *CLASSES)}}
    row = compare(replace(distances(before), anew=still), replace(distances(after), anew=noise))[0]
    assert row["high"] - row["low"] > 2, "the change's own spread"
    assert row["relative_change"] == pytest.approx(-0.5), "is not the value's before"


def test_rows_say_of_how_many_they_are_and_how_many_resamples_memory_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    values = draw(0)["margin"].copy()
    values[:3] = np.nan
    rows = compare(
        distances({"margin": values, "centred": values}), distances({"margin": values + 1, "centred": draw(1)["centred"]}), 50
    )
    assert {(r["n"], r["references"]) for r in rows if r["class"] == "all"} == {(33, 11)}
    assert {(r["n"], r["references"]) for r in rows if r["class"] == "blur"} == {(11, 11)}
    assert {r["n_boot"] for r in rows} == {400}, "100 for each of four rows"
    monkeypatch.setattr(distance_compared, "MEMORY", 8.0 * N_REFS * 150)
    assert {r["n_boot"] for r in compare(distances(draw(0)), distances(draw(1)), 50)} == {150}


def test_sites_that_hold_the_same_are_tested_once() -> None:
    a, b, c = draw(0), draw(0, 0.05), draw(3)
    before = replace(distances(a), per_stimulus={"projector": a, "llm.embed": a, "llm.0": c})
    after = replace(before, per_stimulus={"projector": b, "llm.embed": b, "llm.0": draw(4)})
    rows = [r for r in compare(before, after, 100) if r["measure"] == "centred"]
    p, adjusted = ([r[key] for r in rows if r["site"] != "llm.embed"] for key in ("p", "p_holm"))
    assert adjusted == pytest.approx(holm(p)) and len(p) == 8
    twin, first = ([{**r, "site": ""} for r in rows if r["site"] == site] for site in ("llm.embed", "projector"))
    assert twin == first and len(twin) == 4


def fewer(found: Distances, n: int) -> Distances:
    """Of the first ``n`` stimuli."""
    values = {site: {name: v[:n] for name, v in own.items()} for site, own in found.per_stimulus.items()}
    return replace(found, per_stimulus=values, labels=LABELS[:n], groups=GROUPS[:n], ids=found.ids[:n])


def test_of_different_stimuli_only_what_is_not_centred_on_them_is_compared() -> None:
    before, after = (distances({**draw(i), "cosine": draw(i + 5)["centred"]}) for i in range(2))
    rows = compare(before, fewer(after, 30), 50)
    assert {r["measure"] for r in rows} == {"cosine"} and {r["n"] for r in rows if r["class"] == "all"} == {30}
    mean = np.mean((after.per_stimulus["projector"]["cosine"] - before.per_stimulus["projector"]["cosine"])[:30])
    assert rows[0]["change"] == pytest.approx(mean)
    with pytest.raises(InputError, match="36 and of 30 stimuli .* Measure both models on the stimuli that both have"):
        compare(distances(draw(0)), fewer(distances(draw(1)), 30))
    order = np.random.default_rng(0).permutation(36)
    values = {"projector": {name: v[order] for name, v in draw(1).items()}}
    turned = replace(
        after, per_stimulus=values, labels=LABELS[order], groups=GROUPS[order], ids=tuple(after.ids[i] for i in order)
    )
    assert {r["measure"] for r in compare(before, turned, 50)} >= {"centred", "margin"}, "in any order"


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
    found = replace(distances(draw(0)), target="projector", tokens=Tokens())
    other = {
        "over different stimuli": replace(found, ids=tuple(f"t{i}" for i in range(len(GROUPS)))),
        "different classes": replace(found, classes=("a", "b")),
        "of the kind 'contextual'": replace(found, words="contextual"),
        "no site in common": distances(draw(0), "llm.0"),
        "no measure in common": distances({"cosine": draw(0)["centred"]}),
        "onto the projector and onto the words": replace(found, target="words"),
        "Measure both with the same tokens=": replace(found, tokens=Tokens(cap=9)),
    }
    for said, after in other.items():
        with pytest.raises(InputError, match=said):
            compare(found, after)
    assert compare(found, replace(found, target="", tokens=Tokens(memory=1e6)), 20), "what changes no number is no difference"


@pytest.mark.heavy
@pytest.mark.parametrize("length", [1, 20])
def test_intervals_cover_the_value_of_the_population(length: float) -> None:
    """30 references of 4 classes; with long words, nearly all the spread of ``whitened`` is that of the covariance.

    The value is the estimator's own expected one, at as many references.
    """
    from analysis.distance_measures import MEASURES, factors_of, left_out, measure, measured_anew

    rng = np.random.default_rng(0)
    words, classes, scale = length * rng.normal(size=(4, 24)), list("abcd"), rng.uniform(0.3, 3, 24)
    effect = 0.5 * rng.normal(size=(4, 24)) + 0.25 * words / length
    groups, targets = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    labels = np.array(classes)[targets]
    values, ends = [], []
    for seed in range(200):
        x = (rng.normal(size=(30, 24))[groups] + 0.7 * rng.normal(size=(120, 24))) * scale + effect[targets]
        own, blocks = measure(x, words, targets, MEASURES, groups).values, left_out(groups, seed)
        anew = measured_anew(x, words, targets, labels, classes, MEASURES, blocks, groups)
        by = factors_of(anew, own, labels, classes, blocks)["all"]
        draws = draws_by_class(own, labels, classes, References(groups, 400, seed))["all"]
        values.append([draws[name][0] for name in MEASURES])
        ends.append(bounds(np.stack([widened(draws[name], by[name]) for name in MEASURES], 1)[1:]))
    truth = np.mean(values, 0)
    covered = np.mean([(low <= truth) & (truth <= high) for low, high in ends], 0)
    assert (covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)).all(), dict(zip(MEASURES, covered, strict=True))
