"""How right a model is by the way in which it is asked, and what is left when the image is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import PLAIN, percent_axis

Entry = Mapping[str, Any]


def draw_protocols(ax: Any, entries: Mapping[str, Entry]) -> None:
    """Balanced accuracy by protocol with its interval, and the share of answers that name no class.

    Args:
        ax: axes.
        entries: name → ``Answers.as_dict()``.
    """
    names = list(entries)
    for y, entry in enumerate(entries.values()):
        value, low, high = (entry[key] for key in ("balanced_accuracy", "balanced_low", "balanced_high"))
        ax.errorbar([value], [y], xerr=_arms(value, low, high), color=PLAIN, marker="o", capsize=2.5,
                    label=_once(ax, "balanced accuracy"))  # fmt: skip
        if entry["unparsed"] > 0:
            ax.plot([entry["unparsed"]], [y], color="#888888", marker="x", ls="", zorder=4, label=_once(ax, "unparsed"))
    chance = entries[names[0]]["chance"]
    ax.axvline(chance, color="#999999", lw=0.9, ls=":", label=f"chance {100 * chance:.1f} %")
    ax.set_yticks(range(len(names)), [f"{name}\n{entries[name]['references']} references" for name in names], fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.set_title("Right, by the way of asking")
    percent_axis(ax.xaxis)
    _legend(ax)


def draw_controls(axes: Any, entry: Entry) -> None:
    """Balanced accuracy with the image and with each control, and how many answers stay the same.

    Args:
        axes: two, sharing y.
        entry: ``Blind.as_dict()``.
    """
    rows = entry["table"]
    columns = (
        ("balanced_accuracy", "low", "high", f"balanced accuracy ({rows[0]['n']} images)"),
        ("same_answer", "same_low", "same_high", "same answer as with the image"),
    )
    for ax, (key, low, high, title) in zip(axes, columns, strict=True):
        for y, row in enumerate(rows):
            _bar(ax, y, row[key], row[low], row[high], PLAIN if y else "#999999")
        _share_axis(ax, title)
    axes[0].axvline(entry["chance"], color="#000000", lw=0.9, ls=":")
    side, gap = ("left", 3) if entry["chance"] < 0.6 else ("right", -3)
    axes[0].annotate(f"chance {100 * entry['chance']:.1f} %", (entry["chance"], 1.0), xycoords=("data", "axes fraction"), xytext=(gap, -2),
                     textcoords="offset points", fontsize=6.5, va="top", ha=side)  # fmt: skip
    axes[0].set_yticks(range(len(rows)), [row["what"] for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.9)


def draw_accuracy_by(ax: Any, rows: Sequence[Entry], key: str, chance: float) -> None:
    """Share of right answers per distortion type, or per bin of measured severity, with intervals over references.

    What is of one reference alone has no interval and is hollow.

    Args:
        ax: axes.
        rows: of ``accuracy_by``.
        key: ``type`` or ``severity``.
        chance: of the classes asked about.
    """
    for y, row in enumerate(rows):
        arms = _arms(row["accuracy"], row["low"], row["high"])
        ax.errorbar([row["accuracy"]], [y], xerr=arms, color=PLAIN, marker="o", ms=4, capsize=2,
                    mfc="white" if arms is None else None)  # fmt: skip
        ax.annotate(str(row["n"]), (1.02, y), xycoords=("axes fraction", "data"), fontsize=6, va="center", color="#555555")
    ax.axvline(chance, color="#999999", lw=0.9, ls=":")
    ax.set_yticks(range(len(rows)), [str(row[key]).replace("_", " ") for row in rows], fontsize=6.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("right answers; dotted: chance; on the right: images", fontsize=7.5)
    ax.set_title({"type": "By distortion type", "severity": "By measured severity, PSNR in dB"}[key], fontsize=8.5)
    percent_axis(ax.xaxis)


def draw_shares(ax: Any, rows: Sequence[Entry], title: str) -> None:
    """Shares with their intervals, one bar each; where there is no interval, none is drawn.

    Args:
        ax: axes.
        rows: ``what``, ``share``, ``low``, ``high`` and, where it means something, ``chance``.
        title: of the axes.
    """
    for y, row in enumerate(rows):
        _bar(ax, y, row["share"], row["low"], row["high"], PLAIN)
        if row.get("chance") is not None:
            ax.plot([row["chance"]] * 2, [y - 0.4, y + 0.4], color="black", ls=":", lw=1.2)
            ax.set_xlabel("dotted: by chance", fontsize=7.5)
    _share_axis(ax, title)
    ax.set_yticks(range(len(rows)), [row["what"] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)


def _bar(ax: Any, y: float, share: float, low: float | None, high: float | None, shade: str) -> None:
    """A share as a bar, with its interval where it is known."""
    ax.barh([y], [share], 0.6, color=shade, edgecolor="white", xerr=_arms(share, low, high),
            error_kw={"capsize": 2.5, "lw": 1, "ecolor": "#D55E00"})  # fmt: skip


def _share_axis(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=8.5)
    ax.set_xlim(0, 1.02)
    ax.grid(axis="y", visible=False)
    percent_axis(ax.xaxis)


def _arms(value: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """How far an interval goes down and up from its value; None where it is not known."""
    if low is None or high is None or low != low or high != high:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _once(ax: Any, label: str) -> str | None:
    """A label that the legend does not have yet."""
    return None if label in ax.get_legend_handles_labels()[1] else label


def _legend(ax: Any) -> None:
    """In one row below the labels of the x axis, however tall the axes are; errorbars first."""
    from matplotlib.transforms import offset_copy

    below = offset_copy(ax.transAxes, ax.figure, y=-0.22, units="inches")
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] != "balanced accuracy")
    ax.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper left", bbox_to_anchor=(0.0, 0.0),
              bbox_transform=below, ncols=3, fontsize=7)  # fmt: skip
