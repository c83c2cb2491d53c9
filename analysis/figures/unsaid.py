"""What is encoded and what is said: the four cells over the sites, per type, and as pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import groupby
from typing import Any

import numpy as np

from analysis.cells import CELLS
from analysis.figures.style import colour, percent_axis

Rows = Sequence[Mapping[str, Any]]
LAYERS: Mapping[str, Mapping[str, Any]] = {
    "encoded, not said": {"facecolor": "#D55E00", "hatch": "////", "key": "encoded_not_said"},
    "encoded and said": {"facecolor": "#E6B800", "hatch": "", "key": "encoded_and_said"},
    "not encoded, said": {"facecolor": "#F8E7A0", "hatch": "....", "key": "not_encoded_said"},
    "neither": {"facecolor": "#F2F2F2", "hatch": "", "key": "neither"},
}
"""From the bottom: the lower two together are what is encoded, the middle two what is said."""
EXPECTED: Mapping[str, Any] = {
    "color": "black", "marker": "D", "mfc": "white", "mew": 0.8, "zorder": 4,
    "label": "encoded, not said, if answers\nwere independent of the probe",
}  # fmt: skip
TICKS = 20
"""More sites than this are not all labelled."""
LETTERS = 50
"""Longer lines are cut in captions."""


def draw_unsaid(ax: Any, entry: Mapping[str, Any]) -> None:
    """The four cells stacked over the sites, with the interval of *encoded, not said* and what independence would make of it.

    Args:
        ax: matplotlib axes.
        entry: ``Unsaid.as_dict()``.
    """
    sites = entry["sites"]
    x = np.arange(len(sites))
    _components(ax, sites)
    base = np.zeros(len(sites))
    for cell in LAYERS:
        share = _numbers([row for row in entry["table"] if row["cell"] == cell], "share")
        ax.bar(x, share, 1.0, bottom=base, label=cell, **_look(cell))
        base = base + share
    own = [row for row in entry["table"] if row["cell"] == "encoded, not said"]
    _whiskers(ax, x, own, "share")
    size = 4.0 if len(sites) <= TICKS else 2.5
    ax.plot(x, _numbers(own, "expected"), lw=1.2, ms=size, **EXPECTED)
    ax.plot(x, _numbers(sites, "by_chance"), color="black", lw=1.0, ls=":", label="the same of a probe at chance")
    top = _numbers(sites, "encoded")
    ax.plot(x, top, color="#222222", marker="o", ms=size, lw=1.0, label="encoded: the probe's score")
    dead = np.array([bool(row["dead_end"]) for row in sites])
    if dead.any():
        ax.plot(x[dead], top[dead], color="#222222", marker="o", ms=size, mfc="white", ls="", zorder=4,
                label="dead end: the answer ignores it")  # fmt: skip
    shown = _labelled(sites)
    ax.set_xticks(shown, [sites[place]["site"] for place in shown], rotation=55, ha="right")
    ax.set_xlim(-0.6, len(sites) - 0.4)
    ax.set_ylim(0, 1.09)
    ax.set_yticks(np.arange(0, 1.01, 0.2))
    ax.set_ylabel("share of images, classes weighing alike")
    ax.set_title("What is encoded, and what is said")
    ax.grid(False)
    percent_axis(ax.yaxis)
    _legend(ax)


def draw_unsaid_types(ax: Any, entry: Mapping[str, Any], site: str | None = None, by: str = "type") -> None:
    """The four cells stacked per type at one site, the types with most *encoded, not said* on top.

    Args:
        ax: matplotlib axes.
        entry: ``Unsaid.as_dict()``.
        site: one of the shown sites; by default the one where stimuli are told apart.
        by: ``type``, ``level`` or ``class``; levels stay in their order.
    """
    at = site or entry["site"]
    rows = [row for row in entry[f"by_{by}"] if row["site"] == at]
    if by != "level":
        rows = sorted(rows, key=lambda row: -row["encoded_not_said"])
    y, base = np.arange(len(rows)), np.zeros(len(rows))
    for cell, how in LAYERS.items():
        share = _numbers(rows, how["key"])
        ax.barh(y, share, 0.82, left=base, label=cell, **_look(cell))
        base = base + share
    _whiskers(ax, y, rows, "encoded_not_said", across=True)
    ax.plot(_numbers(rows, "expected"), y, ls="", ms=4.5, **EXPECTED)
    ax.set_yticks(y, [f"{str(row[by]).replace('_', ' ')} ({row['n']})" for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of images (in brackets: how many)")
    ax.set_title(f"Encoded and said by {by}, at {at}")
    ax.grid(False)
    percent_axis(ax.xaxis)
    _legend(ax)


def draw_gallery(axes: Any, examples: Rows) -> None:
    """Example stimuli, a column per cell.

    Args:
        axes: (rows, 4) matplotlib axes.
        examples: what ``analysis.gallery.gallery`` gives; those that find no place are left out.
    """
    grid = np.atleast_2d(axes)
    for ax in grid.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    for column, cell in zip(grid.T, CELLS, strict=True):
        own = [example for example in examples if example["cell"] == cell]
        column[0].set_title(cell if own else f"{cell}: none", fontsize=8.5)
        for ax, example in zip(column, own, strict=False):
            ax.imshow(_decoded(example["png"]), interpolation="nearest")
            ax.set_xlabel(_caption(example), fontsize=5.7, labelpad=2)


def _look(cell: str) -> dict[str, Any]:
    how = LAYERS[cell]
    return {"facecolor": how["facecolor"], "hatch": how["hatch"], "edgecolor": "#555555", "linewidth": 0}


def _numbers(rows: Rows, key: str) -> np.ndarray:
    """What is not known is NaN."""
    return np.array([np.nan if row[key] is None else row[key] for row in rows], float)


def _whiskers(ax: Any, places: np.ndarray, rows: Rows, key: str, across: bool = False) -> None:
    """Intervals as thin lines; an unknown one is left out."""
    low, high = _numbers(rows, f"{key}_low"), _numbers(rows, f"{key}_high")
    lines = ax.hlines if across else ax.vlines
    known = np.isfinite(low) & np.isfinite(high)
    lines(places[known], low[known], high[known], color="black", lw=1.3, zorder=3)


def _labelled(sites: Rows) -> list[int]:
    """Places of the sites that are labelled: evenly spaced, rather those where a component begins."""
    step = -(-len(sites) // TICKS)
    shown = [0]
    for place in range(1, len(sites)):
        begins = sites[place]["component"] != sites[place - 1]["component"]
        if place - shown[-1] >= (step if not begins else (step + 1) // 2):
            shown.append(place)
    return shown


def _components(ax: Any, sites: Rows) -> None:
    """A named strip per component above the bars, and a line where it begins."""
    start = 0
    for component, own in groupby(sites, key=lambda row: row["component"]):
        width = len(list(own))
        ax.axvspan(start - 0.5, start + width - 0.5, 1 / 1.09, 1, color=colour(component), alpha=0.3, lw=0)
        place, align = (start + width / 2 - 0.5, "center") if start else (-0.45, "left")
        ax.text(place, 1.045, component, ha=align, va="center", fontsize=7, fontweight="bold")
        if start:
            ax.axvline(start - 0.5, color="white", lw=1.5, zorder=2)
        start += width


def _legend(ax: Any) -> None:
    """In the order of the stack, beside the axes."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: (labels[i] not in LAYERS, -i if labels[i] in LAYERS else i))
    ax.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper left", bbox_to_anchor=(1.0, 1.0),
              handleheight=1.4)  # fmt: skip


def _caption(example: Mapping[str, Any]) -> str:
    """Three lines: the truth, what the probe names, and what is said."""
    parts = [example["type"], None if example["level"] is None else f"level {example['level']}"]
    kind = ", ".join(part for part in parts if part is not None).replace("_", " ")
    sure = "" if example["confidence"] is None else f" ({100 * example['confidence']:.0f} %)"
    truth = f"truth: {example['label']}{f' ({kind})' if kind else ''}"
    return "\n".join(_cut(line) for line in (truth, f"probe: {example['probe']}", f"said: {example['answer']}{sure}"))


def _cut(line: str) -> str:
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…"


def _decoded(uri: str) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(BytesIO(base64.b64decode(uri.split(",", 1)[1]))))
