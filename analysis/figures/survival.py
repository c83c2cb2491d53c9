"""The survival curve: how much distortion information a linear probe can use at each site, and what is said at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from analysis.figures.style import COLOURS, colour, errorbar, look, percent_axis, reference_lines

Rows = Sequence[Mapping[str, Any]]
ORDER = ("input", "vision", "projector", "llm")
BASELINE = "baseline:"


def draw_survival(
    ax: Any, survival: Mapping[str, Any], answers: Mapping[str, Any] | None = None, what: str = "distortion class"
) -> None:
    """Probe score per site with interval, shuffled-label band, baselines, and the answers' accuracy as the last point.

    Args:
        ax: matplotlib axes.
        survival: the ``survival`` part of the results: ``base`` (rows of a sweep, or of a ``severity_sweep``, whose score is a
            correlation), ``baselines``, and for classes ``chance`` and ``majority``.
        answers: the base model's ``perception`` entry, if it was asked.
        what: the target, for the axis.
    """
    rows = ordered([row for row in survival["base"] if not row["site"].startswith(BASELINE)])
    numbers = "within_type" in rows[0]
    x = np.arange(len(rows))
    site_axis(ax, rows, None if answers is None else "answer")
    label = "rank correlation (SRCC)" if numbers else "probe"
    curve(ax, x, rows, "score", "#222222", f"{label} (95 % interval over references)")
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
    if numbers:
        curve(ax, x, rows, "within_type", "#777777", "the same within a type", ls="--", marker="s", lw=1.1)
        ax.plot(x, _column(rows, "type_only"), color="#777777", lw=0.9, ls=":", label="what the type alone tells")
    else:
        content = {"color": "#777777", "lw": 0.9, "ls": ":", "marker": "x", "ms": 3.5}
        ax.plot(x, _column(rows, "content"), label="content: which reference is it?", **content)
    _baselines(ax, survival.get("baselines", ()), numbers)
    last = survival.get("last_position") or []
    at = {row["site"]: i for i, row in enumerate(rows)}
    if last:
        spots = [at[row["site"]] for row in last if row["site"] in at]
        ax.plot(spots, [r["score"] for r in last if r["site"] in at], color=colour("llm"), lw=1.1, ls="--", marker="v",
                ms=3.5, label="probe at the last prompt position")  # fmt: skip
    if numbers:
        ax.axhline(0, color="#999999", lw=0.9, ls=":")
        ax.set_ylim(min(-0.25, float(np.nanmin(_column(rows, "low"))) - 0.05), 1.12)
        ax.set_ylabel(f"correlation with {what}")
        ax.set_title("Where the number can be read")
    else:
        reference_lines(ax, survival["chance"], survival["majority"])
        ax.set_ylim(0, 1.12)
        ax.set_ylabel(f"balanced accuracy, {what}")
        ax.set_title("Where distortion information survives")
        percent_axis(ax.yaxis)
    if answers is not None:
        bounds = answers["balanced_accuracy"], answers["balanced_low"], answers["balanced_high"]
        errorbar(ax, len(rows), *bounds, "answer", ms=9, ls="")
        ax.annotate(f"{100 * bounds[0]:.1f} %", (len(rows), bounds[2]), xytext=(0, 5),
                    textcoords="offset points", ha="center", fontsize=8, fontweight="bold")  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_survival_arms(ax: Any, survival: Mapping[str, Any], tuning: Mapping[str, Any]) -> None:
    """The same curve before and after tuning each component; the answers stand at the right end."""
    rows = [row for row in survival["base"] if not row["site"].startswith(BASELINE)]
    order = [row["site"] for row in rows]
    x = np.arange(len(order))
    site_axis(ax, rows, "answer")
    drawn: list[str] = []
    for name, own in {"base": rows, **survival["arms"]}.items():
        scores = {row["site"]: row["score"] for row in own}
        ax.plot(x, [scores.get(site, np.nan) for site in order], **{**look(name), "marker": ""})
        entry = tuning["base"] if name == "base" else tuning["arms"][name]
        bounds = entry["balanced_accuracy"], entry["balanced_low"], entry["balanced_high"]
        errorbar(ax, len(order) - 0.2 + 0.2 * len(drawn), *bounds, name, ls="")
        drawn.append(name)
        ax.plot([], [], **look(name), label=name)
    reference_lines(ax, survival["chance"], survival["majority"])
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("balanced accuracy, distortion class")
    ax.set_title("Probes and answers after tuning one component")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="tuned")


def ordered(rows: Rows) -> list[Mapping[str, Any]]:
    """Rows from the input to the language model, and within a component as they are."""
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(rows, key=lambda row: places.get(row["component"], len(places)))


def split(rows: Rows) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows of sites from the input to the language model, and rows of baselines."""
    base = [row for row in rows if row["site"].startswith(BASELINE)]
    return ordered([row for row in rows if not row["site"].startswith(BASELINE)]), base


