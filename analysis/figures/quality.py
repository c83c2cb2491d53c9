"""How quality scores agree with opinion scores, and whether they fall as images get worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS, percent_axis

Entry = Mapping[str, Any]
STATISTICS = (("srcc", "SRCC"), ("krcc", "KRCC"), ("plcc", "PLCC, raw"), ("plcc_fitted", "PLCC, fitted"))
OUTCOMES = (
    ("violations", "wrong order", "#333333", ""),
    ("ties", "same score", "#AAAAAA", "////"),
    ("unparsed", "unparsed", "#FFFFFF", "...."),
)
MARGIN = {"loc": "upper left", "borderaxespad": 0.0}


def draw_quality(ax: Any, entry: Entry) -> None:
    """A point per image, score against truth, with the fitted curve; the correlations with their intervals are the title.

    Args:
        ax: axes; the legend of labels, where there is one, stands on its right.
        entry: ``Correlations.as_dict()``, to which ``name`` and ``labels`` (one per image, classes or types) can be added. Points
            are told apart by label where there are few of them.
    """
    points = [(s, q, i) for i, (s, q) in enumerate(zip(entry["scores"], entry["truth"], strict=True)) if s is not None]
    labels = [str(label) for label in entry.get("labels") or ()]
    kinds = list(dict.fromkeys(labels))
    if not 1 < len(kinds) <= len(CLASS_COLOURS):
        labels, kinds = [""] * len(entry["scores"]), [""]
    for number, kind in enumerate(kinds):
        own = [(s, q) for s, q, i in points if labels[i] == kind]
        ax.plot([s for s, _ in own], [q for _, q in own], ls="", ms=3.2, mew=0, alpha=_faint(len(points)), rasterized=True,
                color=CLASS_COLOURS[number] if kind else "#555555", marker=CLASS_MARKERS[number], label=kind)  # fmt: skip
    style = "-" if entry["fit"] == "logistic" else "--"
    ax.plot(entry["curve_scores"], entry["curve_truth"], color="white", lw=3)
    ax.plot(entry["curve_scores"], entry["curve_truth"], color="black", lw=1.4, ls=style, label=f"{entry['fit']} fit")
    ax.set_xlabel("score of the model")
    ax.set_ylabel("true score")
    ax.set_title(_title(entry), fontsize=7.5)
    if not points:
        _say(ax, entry["note"])
    if len(kinds) > 1:
        legend = ax.legend(bbox_to_anchor=(1.02, 1.0), **MARGIN)
        for handle in legend.legend_handles:
            handle.set_alpha(1)


def draw_correlations(ax: Any, entries: Mapping[str, Entry]) -> None:
    """Several ways of scoring, each with its correlations and their intervals, and the share of unparsed answers.

    Args:
        ax: axes; shares and legend stand on its right.
        entries: name → ``Correlations.as_dict()``.
    """
    _rows(ax, list(entries))
    for number, (name, label) in enumerate(STATISTICS):
        offset = 0.66 * ((number + 0.5) / len(STATISTICS) - 0.5)
        shade, marker = CLASS_COLOURS[number], CLASS_MARKERS[number]
        ax.plot([], [], color=shade, marker=marker, ls="", label=label)
        for place, entry in enumerate(entries.values()):
            _point(ax, entry, name, place + offset, shade, marker)
    for place, entry in enumerate(entries.values()):
        if entry["srcc"] is None:
            ax.text(0.02, place, entry["note"], transform=ax.get_yaxis_transform(), fontsize=6.5, color="#666666", va="center")
        _beside(ax, place, entry["unparsed"])
    ax.text(1.02, 1.0, "unparsed", transform=ax.transAxes, fontsize=6.5, va="bottom")
    ax.axvline(0, color="#999999", lw=0.9, ls=":")
    ax.set_xlabel("correlation with the true score")
    ax.set_title("Agreement of scores with opinion")
    ax.legend(bbox_to_anchor=(1.16, 1.0), **MARGIN)


def draw_monotonicity(ax: Any, entry: Entry) -> None:
    """Per distortion type τ within references, and on the right what becomes of neighbours in severity.

    Args:
        ax: axes of a grid (``subplots``), which give part of their place to the panel of outcomes.
        entry: ``Monotonicity.as_dict()``.
    """
    rows = [entry["overall"], *entry["table"]]
    names = ["all types" if row["type"] == "all" else row["type"].replace("_", " ") for row in rows]
    places = ax.get_subplotspec().subgridspec(1, 2, width_ratios=(3, 2))
    ax.set_subplotspec(places[0])
    beside = ax.get_figure().add_subplot(places[1])
    for own, height in ((ax, None), (beside, 0.74)):
        _rows(own, names)
        own.axhline(0.5, color="#999999", lw=0.7)
        if height:
            _outcomes(own, rows, height)
    for place, row in enumerate(rows):
        _point(ax, row, "tau", place, "#000000" if place == 0 else CLASS_COLOURS[0], "D" if place == 0 else "o")
        if row["tau"] is None:
            ax.text(-1, place, "no two levels with a score", fontsize=6.5, color="#666666", va="center")
    ax.axvline(0, color="#999999", lw=0.9, ls=":")
    ax.set_xlim(-1.04, max([0.1, *(row["tau_high"] + 0.05 for row in rows if row["tau_high"] is not None)]))
    ax.set_xlabel("τ of score and severity (−1: always falls)")
    ax.set_title("Do scores fall with severity?")
    beside.tick_params(labelleft=False)
    beside.set_xlabel("neighbours in severity")
    beside.legend(handles=_outcome_handles(), bbox_to_anchor=(1.02, 1.0), **MARGIN)


def _outcomes(ax: Any, rows: Sequence[Entry], height: float) -> None:
    """Shares of the outcomes side by side, with the interval of those in the wrong order, and a bar at those with the clean one."""
    for place, row in enumerate(rows):
        start = 0.0
        for name, _, shade, hatch in OUTCOMES:
            if row[name] is not None:
                ax.barh(place, row[name], height, left=start, color=shade, hatch=hatch, edgecolor="#555555", lw=0.4)
                start += row[name]
        if row["violations_low"] is not None:
            ax.plot([row["violations_low"], row["violations_high"]], [place, place], color="#D55E00", lw=1.6)
        if row["violations_with_clean"] is not None:
            ax.plot(row["violations_with_clean"], place, marker="v", ls="", ms=4, color="#56B4E9", mec="black", mew=0.5)
    ax.set_xlim(0, 1)
    percent_axis(ax.xaxis)


def _outcome_handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = [Patch(facecolor=shade, hatch=hatch, edgecolor="#555555", label=label) for _, label, shade, hatch in OUTCOMES]
    interval = Line2D([], [], color="#D55E00", label="95 % interval\nof wrong order")
    clean = Line2D([], [], marker="v", ls="", color="#56B4E9", mec="black", label="wrong order,\nclean image too")
    return [*bars, interval, clean]


def _rows(ax: Any, names: Sequence[str]) -> None:
    """One row per name, the first on top, every other row tinted."""
    for place in range(1, len(names), 2):
        ax.axhspan(place - 0.5, place + 0.5, color="#000000", alpha=0.04, lw=0)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def _point(ax: Any, row: Entry, name: str, y: float, shade: str, marker: str) -> None:
    """A value with its interval; nothing where it is unknown, no interval where that is."""
    if row[name] is None:
        return
    if row[f"{name}_low"] is not None:
        ax.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=shade, lw=1.2)
    ax.plot(row[name], y, marker=marker, color=shade, ls="", ms=4.5, mec="white", mew=0.4)


def _beside(ax: Any, place: int, share: float | None) -> None:
    text = "–" if share is None else f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else "< 1 %"
    ax.text(1.02, place, text, transform=ax.get_yaxis_transform(), fontsize=7, va="center")


def _title(entry: Entry) -> str:
    first = f"{entry['name']}: " if entry.get("name") else ""
    missing = f", {100 * entry['unparsed']:.0f} % unparsed" if entry["unparsed"] else ""
    lines = [f"{first}{entry['n']} images of {entry['references']} references{missing}"]
    if entry["srcc"] is not None:
        lines += [f"SRCC {_told(entry, 'srcc')}", f"PLCC {_told(entry, 'plcc')}, fitted {_told(entry, 'plcc_fitted')}"]
    elif entry["n"]:
        lines += [entry["note"]]
    return "\n".join(lines)


def _told(entry: Entry, name: str) -> str:
    if entry[name] is None:
        return "unknown"
    value = f"{entry[name]:.2f}"
    low, high = entry[f"{name}_low"], entry[f"{name}_high"]
    return (value if low is None else f"{value} [{low:.2f}, {high:.2f}]").replace("-", "−")


def _faint(points: int) -> float:
    """Opacity: the more points, the fainter each."""
    return max(0.3, min(0.8, 250 / max(points, 1)))


def _say(ax: Any, note: str) -> None:
    ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", fontsize=7, color="#666666")
