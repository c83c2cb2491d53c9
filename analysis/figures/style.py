"""One colour, marker, line, hatch and order per component and class everywhere (Okabe and Ito's palette)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("snellen.mplstyle")
COLOURS: Mapping[str, str] = {
    "input": "#777777",
    "vision": "#0072B2",
    "vision+constraint": "#56B4E9",
    "projector": "#E69F00",
    "llm": "#009E73",
    "answer": "#000000",
    "base": "#555555",
    "baseline": "#CC79A7",
}
MARKERS: Mapping[str, str] = {
    "input": "X", "vision": "o", "vision+constraint": "P", "projector": "D", "llm": "s", "answer": "*", "base": "h",
    "baseline": "^",
}  # fmt: skip
LINES: Mapping[str, Any] = {
    "vision": "-", "vision+constraint": (0, (6, 1, 1, 1)), "projector": (0, (4, 1.5)), "llm": (0, (1, 1)), "base": (0, (8, 2)),
}  # fmt: skip
"""Dashes of curves that lie over each other, so that they are told apart in grey as well."""
HATCHES: Mapping[str, str] = {"vision": "////", "vision+constraint": "xxxx", "projector": "....", "llm": "\\\\\\\\", "base": ""}
PLAIN, AFTER = "#44546A", "#D55E00"
"""Of what is not of a component: the only series of a figure, and the model after tuning, whatever was tuned."""
ARMS = ("base", "projector", "llm", "vision", "vision+constraint")
"""Order of the arms that every exam has; others follow."""
CLASS_COLOURS = ("#0072B2", "#D55E00", "#E6B800", "#009E73", "#CC79A7", "#56B4E9", "#8B5A2B", "#000000", "#7F7F7F")
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")


def style() -> Any:
    """Snellen's style inside a ``with`` block; matplotlib's settings are as they were after it."""
    import matplotlib

    return matplotlib.rc_context(fname=STYLE)


def arms_in_order(names: Iterable[str]) -> list[str]:
    """Arms as they are shown: the usual ones first, in their order."""
    given = list(names)
    return [name for name in ARMS if name in given] + [name for name in given if name not in ARMS]


def colour(name: str) -> str:
    """The colour of a component, arm or kind of point."""
    return COLOURS.get(name, COLOURS["base"])


def look(name: str) -> dict[str, Any]:
    """Colour, marker and dashes of a curve of a component or arm."""
    return {"color": colour(name), "marker": MARKERS.get(name, "o"), "ls": LINES.get(name, "-.")}


def hatch(name: str) -> str:
    """The hatch of a component's or arm's bars."""
    return HATCHES.get(name, "++++")


def errorbar(ax: Any, x: Any, value: float, low: float, high: float, name: str, **options: Any) -> None:
    """One point with its interval in the style of a component."""
    below, above = max(0.0, value - low), max(0.0, high - value)
    ax.errorbar(
        [x], [value], yerr=[[below], [above]], color=colour(name), marker=MARKERS.get(name, "o"), capsize=2.5, **options
    )


def reference_lines(ax: Any, chance: float, majority: float) -> None:
    """Chance, and the majority share where it differs."""
    ax.axhline(chance, color="#999999", lw=0.9, ls=":", label=f"chance {100 * chance:.1f} %")
    if abs(majority - chance) > 0.01:
        ax.axhline(majority, color="#999999", lw=0.9, ls="-.", label=f"majority {100 * majority:.1f} %")


def percent_axis(axis: Any) -> None:
    """Show shares as whole percentages."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
