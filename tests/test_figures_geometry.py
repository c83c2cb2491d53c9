"""The figures of geometry and movement: what the projector keeps, and layers in the order of the data's way."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.figures.files import canvas, written
from analysis.figures.geometry import ALIKE, draw_across, draw_alike, draw_shape, geometry_figures
from analysis.figures.movement import draw_movement
from analysis.figures.style import COLOURS


def across(measure: str, model: str, value: float, k: int | None = None, source: str | None = "vision.1") -> dict[str, Any]:
    return {"order": 0, "site": "projector", "source": source, "measure": measure, "model": model, "k": k, "value": value,
            "low": value - 0.1, "high": value + 0.1, "chance": 0.2 if k else None}  # fmt: skip


def test_what_the_projector_keeps_is_a_row_per_measure_and_k() -> None:
    _, ax = canvas(6, 3)
    rows = [across("rebuilt", model, 0.5) for model in ("before", "after")]
    rows += [across("overlap", model, 0.7, k) for model in ("before", "after") for k in (10, 50)]
    draw_across(ax, [across("cka", "both", 0.1, source=None), *rows, {**rows[0], "source": "vision.0"}])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["neighbours kept, k = 10", "neighbours kept, k = 50", "input rebuilt from output, R²"]
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in marks].count(0.7) == 4 and [line.get_marker() for line in marks].count("x") == 4
    assert [line.get_xdata()[0] for line in marks].count(0.5) == 2, "another pair of sites is not mixed in"
    bars = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert sum(bar == pytest.approx([0.6, 0.8]) for bar in bars) == 4
    assert "vision.1 to projector" in ax.get_title()


def alike(measure: str, value: float, chance: float | None, order: int = 0) -> dict[str, Any]:
    return {"order": order, "site": f"llm.{order}", "source": None, "measure": measure, "model": "both", "k": None, "value": value,
            "low": value - 0.1, "high": value + 0.1, "chance": chance}  # fmt: skip


def test_likeness_is_within_the_axes_and_every_measure_stands_beside_its_chance() -> None:
    _, ax = canvas(6, 3)
    chances = {"cka": -0.2, "mutual_knn": 0.05, "mutual_knn_others": 0.06, "procrustes": 1.9}
    draw_alike(
        ax, [alike(key, 1.4 if key == "procrustes" else 0.8, chance, i) for key, chance in chances.items() for i in (0, 1)]
    )
    dotted = {to_hex(line.get_color()).upper(): list(line.get_ydata()) for line in ax.lines if line.get_ls() == ":"}
    assert {shade: dotted[shade] for _, _, shade, *_ in ALIKE} == {shade: [chances[key]] * 2 for key, _, shade, *_ in ALIKE}
    low, high = ax.get_ylim()
    assert low < -0.2 and high > 1.9, "chance and interval of the distance are not cut off"
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("by chance, same colour") == 1


def test_what_is_not_known_is_left_out_and_does_not_stop_the_rest() -> None:
    _, ax = canvas(6, 3)
    lost = {**alike("cka", 0.5, None), "low": None, "high": None}
    draw_alike(
        ax, [lost, {**alike("cka", 0.5, float("nan"), 1), "value": None, "low": float("nan")}, alike("procrustes", 1.0, 1.2)]
    )
    segments = [path for path in ax.collections[0].get_segments() if len(path) and np.isfinite(path).all()]
    assert not segments and len(ax.containers) == 2, "no interval is no bar of length 0"
    _, axes = canvas(9, 3, 1, 3)
    draw_shape(axes, [{**lost, "measure": "effective_rank", "model": "before"}])
    _, ax = canvas(6, 3)
    draw_across(ax, [{**across("rebuilt", "before", 0.5), "low": None, "high": None}, across("overlap", "before", 0.4, 10)])
    assert ax.get_xlim() == pytest.approx((-0.03, 1.03))


def test_r2_above_a_random_projection_is_drawn_from_zero() -> None:
    _, ax = canvas(6, 3)
    draw_across(ax, [across("rebuilt", "before", 0.5), across("rebuilt_above_random", "before", -0.3)])
    assert [label.get_text() for label in ax.get_yticklabels()][1] == "… less that from a random projection"
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines) and ax.get_xlim()[0] < -0.4


def test_every_figure_has_its_rows_beside_it_and_one_model_has_no_likeness(tmp_path: Path) -> None:
    own = [{**alike("effective_rank", 2.0, None), "model": "before"}, across("rebuilt", "before", 0.5)]
    assert set(written(geometry_figures(own), tmp_path / "one", ("png",))) == {"shape", "across"}
    both = written(geometry_figures([*own, alike("cka", 0.9, 0.3)]), tmp_path / "two", ("png",))
    assert set(both) == {"alike", "shape", "across"} and both["alike"]["png"].stat().st_size > 1000
    with open(tmp_path / "two" / "alike.csv", encoding="utf-8") as handle:
        assert [(row["measure"], row["chance"]) for row in csv.DictReader(handle)] == [("cka", "0.3")]
    assert written(geometry_figures([]), tmp_path / "none") == {}


def test_names_of_many_sites_do_not_overlap() -> None:
    _, axes = canvas(9.5, 3, 1, 3)
    sites = [f"vision.{i}" for i in range(30)] + ["projector"] + [f"llm.{i}" for i in range(30)]
    rows = [
        {"order": order, "site": site, "measure": "effective_rank", "model": "before", "value": 1.0, "low": 0.9, "high": 1.1}
        for order, site in enumerate(sites)
    ]
    draw_shape(axes, rows)
    names = [label.get_text() for label in axes[0].get_xticklabels()]
    assert len(names) <= 14 and {"vision.0", "projector"} <= set(names)


def test_layers_stand_in_the_order_of_the_way_whichever_arm_comes_first() -> None:
    _, ax = canvas(6, 3)
    late = [{"site": site, "component": "vision", "relative": 0.1} for site in ("vision.2", "vision.10")]
    whole = [
        {"site": site, "component": "vision", "relative": 0.1} for site in ("other", "vision.embed", "vision.0", "vision.2")
    ]
    draw_movement(
        ax,
        {"vision.2-10+projector": [*late, {"site": "projector", "component": "projector", "relative": 0.2}], "vision": whole},
    )
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["vision.embed", "vision.0", "vision.2", "vision.10", "vision, rest", "projector"]
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["vision", "vision.2-10+projector: vision", "vision.2-10+projector: projector"]
    lines = ax.lines
    assert [to_hex(line.get_color()).upper() for line in lines] == [COLOURS[name] for name in ("vision", "vision", "projector")]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"], "two arms of one component are told apart"


def test_a_union_that_was_taught_alone_has_a_legend_of_its_components() -> None:
    _, ax = canvas(6, 3)
    rows = [{"site": f"{name}", "component": name, "relative": 0.1} for name in ("vision", "projector")]
    draw_movement(ax, rows)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["vision", "projector"]
    _, ax = canvas(6, 3)
    draw_movement(ax, rows[:1])
    assert ax.get_legend() is None
