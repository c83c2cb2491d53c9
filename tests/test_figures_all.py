"""All figures from results alone: what has no data is left out, files are the same every time."""

import csv
from pathlib import Path
from typing import Any

import pytest

from analysis.figures import exam_figures, written

CLASSES = ["blur", "clean"]


def answers(accuracy: float) -> dict[str, Any]:
    """A ``perception`` entry of twenty answers."""
    right = round(10 * accuracy)
    return {
        "classes": CLASSES, "chance": 0.5, "majority": 0.5, "accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1,
        "balanced_accuracy": accuracy, "balanced_low": accuracy - 0.1, "balanced_high": accuracy + 0.1,
        "response_distribution": {"blur": 0.5, "clean": 0.5, "unparsed": 0.0},
        "confusion": [[right, 10 - right, 0], [10 - right, right, 0]],
        "by_level": [{"level": name, "accuracy": accuracy, "low": 0.1, "high": 0.9, "n": 10} for name in ("clean", 3)],
    }  # fmt: skip


def probe(site: str, component: str, score: float) -> dict[str, Any]:
    """A row of a sweep."""
    return {
        "site": site, "component": component, "score": score, "low": score - 0.05, "high": score + 0.05, "control": 0.5,
        "control_low": 0.45, "control_high": 0.55, "content": None if site == "pixels" else 0.9,
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    """The least that an exam without tuning holds."""
    rows = [probe("pixels", "input", 0.5), probe("vision.0", "vision", 0.9), probe("projector", "projector", 0.6)]
    return {
        "perception": {"base": answers(0.5), "arms": {}},
        "survival": {"base": rows, "baselines": [], "arms": {}, "chance": 0.5, "majority": 0.5},
        "tuning": {"base": {}, "arms": {}},
        "distance": {"base": [], "compare": {}, "shown_arm": None, "plane": None},
        "stimuli": {"severity": [{"class": "blur", "level": 3, "psnr": 25.0, "n": 10}], "examples": []},
    }


def test_what_has_no_data_is_left_out_and_each_figure_has_its_csv(results: dict[str, Any], tmp_path: Path) -> None:
    found = written(exam_figures(results), tmp_path, ("png",))
    assert set(found) == {"survival", "responses", "confusion", "levels", "severity"}
    assert all(paths["png"].stat().st_size > 1000 for paths in found.values())
    with open(tmp_path / "survival.csv") as handle:
        assert [row["score"] for row in csv.DictReader(handle)] == ["0.5", "0.9", "0.6"]


def test_what_was_asked_besides_is_drawn_too(results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.figures.all.FIGURES", {})
    rows = [{"type": "gaussian_blur", "n": 10, "references": 5, "accuracy": 0.4, "low": 0.2, "high": 0.6}]
    results["perception"]["base"] |= {"by_type": rows, "by_severity": [{**rows[0], "severity": "25 to 30 dB"}]}
    found = written(exam_figures(results), tmp_path, ("png",))
    assert set(found) == {"types"} and found["types"]["png"].stat().st_size > 1000
    with open(tmp_path / "types.csv") as handle:
        assert [(row["by"], row["accuracy"]) for row in csv.DictReader(handle)] == [("type", "0.4"), ("severity", "0.4")]


@pytest.mark.slow
def test_a_redrawn_figure_is_the_same_file(results: dict[str, Any], tmp_path: Path) -> None:
    first, again = (written(exam_figures(results), tmp_path / name, ("svg", "pdf")) for name in ("a", "b"))
    for name, paths in first.items():
        for ending, path in paths.items():
            assert path.read_bytes() == again[name][ending].read_bytes(), path.name
