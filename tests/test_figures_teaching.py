"""Figures of tuning show every row, with intervals, and their data stands beside them."""

import csv
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

from analysis.figures.files import canvas, written
from analysis.figures.forgetting import BEFORE, draw_forgetting
from analysis.figures.geometry import ALIKE, OWN, draw_alike, draw_shape
from analysis.figures.matrix import draw_matrix, draw_rates
from analysis.figures.movement import draw_movement
from analysis.figures.teaching import matched_figures, taught_figures

LAYERS: list[dict[str, Any]] = [
    {"site": site, "component": "vision", "relative": value}
    for site, value in (("vision.0", 1e-3), ("vision.1", None), ("vision.2", 1e-2), ("other", 1e-4))
]
LOST = [
    {
        "measure": name,
        "before": 0.9,
        "after": after,
        "change": after - 0.9,
        "low": after - 1.0,
        "high": after - 0.8,
        "p_holm": p,
    }
    for name, after, p in (("colour", 0.9, 1.0), ("quality SRCC", -0.2, 0.001))
]
MATRIX = [
    {
        "component": name,
        "budget": budget,
        "balanced_accuracy": value,
        "balanced_low": value - 0.1,
        "balanced_high": value + 0.1,
        "p_holm": p,
    }
    for budget in ("steps", "seconds")
    for name, value, p in (("vision", 0.8, 0.01), ("llm", 0.2, 0.6))
]
RATES = [
    {"component": name, "budget": budget, "rate": rate, "loss": rate, "chosen": rate == 1.0}
    for budget in ("steps", "seconds")
    for name in ("vision", "llm")
    for rate in (0.3, 1.0)
]


def test_movement_has_a_mark_per_layer_that_moved() -> None:
    _, ax = canvas(4, 3)
    draw_movement(ax, LAYERS)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vision.0", "vision.2", "vision, rest"]
    assert list(ax.lines[0].get_ydata()) == [1e-3, 1e-2, 1e-4] and ax.get_yscale() == "log"
    _, ax = canvas(4, 3)
    draw_movement(ax, {"llm": [{"site": "llm.0", "component": "llm", "relative": 2e-2}], "vision": LAYERS[2:3]})
    assert [label.get_text() for label in ax.get_xticklabels()] == ["vision.2", "llm.0"] and ax.get_yscale() == "linear"


def test_bars_are_before_and_after_and_losses_that_count_are_starred() -> None:
    _, ax = canvas(6, 3)
    draw_forgetting(ax, [{"arm": arm, **row} for arm in ("vision", "llm") for row in LOST])
    assert sorted(round(bar.get_height(), 2) for bar in ax.patches) == [-0.2, -0.2, 0.9, 0.9, 0.9, 0.9]
    assert [text.get_text() for text in ax.texts].count("*") == 2
    ends = [sorted(line.get_ydata()) for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert [pytest.approx([0.8, 1.0]), pytest.approx([-0.3, -0.1])] == [ends[0], ends[2]]
    assert ax.get_ylim()[0] < -0.3


def test_grey_is_the_untuned_model_whichever_arm_comes_first() -> None:
    def heights(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
        _, ax = canvas(6, 3)
        draw_forgetting(ax, rows)
        grey = [bar.get_height() for bar in ax.patches if to_hex(bar.get_facecolor()).upper() == BEFORE]
        return grey, [line.get_ydata()[0] for line in ax.lines if to_hex(line.get_color()) == "#777777"]

    few, many = {**LOST[0], "arm": "llm", "before": 0.5, "n": 3}, {**LOST[0], "arm": "vision", "n": 40}
    base = {**LOST[0], "arm": "base", "before": 0.7, "after": 0.7, "low": 0.0, "high": 0.0}
    assert heights([few, many]) == heights([many, few]) == ([0.9], [0.5]), "the arm of other images has a line of its own"
    assert heights([few, many, base]) == ([0.7], [0.5, 0.9]), "the base is no arm"
    assert heights([many, {**many, "arm": "llm"}]) == ([0.9], [])


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_what_was_not_measured_says_so(nothing: float | None, tmp_path: Path) -> None:
    lost = {**MATRIX[0], **dict.fromkeys(("balanced_accuracy", "balanced_low", "balanced_high", "p_holm"), nothing)}
    _, ax = canvas(5, 3)
    draw_matrix(ax, [lost, *MATRIX[1:]], 0.13, 0.125)
    assert [text.get_text() for text in ax.texts] == ["not\nmeasured", "20 %\n[10, 30]", "80 %*\n[70, 90]", "20 %\n[10, 30]"]
    every = [{**row, **{key: lost[key] for key in lost if lost[key] is nothing}} for row in MATRIX]
    rates = [{**row, "loss": None if nothing is None else float("inf")} for row in RATES]
    run = {"matrix": every, "rates": rates, "forgotten": [], "base": {"balanced_accuracy": 0.13, "chance": 0.125}}
    assert set(written(matched_figures(run), tmp_path, ("png",))) == {"matrix", "rates"}


def test_the_matrix_names_every_cell_and_chosen_rates_are_filled() -> None:
    _, ax = canvas(5, 3)
    draw_matrix(ax, MATRIX, 0.13, 0.125)
    assert [text.get_text() for text in ax.texts].count("80 %*\n[70, 90]") == 2 and len(ax.texts) == 4
    _, axes = canvas(5, 3, 1, 2)
    draw_rates(axes, RATES)
    chosen = [line for line in axes[0].lines if line.get_linestyle() == "None"]
    assert [list(line.get_xdata()) for line in chosen] == [[1.0], [1.0]]


def test_geometry_is_drawn_by_site_with_chance() -> None:
    rows = [
        {"order": order, "site": site, "measure": key, "model": "both", "value": 0.5, "low": 0.4, "high": 0.6, "chance": 0.1}
        for order, site in enumerate(("vision.0", "projector"))
        for key, *_ in ALIKE
    ]
    rows += [{**row, "measure": key, "model": model} for row in rows[::4] for key, _ in OWN for model in ("before", "after")]
    _, ax = canvas(5, 3)
    draw_alike(ax, rows)
    assert len(ax.containers) == 4 and [label.get_text() for label in ax.get_xticklabels()] == ["vision.0", "projector"]
    _, axes = canvas(8, 3, 1, 3)
    draw_shape(axes, rows)
    assert all(len(own.containers) == 2 for own in axes)


def test_files_and_their_data(tmp_path: Path) -> None:
    run = {
        "component": "vision",
        "history": [{"step": 0, "answer": 1.0}],
        "validation": [],
        "layers": LAYERS,
        "forgotten": LOST,
    }
    assert set(written(taught_figures(run), tmp_path, ("png",))) == {"training", "movement", "forgetting"}
    bare = {**run, "forgotten": [], "layers": [{**row, "relative": None} for row in LAYERS]}
    assert set(written(taught_figures(bare), tmp_path / "bare", ("png",))) == {"training"}
    lost = [{"component": "vision", "budget": "steps", **row} for row in LOST]
    matched = {"matrix": MATRIX, "rates": RATES, "forgotten": lost, "base": {"balanced_accuracy": 0.13, "chance": 0.125}}
    assert set(written(matched_figures(matched), tmp_path, ("png",))) == {"matrix", "rates", "forgetting_steps"}
    assert len(list(csv.DictReader((tmp_path / "matrix.csv").read_text().splitlines()))) == 4
