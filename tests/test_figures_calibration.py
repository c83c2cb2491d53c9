"""The reliability diagram shows what the entry holds."""

from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.calibration import calibration
from analysis.figures.calibration import FLOOR, TALLEST, draw_reliability

SURE, HITS, GROUPS = (
    [0.95, 0.95, 0.93, 0.55, 0.55, 0.25],
    [True, False, True, True, True, False],
    ["a", "b", "c", "a", "b", "c"],
)


def drawn(entry: dict[str, Any]) -> Any:
    ax = Figure().subplots()
    draw_reliability(ax, entry)
    return ax


def test_points_intervals_and_bars_are_those_of_the_bins() -> None:
    entry = calibration(SURE, HITS, GROUPS, n_boot=100).as_dict()
    ax = drawn(entry)
    rows = [row for row in entry["table"] if row["n"]]
    points = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ]
    assert points == [(row["confidence"], row["accuracy"]) for row in rows]
    bars = [[tuple(end) for end in segment] for lines in ax.collections for segment in lines.get_segments()]
    assert bars == [[(row["confidence"], row[f"accuracy_{side}"]) for side in ("low", "high")] for row in rows]
    (counts,) = ax.containers
    assert [bar.get_x() for bar in counts] == [row["low"] for row in rows]
    assert [3 * bar.get_height() / TALLEST for bar in counts] == pytest.approx([row["n"] for row in rows])
    assert {bar.get_y() for bar in counts} == {FLOOR} and FLOOR + TALLEST < 0, "counts stand below the diagram"
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]


def test_the_legend_says_the_error_and_what_a_calibrated_model_would_have() -> None:
    entry = calibration(SURE, HITS, GROUPS, n_boot=100).as_dict()
    lines = drawn(entry).get_legend().get_title().get_text().split("\n")
    assert lines[0] == f"ECE {100 * entry['ece']:.1f} % [{100 * entry['ece_low']:.1f}, {100 * entry['ece_high']:.1f}]"
    assert lines[1:] == [f"if calibrated {100 * entry['ece_floor']:.1f} %", "over-confidence +3.0 points"]


def test_one_reference_is_drawn_hollow_and_without_intervals() -> None:
    ax = drawn(calibration(SURE, HITS, ["a"] * 6, n_boot=20).as_dict())
    points = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert len(points) == 3 and {to_hex(line.get_markerfacecolor()) for line in points} == {"#ffffff"}
    assert not ax.collections and "[" not in ax.get_legend().get_title().get_text()


def test_numbers_of_narrow_bins_stand_upright_or_are_left_out() -> None:
    sure = [0.5] * 10 + [0.92] * 9 + [0.96] * 10 + [0.99]
    entry = calibration(sure, [True] * 30, list("ab") * 15, (0, 0.9, 0.94, 0.98, 1), n_boot=20).as_dict()
    assert [(text.get_text(), text.get_rotation()) for text in drawn(entry).texts] == [("10", 0), ("9", 0), ("10", 90)]
