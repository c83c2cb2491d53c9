"""The probe of numbers on sites that hold what we planted: severity within types, the type alone, or nothing."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from probes.severity import SeverityResult, severity_sweep
from stimuli.errors import InputError
from tests.stores import InMemory

TYPES = ("gaussian_blur", "white_noise", "mean_shift")
BASE = {"gaussian_blur": 0.2, "white_noise": 0.5, "mean_shift": 0.8}


class Store(InMemory):
    """Clean, and three types at four levels, of each reference; SSIM falls with level and differs between types."""

    def __init__(self, references: int = 12, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows: list[tuple[str, str | None, int | None]] = []
        rows += [(f"r{r}", type, level) for r in range(references) for type in TYPES for level in (1, 2, 4, 5)]
        rows += [(f"r{r}", None, None) for r in range(references)]
        self.rows: dict[str, dict[str, Any]] = {}
        for reference, type, level in rows:
            ssim = 1.0 if type is None or level is None else BASE[type] + 0.04 * (5 - level) + rng.normal(0, 0.002)
            self.rows[f"{reference}-{type}-{level}"] = {
                "reference": reference, "type": type, "level": level, "ssim": ssim, "psnr": 100.0 if type is None else 20 + ssim,
                "is_identity": False, "mos": 5 * ssim + rng.normal(0, 0.01),
            }  # fmt: skip
        n = len(rows)
        known = np.array([row["ssim"] for row in self.rows.values()])
        kind = np.array([-1 if row["type"] is None else TYPES.index(row["type"]) for row in self.rows.values()])
        noise = rng.normal(size=(n, 6))
        only_type = noise + 6 * rng.normal(size=(4, 6))[kind]
        severe = noise * 0.3 + np.outer(known, rng.normal(size=6)) * 8
        self.values = {"vision.0": severe, "projector": only_type, "llm.0": noise}


@pytest.fixture(scope="module")
def result() -> SeverityResult:
    return severity_sweep(Store(), n_boot=200, progress=False)


def test_the_score_is_the_rank_correlation_of_out_of_fold_predictions(result: SeverityResult) -> None:
    for site, predicted in result.predictions.items():
        row = result.row(site)
        assert row["score"] == pytest.approx(spearmanr(predicted, result.truth)[0])
        assert row["plcc"] == pytest.approx(np.corrcoef(predicted, result.truth)[0, 1])
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - result.truth) ** 2)))
        assert row["r2"] == pytest.approx(1 - row["rmse"] ** 2 / result.truth.var())
        for name in ("score", "plcc", "rmse", "r2"):
            low, high = ("low", "high") if name == "score" else (f"{name}_low", f"{name}_high")
            assert row[low] <= row[name] <= row[high] and row[low] < row[high]


def test_within_types_the_type_alone_is_worth_nothing(result: SeverityResult) -> None:
    """A site that knows the type has a high score all the same."""
    row = result.row("projector")
    assert row["score"] > 0.8 and row["score"] == pytest.approx(row["type_only"], abs=0.1)
    assert row["within_type_low"] <= 0.1 and abs(row["within_type"]) < 0.35
    assert result.row("vision.0")["within_type"] > 0.8
    assert result.row("llm.0")["score"] < 0.3
    own = [line for line in result.by_type if line["site"] == "projector"]
    assert [line["type"] for line in own] == sorted(TYPES) and {line["n"] for line in own} == {48}
    assert np.mean([line["score"] for line in own]) == pytest.approx(row["within_type"])
    chosen = result.types == "white_noise"
    expected = spearmanr(result.predictions["projector"][chosen], result.truth[chosen])[0]
    assert own[2]["score"] == pytest.approx(expected)


def test_the_control_finds_nothing_where_there_is_much(result: SeverityResult) -> None:
    row = result.row("vision.0")
    assert abs(row["control"]) < 0.2 and row["control_low"] - 0.1 <= 0 <= row["control_high"] + 0.1
    assert row["selectivity"] == row["score"] - row["control"] > 0.7
    assert result.best() == "vision.0" and result.best("llm") == "llm.0" and result.best("answer") is None


def test_sites_are_compared_on_the_same_stimuli(result: SeverityResult) -> None:
    change = result.compare("vision.0", "llm.0")
    assert change.value == pytest.approx(result.row("llm.0")["score"] - result.row("vision.0")["score"])
    assert change.high < -0.4 and change.p < 0.02
    back = result.compare("llm.0", "vision.0")
    assert (back.value, back.low, back.high) == pytest.approx((-change.value, -change.high, -change.low))


def test_levels_are_ordinal_and_signed_types_have_none() -> None:
    found = severity_sweep(Store(), "level", sites=["vision.0", "llm.0"], n_boot=50, progress=False, penalties=[10.0, 100.0])
    assert set(found.truth) == {0, 1, 2, 4, 5} and found.dropped == 48
    assert "mean_shift" not in found.types and "clean" in found.types
    assert found.row("vision.0")["within_type"] > 0.8 > found.row("llm.0")["score"] + 0.3
    assert found.predictions["vision.0"].min() >= 0 and found.predictions["vision.0"].max() <= 5
    store = Store()
    store.rows = {id: row for id, row in store.rows.items() if row["type"] == "mean_shift"}
    with pytest.raises(InputError, match="two or more levels of types that are not signed.*take the measured severity"):
        severity_sweep(store, "level", progress=False)


def test_other_numbers_and_baselines() -> None:
    store = Store()
    mos = severity_sweep(store, "mos", sites=["vision.0"], n_boot=20, progress=False)
    assert mos.row("vision.0")["score"] > 0.9
    assert len(np.unique(mos.truth[mos.types == "clean"])) > 1 and [row["type"] for row in mos.by_type] == sorted(TYPES)
    psnr = severity_sweep(store, "psnr", sites=["llm.0"], n_boot=20, progress=False)
    assert psnr.dropped == 12 and "clean" not in psnr.types
    own = {id: row["ssim"] ** 2 for id, row in store.rows.items()}
    beside = severity_sweep(store, "mine", labels=own, sites=["llm.0"], n_boot=20, progress=False,
                            baselines={"same": store.read("vision.0")})  # fmt: skip
    assert beside.row("baseline:same")["score"] > 0.9 and beside.best() == "llm.0"
    with pytest.raises(InputError, match="Unknown target 'nonesuch'"):
        severity_sweep(store, "nonesuch", progress=False)


def test_two_runs_give_the_same_numbers(result: SeverityResult) -> None:
    assert severity_sweep(Store(), n_boot=200, progress=False).table == result.table


def test_the_type_alone_is_judged_out_of_fold() -> None:
    """Types belong to pairs of references with opposite numbers: one of a pair tells the wrong thing of the other."""
    store, number = Store(30), np.random.default_rng(1).normal(size=15)
    mine = {}
    for id, row in store.rows.items():
        pair, second = divmod(int(row["reference"][1:]), 2)
        row["type"], mine[id] = f"pair {pair}", float(number[pair] * (-1) ** second)
    found = severity_sweep(store, "mine", labels=mine, sites=["llm.0"], n_boot=10, progress=False)
    assert found.row("llm.0")["type_only"] < -0.4
