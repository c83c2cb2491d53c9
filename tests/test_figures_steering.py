"""The drawn numbers are the table's; what is more than noise is filled, and doses far from the model's own tokens are shaded."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.figures.files import canvas
from analysis.figures.steering import draw_dose_response, draw_erased, draw_erased_probes
from analysis.figures.style import style

DOSES = (-2.0, 0.0, 1.0, 4.0)


def doses() -> list[dict[str, Any]]:
    rows = []
    for kind, slope in (("means", 0.1), ("random", 0.01), ("shuffled", 0.02)):
        for name in ("blur", "noise", "all"):
            for dose in DOSES:
                p = 0.3 + slope * dose + 0.02 * (name == "noise")
                rows.append(
                    {"site": "llm.0", "class": name, "kind": kind, "like": "means", "dose": dose, "probability": p, "colour": None,
                     "probability_low": p - 0.03, "probability_high": p + 0.03, "p_holm": None if not dose else 0.01 if dose > 0 else 0.4,
                     "outside": 0.9 if dose == 4 else 0.0}
                )  # fmt: skip
    return rows


def erased() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    names = ("none", "erased", "random-0", "matched-0")
    table = [
        {"condition": name, "balanced_accuracy": 0.8 - 0.1 * at, "low": 0.7 - 0.1 * at, "high": 0.9 - 0.1 * at, "chance": 0.125,
         "p_holm": (None, 0.01, 0.5, 0.02)[at]} for at, name in enumerate(names)
    ]  # fmt: skip
    probes = [
        {"condition": name, "site": site, "before": 0.9, "after": 0.9 - 0.2 * at, "change": -0.2 * at, "low": -0.2 * at - 0.05,
         "high": -0.2 * at + 0.05, "p_holm": 0.01 if name == "erased" else 1.0, "chance": 0.125}
        for at, name in ((3, "erased"), (1, "random-0"), (0, "matched-0")) for site in ("llm.0", "llm.1")
    ]  # fmt: skip
    return table, probes


def axes() -> Axes:
    ax: Axes = canvas(4, 3)[1]
    return ax


def legend(ax: Axes) -> list[str]:
    own = ax.get_legend()
    return [] if own is None else [text.get_text() for text in own.get_texts()]


def test_lines_are_the_probabilities_over_the_dose_with_controls_in_grey() -> None:
    with style():
        ax = axes()
        draw_dose_response(ax, list(reversed(doses())))
    lines = {str(line.get_label()): line for line in ax.lines}
    for label, kind, name in (
        ("mean over classes", "means", "all"),
        ("noise", "means", "noise"),
        ("random directions", "random", "all"),
    ):
        want = [row["probability"] for row in doses() if (row["kind"], row["class"]) == (kind, name)]
        assert np.allclose(lines[label].get_ydata(), want) and np.allclose(lines[label].get_xdata(), DOSES)
    assert lines["random directions"].get_color() == lines["shuffled directions"].get_color() == "#777777"
    dots = [line for line in ax.lines if line.get_marker() == "o" and np.size(line.get_xdata()) == 1]
    filled = [float(np.asarray(dot.get_xdata())[0]) for dot in dots if dot.get_markerfacecolor() != "white"]
    assert len(dots) == 4 and filled == [1, 4]
    (shade,) = ax.patches
    low, high = shade.get_extents().transformed(ax.transData.inverted()).intervalx
    assert low == pytest.approx(2.5) and high > 4
    assert [text.get_text() for text in ax.get_xticklabels()] == ["−2", "0", "1", "4"]
    assert "most norms unusual" in legend(ax) and len(ax.collections) == 3, "a band for the mean and each control"


def test_what_is_not_there_is_refused_and_classes_can_be_left_out() -> None:
    with style():
        ax = axes()
        draw_dose_response(ax, doses(), classes=())
        assert not {"blur", "noise"} & set(legend(ax))
        for options in ({"kind": "probe"}, {"value": "colour"}):
            with pytest.raises(KeyError):
                draw_dose_response(ax, doses(), **options)


def test_answers_before_and_after_erasing_stand_beside_their_controls() -> None:
    table, _ = erased()
    with style():
        ax = axes()
        draw_erased(ax, table)
    points = [line for line in ax.lines if np.size(line.get_xdata()) == 1]
    assert [float(np.asarray(own.get_ydata())[0]) for own in points] == pytest.approx(
        [row["balanced_accuracy"] for row in table]
    )
    assert [own.get_markerfacecolor() != "white" for own in points] == [True, True, False, True]
    bars = [np.asarray(line.get_ydata()) for line in ax.lines if np.array_equal(line.get_xdata(), [1, 1])]
    assert len(bars) == 1 and bars[0] == pytest.approx([0.6, 0.8])
    assert [text.get_text() for text in ax.get_xticklabels()][:2] == ["nothing erased", "concept erased"]


def test_probes_behind_are_drawn_over_the_sites() -> None:
    _, probes = erased()
    with style():
        ax = axes()
        draw_erased_probes(ax, probes)
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.lines}
    assert lines["nothing erased"] == pytest.approx([0.9, 0.9]) and lines["concept erased"] == pytest.approx([0.3, 0.3])
    assert lines["as many other directions"] == pytest.approx([0.7, 0.7])
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.25, 0.35))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["llm.0", "llm.1"]
    with style():
        alone = axes()
        draw_erased_probes(alone, [row for row in probes if row["condition"] == "erased"])
    assert "as many other directions" not in legend(alone)
