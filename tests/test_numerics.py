"""Hostile numbers: the right answer or a refusal in words, through the functions that users call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from analysis.distance_measures import measure
from analysis.geometry import geometry
from hooks.outbox import Outbox
from probes.control_task import control_task
from probes.controls import content_accuracy
from probes.dimension import effective_dimension, equal_dimension
from probes.erasure import fit_eraser
from probes.generalise import transfer_sweep
from probes.information import description_length
from probes.intervals import balanced_interval, group_bootstrap, paired_difference
from probes.linear import fit_predict
from probes.per_type import type_sweep
from probes.sample_size import sample_size
from probes.severity import severity_sweep
from probes.splits import grouped_folds
from probes.sweep import sweep
from probes.usable import usable_information
from stimuli.errors import InputError
from tests.stores import InMemory
from tests.test_sweep import TYPES, FakeStore, rows

SITE = "vision.0"
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sweep": sweep, "code": description_length, "usable": usable_information, "control": control_task, "dimension": equal_dimension,
    "size": sample_size,
}  # fmt: skip
SCORES = {
    "sweep": "score",
    "code": "compression",
    "usable": "information",
    "control": "score",
    "dimension": "score",
    "size": "score",
}
CHANCE = {"sweep": 0.25, "code": 1.0, "usable": 0.0, "control": 0.25, "dimension": 0.25, "size": 0.25}


def planted(references: int = 6, d: int = 8, keep: Callable[[dict], bool] = lambda row: True) -> FakeStore:
    """Four classes, each at a place of its own."""
    rng, shown = np.random.default_rng(0), [row for row in rows(references) if keep(row)]
    kind = np.array([TYPES.index(r["type"]) if r["type"] in TYPES else 0 for r in shown])
    x = rng.normal(size=(len(shown), d)) + 3 * rng.normal(size=(4, d))[kind]
    return FakeStore(shown, {SITE: x.astype(np.float32)})


def changed(given: FakeStore, how: Callable[[np.ndarray], np.ndarray]) -> FakeStore:
    return FakeStore(list(given.rows.values()), {SITE: np.asarray(how(given.values[SITE]))})


def row_of(name: str, store: InMemory) -> dict[str, Any]:
    return FUNCTIONS[name](store, n_boot=20, progress=False).table[-1]


# ---- probes ----------------------------------------------------------------------------------------------------------


def test_a_probe_reads_the_same_at_any_scale_that_float32_has() -> None:
    """Squares of 1e30 overflow, those of 1e-30 vanish; 1e-9 was once taken for nothing."""
    store = planted()
    plain = row_of("sweep", store)
    assert plain["score"] > 0.9 and plain["content"] < 0.5
    for scale in (1e30, 1e-10, 1e-30):
        own = row_of("sweep", changed(store, lambda x, by=scale: x * np.float32(by)))
        assert (own["score"], own["content"]) == (plain["score"], plain["content"]), scale


@pytest.mark.parametrize("scale", [1e30, 1.0, 1e-30])
def test_dimension_and_content_do_not_see_the_scale(scale: float) -> None:
    rng = np.random.default_rng(1)
    x, references = rng.normal(size=(24, 5)).astype(np.float32), np.repeat(np.arange(6), 4).astype(str)
    x += 4 * np.repeat(rng.normal(size=(6, 5)), 4, axis=0).astype(np.float32)
    rank, ratio = effective_dimension(x * np.float32(scale))
    assert rank == 5 and ratio == pytest.approx(effective_dimension(x)[1], rel=1e-4)
    assert content_accuracy(x * np.float32(scale), references)[0] == content_accuracy(x, references)[0] > 0.5


def test_nothing_varies_nothing_is_found_and_no_number_is_missing() -> None:
    for value in (0.0, 3.7, 1e30):
        row = row_of("sweep", changed(planted(), lambda x, v=value: np.full_like(x, v)))
        assert row["score"] == row["low"] == row["high"] == row["control"] == row["chance"] == 0.25


def test_constant_features_beside_others_change_nothing() -> None:
    store = planted()
    wider = changed(store, lambda x: np.hstack([x, np.full((len(x), 3), 1e6, np.float32)]))
    assert row_of("sweep", wider)["score"] == row_of("sweep", store)["score"]


def test_classes_that_are_far_apart_are_told_apart_with_certainty_and_finite_numbers() -> None:
    labels = np.array([row["type"] or "clean" for row in rows(6)])
    groups = np.array([row["reference"] for row in rows(6)])
    x = 1e3 * (labels[:, None] == np.unique(labels)) + 1e-3 * np.random.default_rng(0).normal(size=(len(labels), 5))
    found = fit_predict(x, labels, groups, grouped_folds(labels, groups, 3, 0))
    assert np.isfinite(found.probabilities).all()
    assert [found.classes[i] for i in found.probabilities.argmax(1)] == labels.tolist()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.heavy
def test_every_probing_of_hostile_features_is_right(name: str) -> None:
    key, store = SCORES[name], planted()
    plain = row_of(name, store)
    rng = np.random.default_rng(2)
    nothing = row_of(name, changed(store, lambda x: np.full_like(x, 3.7)))
    assert nothing[key] == pytest.approx(CHANCE[name], abs=1e-6)
    for scale in (1e30, 1e-30):
        assert row_of(name, changed(store, lambda x, by=scale: x * np.float32(by)))[key] == pytest.approx(plain[key], rel=1e-3)
    more = row_of(name, changed(store, lambda x: np.hstack([x] + [x + 0.1 * rng.normal(size=x.shape) for _ in range(24)])))
    assert more[key] > (CHANCE[name] + plain[key]) / 2, "more features than rows"
    twice = row_of(name, changed(store, lambda x: np.hstack([x, x])))
    assert twice[key] == pytest.approx(plain[key], rel=0.25), "every feature twice, which halves the penalty"
    certain = row_of(name, changed(store, lambda x: 1e3 * np.round(x[:, :1] * 0) + 1e3 * _codes(store)))
    assert np.isfinite(certain[key]) and certain[key] >= 0.9 * plain[key], (
        "perfectly separable; an online code begins without having seen it"
    )


def _codes(store: FakeStore) -> np.ndarray:
    kinds = [TYPES.index(row["type"]) if row["type"] in TYPES else 0 for row in store.rows.values()]
    return np.eye(4)[kinds]


REFUSED: dict[str, tuple[Callable[[], FakeStore], str]] = {
    "one class": (lambda: planted(keep=lambda row: row["type"] == "jpeg"), "at least two classes among the stimuli"),
    "infinity": (lambda: changed(planted(), lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.inf, x)), "NaN or infinity"),
    "fewer references than folds": (lambda: planted(3), "5 folds by reference need at least 5 references, got 3"),
    "a class of one reference": (
        lambda: planted(keep=lambda row: row["type"] != "jpeg" or row["reference"] == "r0"), "'compression' stands in fewer than two references",
    ),
}  # fmt: skip
ALL = {**FUNCTIONS, "types": type_sweep, "transfer": transfer_sweep}
NOT_IN_FOLDS = {
    ("code", "fewer references than folds"),
    ("code", "a class of one reference"),
    ("types", "a class of one reference"),
}
"""An online code has blocks and no folds; types are probed one by one, and the one that is rare is left out."""


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in ALL for case in REFUSED if (name, case) not in NOT_IN_FOLDS]
)
def test_what_cannot_be_probed_is_refused_in_words(name: str, case: str) -> None:
    make, words = REFUSED[case]
    if name == "types":
        words = "NaN or infinity" if case == "infinity" else "clean images of 5 or more of its own references"
    if name == "transfer" and case == "infinity":
        words = "Nothing can be tested|NaN or infinity"
    with pytest.raises(InputError, match=words):
        ALL[name](make(), n_boot=20, progress=False)


def test_severity_of_one_type_and_level_is_refused() -> None:
    with pytest.raises(InputError, match="severity"):
        severity_sweep(planted(keep=lambda row: row["type"] == "jpeg" and row["level"] == 1), n_boot=20, progress=False)


def test_an_eraser_of_nothing_changes_nothing_and_one_of_infinity_is_refused() -> None:
    still = changed(planted(), lambda x: np.full_like(x, 3.7))
    assert fit_eraser(still, SITE).eraser.variance_removed == 0
    with pytest.raises(InputError, match="NaN or infinity"):
        fit_eraser(REFUSED["infinity"][0](), SITE)
    with pytest.raises(InputError, match="at least two classes"):
        fit_eraser(REFUSED["one class"][0](), SITE)


# ---- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float16, 65504.0), (torch.bfloat16, 3.3e38)])
def test_what_overflows_the_type_it_is_stored_in_is_found(dtype: torch.dtype, largest: float) -> None:
    values = torch.tensor([[1.0, 2.0], [largest, 0.0], [3.4e38, 0.0]])
    parcel = Outbox().send({"a": values}, dtype)
    assert parcel.bad() == {2: ["a"]}, "the second is the largest that the type holds"


# ---- distances and geometry ------------------------------------------------------------------------------------------


def near_words() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    words, targets = rng.normal(size=(3, 6)), np.arange(24) % 3
    return words[targets] + 0.1 * rng.normal(size=(24, 6)), words, targets, np.repeat(np.arange(8), 3)


def test_features_that_are_not_finite_have_no_distance() -> None:
    x, words, targets, groups = near_words()
    for bad in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[3, 1] = bad
        with pytest.raises(InputError, match="1 of 24 rows of features hold NaN or infinity .first row 3"):
            measure(spoilt, words, targets, groups=groups)


def test_cosines_do_not_see_the_scale_and_constant_features_are_near_no_word() -> None:
    x, words, targets, groups = near_words()
    plain = measure(x, words, targets, groups=groups).values
    for scale in (1e30, 1e-30):
        own = measure((x * scale).astype(np.float32), words, targets, groups=groups).values
        for name in ("cosine", "zero_shot"):
            assert own[name] == pytest.approx(plain[name], abs=1e-5), (name, scale)
    still = measure(np.full_like(x, 2.0), words, targets, groups=groups).values
    assert not still["zero_shot"].any() and np.isnan(still["whitened"]).all() and (still["centred"] == 1).all()


@pytest.mark.parametrize("d", [6, 60])
def test_images_shown_twice_have_no_spread_to_whiten_by(d: int) -> None:
    """Rounding was once taken for it: distances of 1e19."""
    rng = np.random.default_rng(0)
    words, targets = rng.normal(size=(3, d)), np.arange(24) % 3
    found = measure(rng.normal(size=(3, d))[targets] + 1e3, words, targets).values
    assert np.isnan(found["whitened"]).all() and np.isnan(found["whitened_margin"]).all() and np.isfinite(found["cosine"]).all()


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_geometry_does_not_see_the_scale(scale: float) -> None:
    about, x = rows(6), np.random.default_rng(0).normal(size=(54, 8))
    tables = [
        geometry(FakeStore(about, {SITE: (x * by).astype(np.float32)}), n_boot=20, progress=False).table for by in (1.0, scale)
    ]
    assert len(tables[0]) == len(tables[1]) > 0
    for one, other in zip(*tables, strict=True):
        assert other["value"] == pytest.approx(one["value"], rel=1e-4), one["measure"]


def test_geometry_leaves_out_what_has_no_spread_and_says_so() -> None:
    values = {SITE: np.random.default_rng(0).normal(size=(54, 8)), "vision.1": np.full((54, 8), 3.7)}
    found = geometry(FakeStore(rows(6), values), n_boot=20, progress=False)
    assert {row["site"] for row in found.table} == {SITE} and "vision.1" in str(found.skipped)


# ---- intervals -------------------------------------------------------------------------------------------------------


def test_intervals_of_what_is_certain_missing_or_of_one_class() -> None:
    hits, groups = np.ones(24), np.repeat(np.arange(8), 3).astype(str)
    labels = np.where(np.arange(24) % 3 == 0, "a", "b")
    for found in (
        balanced_interval(hits, labels, groups),
        balanced_interval(hits, np.full(24, "a"), groups),
        group_bootstrap(hits, groups),
    ):
        assert (found.value, found.low, found.high) == (1, 1, 1)
    missing = balanced_interval(np.r_[np.nan, hits[1:]], labels, groups)
    assert (missing.value, missing.low, missing.high) == (1, 1, 1), "unanswered rows are left out"
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        balanced_interval(hits, labels, np.full(24, "r"))
    assert paired_difference(hits, hits * 0, groups).p >= 2 / 2**8, "eight references prove no more than a sign test of eight"
