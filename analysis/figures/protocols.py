"""How right a model is by the way in which it is asked, and what is left when the image is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.style import CLASS_COLOURS, percent_axis

Entry = Mapping[str, Any]


def draw_protocols(ax: Any, entries: Mapping[str, Entry]) -> None:
    """Balanced accuracy by protocol with its interval, and the share of answers that name no class.

    Args:
        ax: axes.
        entries: name → ``Answers.as_dict()``.
    """
    names = list(entries)
    for y, name in enumerate(names):
        entry = entries[name]
        value, low, high = (entry[key] for key in ("balanced_accuracy", "balanced_low", "balanced_high"))
        ax.errorbar([value], [y], xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], color=CLASS_COLOURS[0], marker="o", capsize=2.5,
                    label="balanced accuracy" if y == 0 else None)  # fmt: skip
        if entry["unparsed"] > 0:
            ax.plot([entry["unparsed"]], [y], color="#888888", marker="x", ls="", label=_once(ax, "unparsed"))
    chance = entries[names[0]]["chance"]
    ax.axvline(chance, color="#999999", lw=0.9, ls=":", label=f"chance {100 * chance:.1f} %")
    ax.set_yticks(range(len(names)), [f"{name}\n{entries[name]['references']} references" for name in names], fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.set_title("Right, by the way of asking")
    percent_axis(ax.xaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.12), ncols=3, fontsize=7)


def _once(ax: Any, label: str) -> str | None:
    """A label that the legend does not have yet."""
    return None if label in ax.get_legend_handles_labels()[1] else label


def draw_controls(axes: Any, entry: Entry) -> None:
    """Balanced accuracy with the image and with each control, and how many answers stay the same.

    Args:
        axes: two, sharing y.
        entry: ``Blind.as_dict()``.
    """
    rows = entry["table"]
    y = np.arange(len(rows))
    columns = (
        ("balanced_accuracy", "low", "high", "balanced accuracy"),
        ("same_answer", "same_low", "same_high", "same answer as with the image"),
    )
    for ax, (key, low, high, title) in zip(axes, columns, strict=True):
        value = np.array([row[key] for row in rows])
        bars = np.maximum([value - [row[low] for row in rows], [row[high] for row in rows] - value], 0)
        shades = ["#555555", *[CLASS_COLOURS[0]] * (len(rows) - 1)]
        ax.barh(
            y,
            value,
            0.6,
            color=shades,
            edgecolor="white",
            hatch=None,
            xerr=bars,
            error_kw={"capsize": 2.5, "lw": 1, "ecolor": "#E69F00"},
        )
        ax.set_title(f"{title} ({rows[0]['n']} images)", fontsize=8.5)
        ax.set_xlim(0, 1.02)
        ax.grid(axis="y", visible=False)
        percent_axis(ax.xaxis)
    axes[0].axvline(entry["chance"], color="#000000", lw=0.9, ls=":")
    axes[0].annotate(f"chance {100 * entry['chance']:.1f} %", (entry["chance"], 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
                     textcoords="offset points", fontsize=6.5, va="top")  # fmt: skip
    axes[0].set_yticks(y, [row["what"] for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.9)


def draw_accuracy_by(ax: Any, rows: Sequence[Entry], key: str, chance: float) -> None:
    """Share of right answers per distortion type, or per bin of measured severity, with intervals over references.

    Args:
        ax: axes.
        rows: of ``accuracy_by``.
        key: ``type`` or ``severity``.
        chance: of the classes asked about.
    """
    y = np.arange(len(rows))
    for at, row in zip(y, rows, strict=True):
        known = row["low"] is not None
        bars = [[max(0.0, row["accuracy"] - row["low"])], [max(0.0, row["high"] - row["accuracy"])]] if known else None
        ax.errorbar(
            [row["accuracy"]],
            [at],
            xerr=bars,
            color=CLASS_COLOURS[0],
            marker="o",
            ms=4,
            capsize=2,
            mfc=None if known else "white",
        )
        ax.annotate(str(row["n"]), (1.02, at), xycoords=("axes fraction", "data"), fontsize=6, va="center", color="#555555")
    ax.axvline(chance, color="#999999", lw=0.9, ls=":")
    ax.set_yticks(y, [str(row[key]).replace("_", " ") for row in rows], fontsize=6.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("right answers (number of images on the right)")
    ax.set_title({"type": "By distortion type", "severity": "By measured severity, PSNR in dB"}[key], fontsize=8.5)
    percent_axis(ax.xaxis)


def draw_shares(ax: Any, rows: Sequence[Entry], title: str) -> None:
    """Shares with their intervals, one bar each; where there is no interval, none is drawn.

    Args:
        ax: axes.
        rows: ``what``, ``share``, ``low``, ``high`` and, where it means something, ``chance``.
        title: of the axes.
    """
    y = np.arange(len(rows))
    for at, row in zip(y, rows, strict=True):
        known = row["low"] is not None
        bars = [[max(0.0, row["share"] - row["low"])], [max(0.0, row["high"] - row["share"])]] if known else None
        ax.barh([at], [row["share"]], 0.6, color=CLASS_COLOURS[0], edgecolor="white", xerr=bars,
                error_kw={"capsize": 2.5, "lw": 1, "ecolor": "#E69F00"})  # fmt: skip
        if row.get("chance") is not None:
            ax.plot([row["chance"]] * 2, [at - 0.4, at + 0.4], color="black", ls=":", lw=1.2, label=_once(ax, "by chance"))
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.02)
    ax.set_title(title, fontsize=8.5)
    ax.grid(axis="y", visible=False)
    percent_axis(ax.xaxis)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="lower right", fontsize=7)
