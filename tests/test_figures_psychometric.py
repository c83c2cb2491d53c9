"""Psychometric panels show what the entry holds."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.psychometric import SHADE, draw_psychometric, panels

ROW = {
    "n": 40,
    "references": 10,
    "threshold": 28.0,
    "low": 26.0,
    "high": 31.0,
    "p": 0.55,
    "slope": 0.1,
    "guess": 0.1,
    "note": "",
}
NONE = ROW | {"threshold": None, "low": None, "high": None, "p": None, "slope": None}


def entry(*rows: dict[str, Any], measure: str = "psnr") -> dict[str, Any]:
    """What ``Psychometric.as_dict()`` gives for types ``type 0``, ``type 1``, …"""
    table = [{"type": f"type_{i}", **row} for i, row in enumerate(rows)]
    x = [1.0, 3.0, 5.0] if measure == "level" else [40.0, 30.0, 20.0]
    points = [{"x": x[0], "n": 10, "share": 0.2}, {"x": x[2], "n": 20, "share": 0.9}]
    return {
        "measure": measure, "outcome": "named", "table": table,
        "curves": {row["type"]: {"x": x, "p": [0.1, 0.5, 0.9]} for row in table},
        "points": {row["type"]: points for row in table},
    }  # fmt: skip


def drawn(own: dict[str, Any]) -> Any:
    axes = Figure().subplots(*panels(own), squeeze=False)
    draw_psychometric(axes, own)
    return axes


@pytest.mark.parametrize(("n", "shape"), [(0, (1, 1)), (1, (1, 1)), (4, (1, 4)), (5, (1, 5)), (6, (2, 5)), (25, (5, 5))])
def test_panels_hold_all_types(n: int, shape: tuple[int, int]) -> None:
    own = entry(*[ROW] * n)
    assert panels(own) == shape
    axes = drawn(own)
    assert [ax.get_title() for ax in axes.flat if ax.axison] == [f"type {i}" for i in range(n)]


def test_curve_points_guess_and_threshold_are_those_of_the_entry() -> None:
    (ax,) = drawn(entry(ROW)).flat
    guess, curve, interval, caps, threshold = ax.lines
    assert (
        set(guess.get_ydata()) == {0.1}
        and list(curve.get_xdata()) == [40, 30, 20]
        and list(curve.get_ydata()) == [0.1, 0.5, 0.9]
    )
    (dots,) = ax.collections
    assert dots.get_offsets().tolist() == [[40, 0.2], [20, 0.9]]
    small, large = dots.get_sizes()
    assert large == 2 * small, "the area is the number of images"
    assert list(interval.get_xdata()) == list(caps.get_xdata()) == [26, 31] and interval.get_color() == SHADE
    assert (threshold.get_xdata()[0], threshold.get_ydata()[0]) == (28, 0.55)
    assert [text.get_text() for text in ax.texts] == ["28 dB"] and curve.get_linestyle() == "-"


def test_an_open_interval_goes_to_the_end_of_the_curve_and_has_no_cap_there() -> None:
    (ax,) = drawn(entry(ROW | {"low": None})).flat
    _, _, interval, caps, _ = ax.lines
    assert list(interval.get_xdata()) == [20, 31] and list(caps.get_xdata()) == [31]
    (ax,) = drawn(entry(ROW | {"high": None})).flat
    assert list(ax.lines[2].get_xdata()) == [26, 40] and list(ax.lines[3].get_xdata()) == [26]
    (ax,) = drawn(entry(ROW | {"low": None, "high": None})).flat
    assert len(ax.lines) == 3, "guess, curve and threshold, of one reference"


def test_without_a_threshold_the_panel_says_why() -> None:
    own = entry(NONE | {"note": "flat"}, NONE | {"note": "no clean images", "guess": None})
    own["curves"]["type_1"], own["points"]["type_1"] = {}, []
    flat, empty = drawn(own).flat
    assert [text.get_text() for ax in (flat, empty) for text in ax.texts] == ["flat", "no clean images"]
    assert [line.get_linestyle() for line in flat.lines] == [":", "--"] and not empty.lines


def test_severity_rises_to_the_right_in_every_unit() -> None:
    for measure, rises in (("psnr", False), ("ssim", False), ("level", True)):
        axes = drawn(entry(ROW, ROW, measure=measure))
        ends = {ax.get_xlim() for ax in axes.flat}
        assert len(ends) == 1 and all((left < right) == rises for left, right in ends)
        shown = [1.0, 5.0] if measure == "level" else [20.0, 40.0]
        assert min(*ends) < shown[0] and max(*ends) > shown[1]
    assert list(axes.flat[0].get_xticks()) == [1, 2, 3, 4, 5]
    assert axes.flat[0].figure.get_supxlabel() == "published level"
    assert not np.isnan(axes.flat[0].get_ylim()).any()


def test_the_lowest_panel_of_every_column_has_its_severities() -> None:
    figure = Figure()
    axes = figure.subplots(2, 5, sharex=True)
    draw_psychometric(axes, entry(*[ROW] * 7))
    labelled = [any(tick.label1.get_visible() for tick in ax.xaxis.get_major_ticks()) for ax in axes.flat[:7]]
    assert labelled == [False, False, True, True, True, True, True]
