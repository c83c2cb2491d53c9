"""The figures of geometry and movement: what the projector keeps, and layers in the order of the data's way."""

from typing import Any

import pytest

from analysis.figures.files import canvas
from analysis.figures.geometry import draw_across, draw_shape
from analysis.figures.movement import draw_movement


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
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("vision.2-10+projector") == 1
