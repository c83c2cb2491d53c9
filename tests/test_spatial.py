"""Distortion maps on sites where we planted what a cell knows: its distortion, only its place, or nothing."""

import numpy as np
import pytest

from probes.spatial import MapsResult, distortion_maps
from stimuli.types import Stimulus
from tests.test_cells import Store

SIDE, D = 4, 6
TYPES = (None, "jpeg", "white_noise")


def shown(references: int = 12) -> list[Stimulus]:
    """A box of 2 x 2 cells per reference, more often in the middle than not."""
    found = []
    for r in range(references):
        top, left = (4, 4) if r % 3 else (4 * (r % 4 // 2) * 2, 4 * (r % 2) * 2)
        mask = np.zeros((16, 16), bool)
        mask[top : top + 8, left : left + 8] = True
        for type in TYPES:
            area = None if type is None else (lambda mask=mask: mask)
            pixels = np.zeros((16, 16, 3), np.uint8)
            found.append(Stimulus(f"r{r}-{type}", f"r{r}", type, 5 if type else None, pixels=pixels, area=area))
    return found


STIMULI = shown()


def store(strength: float, place: float = 0.0, seed: int = 0, pool: str = "grid:4", rows: int | None = None) -> Store:
    """Cells with noise, their place, and each type along its own direction where a cell is distorted."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(STIMULI), SIDE**2, D)) + place * rng.normal(size=(SIDE**2, D))
    along = rng.normal(size=(len(TYPES), D))
    for i, s in enumerate(STIMULI):
        if s.mask is not None:
            inside = s.mask.reshape(SIDE, 4, SIDE, 4).all((1, 3)).ravel()
            values[i, inside] += strength * along[TYPES.index(s.type)]
    flat = values.reshape(-1, D) if rows else values.reshape(len(STIMULI), -1)
    return Store([s.id for s in STIMULI], flat, pool, rows)


def mapped(given: Store, **options: object) -> MapsResult:
    settings = {"n_boot": 100, "progress": False, "penalties": [10.0], **options}
    return distortion_maps(given, STIMULI, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> MapsResult:
    return mapped(store(3.0))


def test_a_planted_distortion_is_found_where_it_lies(found: MapsResult) -> None:
    row = found.row("vision.0")
    assert row["low"] > 0.85 and row["paired_low"] > 0.85 and row["pointing"] > 0.8
    assert row["iou_best"] > 0.5 > row["iou_best_chance"] == pytest.approx(0.25) and row["precision"] > 0.7
    assert row["n"] == 24 and row["references"] == 12 and row["dim"] == SIDE**2 * D
    for name in ("", "paired_", "precision_", "iou_", "iou_best_", "pointing_", "control_"):
        value = row[name[:-1] or "score"]
        assert row[f"{name}low"] <= value <= row[f"{name}high"]


def test_the_control_finds_nothing_where_the_probe_finds_all_though_masks_overlap(found: MapsResult) -> None:
    row = found.row("vision.0")
    assert abs(row["control"] - 0.5) < 0.2 and row["control_low"] < 0.6
    assert row["selectivity"] == row["score"] - row["control"] > 0.3
    own = [mapped(store(3.0, seed=seed), n_boot=10).row("vision.0")["control"] for seed in range(1, 5)]
    assert abs(np.mean([row["control"], *own]) - 0.5) < 0.12


def test_place_alone_gives_the_probe_nothing_though_masks_lie_in_the_middle() -> None:
    row = mapped(store(0.0, place=3.0)).row("vision.0")
    assert abs(row["score"] - 0.5) < 0.12 and abs(row["paired"] - 0.5) < 0.12
    blind = mapped(store(0.0, place=3.0))
    assert blind.row("baseline:centre")["score"] > 0.6 and blind.row("baseline:centre")["paired"] == 0.5


def test_maps_are_of_probes_that_never_saw_the_reference(found: MapsResult) -> None:
    """Of one reference the mask is moved in training: its own maps stay as they were, so far as rows are drawn alike."""
    changed = [s if s.reference != "r1" else Stimulus(s.id, s.reference, s.type, s.level, pixels=s.pixels,
               area=None if s.area is None else (lambda: ~np.kron(np.eye(2), np.ones((8, 8))).astype(bool))) for s in STIMULI]  # fmt: skip
    other = distortion_maps(store(3.0), changed, n_boot=20, progress=False, penalties=[10.0])
    np.testing.assert_array_equal(other.map("vision.0", "r1-jpeg"), found.map("vision.0", "r1-jpeg"))
    assert not np.array_equal(other.map("vision.0", "r2-jpeg"), found.map("vision.0", "r2-jpeg"))


def test_results_are_by_stimulus_type_and_level(found: MapsResult) -> None:
    assert found.map("vision.0", "r3-jpeg").shape == (SIDE, SIDE)
    assert found.maps["vision.0"].shape == found.shares.shape == (36, SIDE, SIDE)
    assert 0 <= found.maps["vision.0"].min() and found.maps["vision.0"].max() <= 1
    known = found.scores["vision.0"]["auc"]
    assert np.isnan(known).tolist() == ["None" in id for id in found.ids]
    assert np.nanmean(known) == pytest.approx(found.row("vision.0")["score"])
    assert [(r["type"], r["n"]) for r in found.by_type] == [("jpeg", 12), ("white_noise", 12)]
    assert np.mean([r["score"] for r in found.by_type]) == pytest.approx(found.row("vision.0")["score"])
    assert [(r["level"], r["n"]) for r in found.by_level] == [("5", 24)]
    assert found.best() == "vision.0" and found.best("llm") is None
    change = found.compare("baseline:centre", "vision.0", "paired")
    assert change.value == pytest.approx(found.row("vision.0")["paired"] - 0.5) and change.p < 0.05


def test_tokens_as_they_are_give_the_maps_of_their_cells(found: MapsResult) -> None:
    given = store(3.0, pool="none", rows=SIDE**2)
    tokens = mapped(given, places={"vision.0": np.eye(SIDE**2)})
    np.testing.assert_allclose(tokens.maps["vision.0"], found.maps["vision.0"], atol=1e-6)
    assert tokens.table == found.table


def test_the_penalty_is_chosen_by_some_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.spatial.CHOICE_ROWS", 100)
    assert mapped(store(3.0), penalties=[10.0, 1e7]).row("vision.0")["penalty"] == 10.0


def test_thresholds_are_of_the_training_references(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def recorded(maps: np.ndarray, shares: np.ndarray, masked: np.ndarray) -> float:
        seen.append((len(maps), len(shares), len(masked)))
        return 0.5

    monkeypatch.setattr("probes.spatial.best_threshold", recorded)
    mapped(store(3.0), folds=4)
    assert seen == [(27, 27, 27)] * 12  # a site and two baselines, four folds of three references
