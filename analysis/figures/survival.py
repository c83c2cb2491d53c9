"""The survival curve: how much distortion information a linear probe can use at each site, and what is said at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from analysis.figures.style import COLOURS, colour, errorbar, percent_axis, reference_lines

Rows = Sequence[Mapping[str, Any]]


def draw_survival(ax: Any, survival: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    """Probe score per site with interval, shuffled-label band, baselines, and the answers' accuracy as the last point.

    Args:
        ax: matplotlib axes.
        survival: the ``survival`` part of the results.
        answers: the base model's ``perception`` entry.
    """
    rows = [row for row in survival["base"] if not row["site"].startswith("baseline:")]
    x = np.arange(len(rows))
    _bands(ax, rows)
    _curve(ax, x, rows, "score", "#222222", "probe (95 % interval over references)")
    dead = [(i, row["score"]) for i, row in enumerate(rows) if row.get("dead_end")]
    if dead:
        ax.plot(
            *zip(*dead, strict=True),
            color="#222222",
            marker="o",
            mfc="white",
            ls="",
            zorder=4,
            label="dead end: the answer ignores it",
        )
    ax.fill_between(x, _column(rows, "control_low"), _column(rows, "control_high"), color="#999999", alpha=0.35, lw=0,
                    label="probe on shuffled labels")  # fmt: skip
    ax.plot(
        x,
        _column(rows, "content"),
        color="#777777",
        lw=0.9,
        ls=":",
        marker="x",
        ms=3.5,
        label="content: which reference is it?",
    )
    for row, style in zip(survival.get("baselines", ()), ("--", "-."), strict=False):
        name = row["site"].removeprefix("baseline:").replace("-", " ")
        ax.axhline(row["score"], color=COLOURS["baseline"], lw=1.0, ls=style, label=f"{name} {100 * row['score']:.0f} %")
    last = survival.get("last_position") or []
    at = {row["site"]: i for i, row in enumerate(rows)}
    if last:
        spots = [at[row["site"]] for row in last if row["site"] in at]
        ax.plot(spots, [r["score"] for r in last if r["site"] in at], color=colour("llm"), lw=1.1, ls="--", marker="v",
                ms=3.5, label="probe at the last prompt position")  # fmt: skip
    reference_lines(ax, survival["chance"], survival["majority"])
    errorbar(
        ax, len(rows), answers["balanced_accuracy"], answers["balanced_low"], answers["balanced_high"], "answer", ms=9, ls=""
    )
    ax.annotate(f"{100 * answers['balanced_accuracy']:.1f} %", (len(rows), answers["balanced_high"]), xytext=(0, 5),
                textcoords="offset points", ha="center", fontsize=8, fontweight="bold")  # fmt: skip
    ax.set_xticks([*x, len(rows)], [*(row["site"] for row in rows), "answer"], rotation=55, ha="right")
    ax.set_xlim(-0.6, len(rows) + 0.7)
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("balanced accuracy, distortion class")
    ax.set_title("Where distortion information survives")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_survival_arms(ax: Any, survival: Mapping[str, Any], tuning: Mapping[str, Any]) -> None:
    """The same curve before and after tuning each component; the answers stand at the right end."""
    rows = [row for row in survival["base"] if not row["site"].startswith("baseline:")]
    order = [row["site"] for row in rows]
    x = np.arange(len(order))
    _bands(ax, rows)
    for name, own in {"base": rows, **survival["arms"]}.items():
        scores = {row["site"]: row["score"] for row in own}
        style = "-" if name in ("base", "vision+constraint") else "--"
        ax.plot(x, [scores.get(site, np.nan) for site in order], color=colour(name), ls=style, lw=1.5)
        entry = tuning["base"] if name == "base" else tuning["arms"][name]
        errorbar(ax, len(order) + 0.1, entry["balanced_accuracy"], entry["balanced_low"], entry["balanced_high"], name,
                 ls=style, label=name)  # fmt: skip
    reference_lines(ax, survival["chance"], survival["majority"])
    ax.set_xticks([*x, len(order)], [*order, "answer"], rotation=55, ha="right")
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("balanced accuracy, distortion class")
    ax.set_title("Probes and answers after tuning one component")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="tuned")


def _column(rows: Rows, name: str) -> np.ndarray:
    return np.array([row[name] if row[name] is not None else np.nan for row in rows], float)


def _curve(ax: Any, x: np.ndarray, rows: Rows, name: str, shade: str, label: str) -> None:
    ax.fill_between(x, _column(rows, "low"), _column(rows, "high"), color=shade, alpha=0.18, lw=0)
    ax.plot(x, _column(rows, name), color=shade, marker="o", label=label)


def _bands(ax: Any, rows: Rows) -> None:
    """A tinted background per component, named inside the top edge."""
    start = 0
    for component, own in groupby(rows, key=lambda row: row["component"]):
        width = len(list(own))
        ax.axvspan(start - 0.5, start + width - 0.5, color=colour(component), alpha=0.08, lw=0)
        options = {"ha": "center", "va": "top", "fontsize": 7, "color": colour(component), "fontweight": "bold"}
        ax.text(start + width / 2 - 0.5, 0.99, component, transform=ax.get_xaxis_transform(), **options)
        start += width