def site_axis(ax: Any, rows: Rows, last: str | None = None, names: bool = True) -> None:
    """Sites along x: a tinted band per component, named inside the top edge, and as many sites' names as can be read.

    Args:
        ax: matplotlib axes.
        rows: one per site, in order.
        last: the name of one more place behind them.
        names: whether to name the components.
    """
    _bands(ax, rows, names)
    site_ticks(ax, rows, last)
    ax.set_xlim(-0.6, len(rows) - 0.4 if last is None else len(rows) + 0.7)


def site_ticks(ax: Any, rows: Rows, last: str | None = None) -> None:
    """As many sites' names as can be read, along x."""
    ticks = shown_ticks([row["component"] for row in rows])
    more = ([], []) if last is None else ([len(rows)], [last])
    ax.set_xticks([*ticks, *more[0]], [*(rows[i]["site"] for i in ticks), *more[1]], rotation=55, ha="right")


def shown_ticks(components: Sequence[str], most: int = 32) -> list[int]:
    """Positions of the sites that are named: all, or of more than ``most`` every k-th of each component, from its first on.

    A name that would stand too close to the last one, or to that of the next component's first site, is left out.
    """
    step = -(-len(components) // most)
    starts = [i for i, own in enumerate(components) if i == 0 or own != components[i - 1]]
    found: list[int] = []
    for start, end in zip(starts, [*starts[1:], len(components) + step], strict=True):
        for place in range(start, min(end, len(components)), step):
            near = (found and 2 * step > 3 * (place - found[-1])) or (place > start and 2 * step > 3 * (end - place))
            found += [] if near else [place]
    return found


def curve(ax: Any, x: np.ndarray, rows: Rows, name: str, shade: str, label: str, **style: Any) -> None:
    """A column with its interval: a line, and a band from ``…_low`` to ``…_high`` (of ``score`` also ``low`` to ``high``)."""
    plain = name == "score" and "low" in rows[0]
    low, high = ("low", "high") if plain else (f"{name}_low", f"{name}_high")
    if low in rows[0]:
        ax.fill_between(x, _column(rows, low), _column(rows, high), color=shade, alpha=0.18, lw=0)
    how = {"color": shade, "marker": "o", "label": label, **({"ms": 2.5} if len(rows) > 40 else {})}
    ax.plot(x, _column(rows, name), **{**how, **style})


def _baselines(ax: Any, rows: Rows, numbers: bool) -> None:
    for row, style in zip(rows, ("--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1))), strict=False):
        name = row["site"].removeprefix(BASELINE).replace("-", " ")
        told = f"{row['score']:.2f}" if numbers else f"{100 * row['score']:.0f} %"
        ax.axhline(row["score"], color=COLOURS["baseline"], lw=1.0, ls=style, label=f"{name} {told}")


def _column(rows: Rows, name: str) -> np.ndarray:
    return np.array([row[name] if row[name] is not None else np.nan for row in rows], float)


def _bands(ax: Any, rows: Rows, names: bool) -> None:
    start = 0
    for component, own in groupby(rows, key=lambda row: row["component"]):
        width = len(list(own))
        ax.axvspan(start - 0.5, start + width - 0.5, color=colour(component), alpha=0.08, lw=0)
        upright = width < 0.06 * len(rows)  # too narrow to write across
        options = {"ha": "center", "va": "top", "fontsize": 7, "color": colour(component), "fontweight": "bold"}
        if names:
            ax.text(
                start + width / 2 - 0.5,
                0.99,
                component,
                transform=ax.get_xaxis_transform(),
                rotation=90 if upright else 0,
                **options,
            )
        start += width
