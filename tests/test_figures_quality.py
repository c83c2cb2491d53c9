"""Figures of quality scores show the numbers they are given."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.quality import draw_correlations, draw_monotonicity, draw_quality
from analysis.figures.style import CLASS_COLOURS


def entry(**changes: Any) -> dict[str, Any]:
    """What ``Correlations.as_dict`` gives of five images, one unparsed."""
    values = {"srcc": 0.8, "krcc": 0.6, "plcc": 0.7, "plcc_fitted": 0.75, "rmse_fitted": 0.5, "unparsed": 0.2}
    flat = {
        f"{name}{end}": value + step
        for name, value in values.items()
        for end, step in (("", 0), ("_low", -0.1), ("_high", 0.1))
    }
    points = {"scores": [0.1, 0.2, None, 0.4, 0.5], "truth": [1.0, 2.0, 3.0, 4.0, 5.0]}
    curve = {"fit": "logistic", "fit_parameters": [5, 1, 0.3, 0.1], "curve_scores": [0.1, 0.5], "curve_truth": [1.5, 4.5]}
    return {"n": 4, "references": 2, "note": "", **flat, **points, **curve, **changes}


def unknown(note: str, **changes: Any) -> dict[str, Any]:
    """The same where there is nothing to compare."""
    names = [f"{name}{end}" for name in ("srcc", "krcc", "plcc", "plcc_fitted", "rmse_fitted") for end in ("", "_low", "_high")]
    nothing: dict[str, Any] = {"fit": None, "fit_parameters": [], "curve_scores": [], "curve_truth": [], "note": note}
    return entry(**dict.fromkeys(names), **{**nothing, **changes})


def row(name: str, tau: float | None, violations: float | None, **changes: Any) -> dict[str, Any]:
    """A row of ``Monotonicity.table``."""
    values = {
        "tau": tau,
        "violations": violations,
        "ties": 0.25,
        "unparsed": 0.125,
        "violations_with_clean": violations and violations / 2,
    }
    flat = {
        f"{key}{end}": None if v is None else v + step
        for key, v in values.items()
        for end, step in (("", 0), ("_low", -0.05), ("_high", 0.05))
    }
    return {"type": name, "n": 10, "references": 5, **flat, "p": 0.01, "p_holm": 0.02, **changes}


def points(ax: Any) -> list[tuple[list[float], list[float], str]]:
    """Of everything drawn with markers alone: x, y and label."""
    drawn = [line for line in ax.lines if line.get_linestyle() == "None" and len(line.get_xdata())]
    return [(list(line.get_xdata()), list(line.get_ydata()), line.get_label()) for line in drawn]


def spans(ax: Any) -> list[tuple[float, float, float]]:
    """Of every interval: row, low and high."""
    lines = [
        line
        for line in ax.lines
        if line.get_linestyle() == "-" and len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2
    ]
    return [(float(line.get_ydata()[0]), float(line.get_xdata()[0]), float(line.get_xdata()[1])) for line in lines]


def test_scores_stand_against_truth_with_the_curve_and_the_correlations() -> None:
    ax: Any = Figure().subplots()
    draw_quality(ax, entry(name="q-align"))
    assert points(ax)[0][:2] == ([0.1, 0.2, 0.4, 0.5], [1, 2, 4, 5]), "the unparsed one has no place"
    curve = ax.lines[-1]
    assert (list(curve.get_xdata()), list(curve.get_ydata()), curve.get_linestyle()) == ([0.1, 0.5], [1.5, 4.5], "-")
    title = ax.get_title(loc="left") + ax.get_title()
    assert "q-align: 4 images of 2 references, 20 % unparsed" in title
    assert "SRCC 0.80 [0.70, 0.90]" in title and "PLCC 0.70 [0.60, 0.80], fitted 0.75 [0.65, 0.85]" in title
    assert ax.get_legend() is None


def test_few_labels_are_told_apart_and_many_are_not() -> None:
    figure = Figure()
    few, many = figure.subplots(1, 2)
    draw_quality(few, entry(labels=["blur", "noise", "noise", "noise", "blur"]))
    assert points(few) == [([0.1, 0.5], [1, 5], "blur"), ([0.2, 0.4], [2, 4], "noise")]
    assert [text.get_text() for text in few.get_legend().get_texts()] == ["blur", "noise", "logistic fit"]
    assert len({line.get_marker() for line in few.lines[:2]}) == 2, "apart also in grey"
    numbers = [str(i) for i in range(len(CLASS_COLOURS) + 1)]
    draw_quality(many, entry(scores=[0.1] * len(numbers), truth=[1.0] * len(numbers), labels=numbers))
    assert len(points(many)) == 1 and many.get_legend() is None


def test_a_line_is_dashed_and_a_falling_score_keeps_its_sign() -> None:
    ax: Any = Figure().subplots()
    draw_quality(ax, entry(fit="linear", srcc=-0.8, srcc_low=-0.9, srcc_high=-0.7))
    assert ax.lines[-1].get_linestyle() == "--"
    assert "SRCC −0.80 [−0.90, −0.70]" in ax.get_title(loc="left") + ax.get_title()


def test_nothing_to_compare_says_why() -> None:
    figure = Figure()
    silent, constant = figure.subplots(1, 2)
    draw_quality(silent, unknown("no image has a score", n=0, scores=[None] * 5, unparsed=1.0))
    assert [text.get_text() for text in silent.texts] == ["no image has a score"]
    draw_quality(constant, unknown("all scores are equal", scores=[0.5] * 5))
    assert "all scores are equal" in constant.get_title(loc="left") + constant.get_title()


def test_methods_stand_side_by_side() -> None:
    ax: Any = Figure().subplots()
    second = entry(plcc=-0.3, plcc_low=None, plcc_high=None, unparsed=0.004)
    draw_correlations(ax, {"q-bench": entry(), "q-align": second, "number": unknown("all scores are equal", unparsed=None)})
    drawn = {(round(y[0]), to_hex(line.get_color())): x[0] for line in ax.lines for x, y in [line.get_data()] if len(x) == 1}
    first_row = [drawn[0, CLASS_COLOURS[i].lower()] for i in range(4)]
    assert first_row == [0.8, 0.6, 0.7, 0.75] and drawn[1, CLASS_COLOURS[2].lower()] == -0.3
    assert len(drawn) == 8, "the third has no values"
    assert sum(round(y) == 0 for y, *_ in spans(ax)) == 4 and sum(round(y) == 1 for y, *_ in spans(ax)) == 3
    assert (0.7, 0.9) == pytest.approx(next(span[1:] for span in sorted(spans(ax))))
    texts = {text.get_text() for text in ax.texts}
    assert texts == {"20 %", "< 1 %", "–", "all scores are equal", "unparsed"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["q-bench", "q-align", "number"]
    assert ax.get_ylim() == (2.5, -0.5), "the first on top"


def monotonicity(types: int = 2) -> dict[str, Any]:
    table = [row(f"type_{i}", -0.9 + 0.03 * i, 0.1 + 0.01 * i) for i in range(types)]
    return {"overall": row("all", -0.5, 0.2), "table": table, "n": 100, "without_score": 3, "without_severity": 0}


def test_every_type_has_its_tau_with_interval() -> None:
    figure = Figure()
    ax: Any = figure.subplots()
    draw_monotonicity(ax, monotonicity(25))
    assert [y[0] for _, y, _ in points(ax)] == list(range(26))
    assert [x[0] for x, _, _ in points(ax)] == pytest.approx([-0.5, *(-0.9 + 0.03 * i for i in range(25))])
    assert spans(ax)[1:] == [
        pytest.approx((i, x - 0.05, x + 0.05)) for i, x in enumerate([-0.5, *(-0.9 + 0.03 * i for i in range(25))])
    ]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:2] == ["all types", "type 0"] and len(labels) == 26


def test_outcomes_of_neighbours_stand_beside() -> None:
    figure = Figure()
    draw_monotonicity(figure.subplots(), monotonicity())
    panels: Any = figure.axes
    left, right = panels
    drawn = [patch for patch in right.patches if isinstance(patch, Rectangle)]  # a span is a polygon in older matplotlib
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in drawn if bar.get_height() < 0.8]
    assert bars[:3] == [pytest.approx(bar) for bar in ((0, 0, 0.2), (0, 0.2, 0.25), (0, 0.45, 0.125))]
    assert [x[0] for x, _, _ in points(right)] == pytest.approx([0.1, 0.05, 0.055])
    assert spans(right)[1] == pytest.approx((0, 0.15, 0.25))
    assert len({bar.get_hatch() for bar in right.patches[-3:]}) == 3, "apart also in grey"
    assert left.get_ylim() == right.get_ylim() == (2.5, -0.5)


def test_unknown_tau_and_intervals_are_left_out() -> None:
    figure = Figure()
    known = monotonicity()
    alone = row(
        "alone", -0.4, 0.3, tau_low=None, tau_high=None, violations_low=None, violations_high=None, violations_with_clean=None
    )
    none = row("none", None, None, ties=None, unparsed=None, violations_low=None, violations_with_clean=None)
    draw_monotonicity(figure.subplots(), {**known, "overall": alone, "table": [none]})
    panels: Any = figure.axes
    left, right = panels
    assert [y[0] for _, y, _ in points(left)] == [0] and [text.get_text() for text in left.texts] == [
        "no two levels with a score"
    ]
    assert len(spans(left)) == 1 and points(right) == [], "the line below the first row alone"
    assert np.isfinite(left.get_xlim()).all()
