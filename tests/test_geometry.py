"""Geometry over sites: an unchanged model stays where it is, a changed site shows, and the intervals hold what they should."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from analysis.geometry import Geometry, _adjust, entering, geometry
from analysis.shape import modality_gap
from analysis.similarity import linear_cka, mutual_knn
from stimuli.errors import InputError
from stimuli.types import Stimulus
from tests.stores import InMemory


@dataclass(frozen=True)
class Memory(InMemory):
    rows: dict[str, dict[str, Any]]
    values: dict[str, np.ndarray]
    dead_ends: tuple[str, ...] = ()


def rows(references: int = 8, versions: int = 5) -> dict[str, dict[str, Any]]:
    return {f"s{r}-{v}": {"reference": f"r{r}"} for r in range(references) for v in range(versions)}


def model(seed: int = 0, turned: bool = False, references: int = 8) -> Memory:
    """Two vision sites, the last of them dead, a projector that drops half of what enters it, and one language site."""
    rng = np.random.default_rng(seed)
    known = rows(references)
    vision = rng.normal(size=(references, 6))[np.arange(len(known)) // 5] + rng.normal(size=(len(known), 6))
    projector = vision[:, :3] @ rng.normal(size=(3, 4)) + 2
    if turned:
        projector = projector @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    blind = np.full((len(known), 3), 0.1)
    return Memory(known, {"vision.0": vision, "vision.1": blind, "projector": projector, "llm.0": projector**3}, ("vision.1",))


WORDS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 0]])


@pytest.fixture(scope="module")
def found() -> Geometry:
    return geometry(model(), model(turned=True), words=WORDS, n_boot=100, progress=False)


def test_a_rotation_changes_no_distance_and_what_is_lost_shows(found: Geometry) -> None:
    for site in ("vision.0", "projector"):
        assert found.row(site, "cka", "both")["value"] == pytest.approx(1)
        assert found.row(site, "mutual_knn", "both")["value"] == 1 == found.row(site, "mutual_knn_others", "both")["value"]
        assert found.row(site, "procrustes", "both")["value"] == pytest.approx(0, abs=1e-9)
    later = found.row("llm.0", "cka", "both")
    assert later["low"] <= later["value"] <= later["high"] and later["value"] < 0.99, "a cube knows the axes"
    assert found.row("vision.0", "effective_rank")["value"] > 5 > 3 >= found.row("projector", "effective_rank")["value"]
    rebuilt = found.row("projector", "rebuilt")
    assert rebuilt["source"] == "vision.0", "the dead end does not enter the projector"
    assert 0.2 < rebuilt["value"] < 0.75 < rebuilt["chance"] + 0.3 and abs(rebuilt["shuffled"]) < 0.2
    assert found.row("projector", "predicted")["value"] > 0.99
    above = found.row("projector", "rebuilt_above_random")
    assert above["value"] == pytest.approx(rebuilt["value"] - rebuilt["chance"]) and above["low"] < above["high"]
    overlap = found.row("projector", "overlap", k=10)
    assert overlap["chance"] == pytest.approx(10 / 39) and overlap["chance"] < overlap["value"] < 1
    most = found.row("projector", "overlap", k=17)
    assert most["low"] < most["value"] < most["high"], "50 is capped at half of the 34 that are left without one reference"


def test_the_table_is_tidy_and_says_what_was_left_out(found: Geometry) -> None:
    assert found.skipped == [{"site": "vision.1", "source": None, "model": name} for name in ("before", "after")]
    assert {row["site"] for row in found.table if row["measure"] == "modality_gap"} == {"projector"}
    assert all(row["low"] <= row["value"] <= row["high"] and (row["n"], row["references"]) == (40, 8) for row in found.table)
    assert found.blocks == 8 and "jackknife over 8 blocks of 8 references" in found.note
    assert len({tuple(row) for row in found.table}) == 1 and set(found.as_dict()) >= {"table", "change", "seed"}


def test_changes_are_paired_and_adjusted(found: Geometry) -> None:
    at = {(row["site"], row["measure"], row["k"]): row for row in found.change}
    same = at["projector", "effective_rank", None]
    assert abs(same["change"]) < 1e-5 and same["high"] - same["low"] < 1e-5, "a rotation, so that no reference differs"
    own = found.row("llm.0", "effective_rank", "before"), found.row("llm.0", "effective_rank", "after")
    moved = at["llm.0", "effective_rank", None]
    assert moved["change"] == pytest.approx(own[1]["value"] - own[0]["value"]) and moved["low"] < moved["high"]
    assert all(row["p_holm"] >= row["p"] for row in found.change)


def test_one_model_alone_and_chosen_stimuli_and_sites() -> None:
    store = model()
    shown = [Stimulus(id, row["reference"], None, None, pixels=np.zeros((8, 8, 3), np.uint8)) for id, row in store.rows.items()]
    found = geometry(store, stimuli=shown[:30], sites=["vision.0"], across=[], progress=False)
    assert {row["measure"] for row in found.table} == {"effective_rank", "participation_ratio"} and not found.change
    assert found.table[0]["n"] == 30 and entering(store) == [("vision.0", "projector")]


def test_words_are_each_models_own_and_of_each_site() -> None:
    first, second = model(), model(turned=True)
    other = -WORDS
    found = geometry(first, second, words=(WORDS, other), sites=["projector", "llm.0"], across=[], progress=False)
    gap = {name: found.row("projector", "modality_gap", name)["value"] for name in ("before", "after")}
    assert gap["before"] == pytest.approx(modality_gap(first.values["projector"], WORDS))
    assert gap["after"] == pytest.approx(modality_gap(second.values["projector"], other))
    assert not [row for row in found.table if row["site"] == "llm.0" and row["measure"] == "modality_gap"]
    found = geometry(first, words={"llm.0": other}, sites=["projector", "llm.0"], across=[], progress=False)
    assert [row["site"] for row in found.table if row["measure"] == "modality_gap"] == ["llm.0"]
    assert found.row("llm.0", "modality_gap")["value"] == pytest.approx(modality_gap(first.values["llm.0"], other))


def test_no_more_stimuli_than_features_is_said_where_procrustes_is_low_by_chance() -> None:
    known = rows()
    wide, again = (np.random.default_rng(seed).normal(size=(40, 60)) for seed in range(2))
    found = geometry(
        Memory(known, {"a": wide, "b": wide[:, :5]}), Memory(known, {"a": again, "b": again[:, :5]}), progress=False
    )
    assert "At 1 of 2 sites (a the first)" in found.note and "(n ≤ d)" in found.note
    row = found.row("a", "procrustes", "both")
    assert row["low"] <= row["chance"] <= row["high"] and row["chance"] < 0.7, "by chance, however low"
    assert found.row("b", "procrustes", "both")["chance"] > 1.2
    assert "n ≤ d" not in geometry(model(), model(turned=True), sites=["projector"], across=[], progress=False).note


def test_what_was_not_tested_does_not_count_as_a_test() -> None:
    found = [{"measure": "m", "k": None, "p": p} for p in (0.01, float("nan"), 0.04)]
    _adjust(found)
    assert [row["p_holm"] for row in found] == pytest.approx([0.02, float("nan"), 0.04], nan_ok=True)


def test_what_cannot_be_measured_is_refused() -> None:
    few = Memory(rows(2), {"vision.0": np.eye(10)})
    with pytest.raises(InputError, match="10 stimuli of 2 references.*at least 3 references"):
        geometry(few, progress=False)
    with pytest.raises(InputError, match="no stimulus in common"):
        geometry(model(), Memory({"other": {"reference": "r"}}, {"vision.0": np.eye(1)}), progress=False)


def test_the_measures_are_those_of_the_pure_functions(found: Geometry) -> None:
    first, second = (store.values["llm.0"] for store in (model(), model(turned=True)))
    assert found.row("llm.0", "cka", "both")["value"] == pytest.approx(linear_cka(first, second), rel=1e-4)
    assert found.row("llm.0", "mutual_knn", "both")["value"] == pytest.approx(mutual_knn(first, second, 10), abs=0.01)
