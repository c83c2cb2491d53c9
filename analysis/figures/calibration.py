"""The reliability diagram: how often a model is right when it is this sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import colour, percent_axis

FLOOR, TALLEST = -0.34, 0.24
"""The bars of counts stand on this height below the diagram; the tallest is this tall."""
DIGIT, NARROWEST = 0.028, 0.03
"""What a digit takes of the width: a number that is wider than its bin stands upright; a narrower bin has no room for it."""


def draw_reliability(ax: Any, entry: Mapping[str, Any], title: str = "Is it right as often as it is sure?") -> None:
    """Accuracy against mean confidence per bin, with intervals over references; below, the number of answers per bin.

    A bin whose answers are all about one reference has no interval and is drawn hollow.

    Args:
        ax: axes.
        entry: ``Calibration.as_dict()``.
        title: of the axes.
    """
    shown = [row for row in entry["table"] if row["n"]]
    _counts(ax, shown)
    ax.plot([0, 1], [0, 1], color="#999999", ls="--", lw=0.9, label="right as often as sure")
    for row in shown:
        barred = row["accuracy_low"] is not None
        if barred:
            ax.vlines(row["confidence"], row["accuracy_low"], row["accuracy_high"], color=colour("answer"), lw=1.0)
        ax.plot(row["confidence"], row["accuracy"], "o", color=colour("answer"), mfc=None if barred else "white", zorder=4)
    ax.plot([], [], "o-", color=colour("answer"), lw=1.0, label="answers, 95 % interval")
    ax.set_xlim(0, 1)
    ax.set_ylim(FLOOR, 1.04)
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    ax.set_title(title)
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=_error(entry), alignment="left", title_fontsize=7.5)


def _counts(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Bars of the number of answers, each with its number where there is room."""
    most = max(row["n"] for row in rows)
    ax.bar(
        [row["low"] for row in rows],
        [TALLEST * row["n"] / most for row in rows],
        [row["high"] - row["low"] for row in rows],
        FLOOR, align="edge", color="#DDDDDD", edgecolor="#888888", lw=0.5, label="number of answers",
    )  # fmt: skip
    for row in rows:
        width, spot = row["high"] - row["low"], ((row["low"] + row["high"]) / 2, FLOOR + TALLEST * row["n"] / most)
        if width >= NARROWEST:
            ax.annotate(f"{row['n']}", spot, xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=6,
                        rotation=90 if width < DIGIT * len(str(row["n"])) else 0)  # fmt: skip


def _error(entry: Mapping[str, Any]) -> str:
    """The calibration error in words."""
    lines = [f"ECE {100 * entry['ece']:.1f} %"]
    if entry["ece_low"] is not None:
        lines[0] += f" [{100 * entry['ece_low']:.1f}, {100 * entry['ece_high']:.1f}]"
    lines.append(f"if calibrated {100 * entry['ece_floor']:.1f} %")
    lines.append(f"over-confidence {100 * entry['over_confidence']:+.1f} points")
    return "\n".join(lines)
