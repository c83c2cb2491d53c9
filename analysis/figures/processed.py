"""What each model's resize leaves of each distortion: energy kept, and separability before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS, percent_axis
from stimuli.tables import Table

Rows = Sequence[Mapping[str, Any]]
SPREAD = 0.62
"""Share of a row's height over which the processors are spread."""


def shown_rows(rows: Rows) -> Table:
    """The rows that the figure shows: all levels of a type together."""
    return [dict(row) for row in rows if row["level"] == "all"]


def draw_processed(axes: Sequence[Any], rows: Rows) -> None:
    """Per distortion type, energy kept (left), and the probe on pixel statistics before and after (right).

    Args:
        axes: two matplotlib axes side by side, whose y axis they share.
        rows: the table of ``processed_survival``; the rows of all levels are drawn.
    """
    chosen = shown_rows(rows)
    kinds = list(dict.fromkeys(row["type"] for row in chosen))
    processors = list(dict.fromkeys(row["processor"] for row in chosen))
    left, right = axes
    for place, kind in enumerate(kinds):
        if place % 2:
            for ax in axes:
                ax.axhspan(place - 0.5, place + 0.5, color="#000000", alpha=0.04, lw=0)
        first = next(row for row in chosen if row["type"] == kind)
        _before(right, place, first)
        if _known(first, "chance"):
            right.plot([first["chance"]] * 2, [place - 0.5, place + 0.5], color="#999999", lw=1.0, ls=":",
                       label=None if place else "chance")  # fmt: skip
    for number, name in enumerate(processors):
        offset = SPREAD * ((number + 0.5) / len(processors) - 0.5)
        own = [(kinds.index(row["type"]) + offset, row) for row in chosen if row["processor"] == name]
        label = f"{name} ({own[0][1]['size_out']})"
        _points(left, own, "energy_kept", "kept_low", "kept_high", number, label)
        _points(right, own, "after", "after_low", "after_high", number, label)
    _finish(left, right, kinds, chosen)


def _points(
    ax: Any, own: Sequence[tuple[float, Mapping[str, Any]]], key: str, low: str, high: str, number: int, label: str
) -> None:
    """The points of one processor with their intervals; what is not known is left out."""
    colour, marker = CLASS_COLOURS[number % len(CLASS_COLOURS)], CLASS_MARKERS[number % len(CLASS_MARKERS)]
    known = [(y, row) for y, row in own if _known(row, key)]
    for y, row in known:
        if _known(row, low):
            ax.plot([row[low], row[high]], [y, y], color=colour, lw=0.9, alpha=0.8)
    points = [row[key] for _, row in known], [y for y, _ in known]
    ax.plot(*points, ls="", marker=marker, color=colour, ms=4, mec="white", mew=0.4, label=label)


def _before(ax: Any, place: int, row: Mapping[str, Any]) -> None:
    """The score on the file's own pixels as a bar across the row, with its interval as a band."""
    if not _known(row, "before"):
        ax.text(0.5, place, " too few references", fontsize=6.5, color="#777777", va="center")
        return
    ax.fill_betweenx([place - 0.42, place + 0.42], row["before_low"], row["before_high"], color="#999999", alpha=0.25, lw=0)
    ax.plot([row["before"]] * 2, [place - 0.42, place + 0.42], color="#222222", lw=1.6,
            label="on the file's own pixels" if place == 0 else None)  # fmt: skip


def _known(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key)
    return value is not None and value == value  # NaN is not known either


def _finish(left: Any, right: Any, kinds: Sequence[str], rows: Rows) -> None:
    names = {row["type"]: "all types: which class?" if row["type"] == "all" else row["type"].replace("_", " ") for row in rows}
    left.set_yticks(range(len(kinds)), [names[kind] for kind in kinds])
    left.set_ylim(len(kinds) - 0.5, -0.5)
    right.tick_params(labelleft=False)
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
        percent_axis(ax.xaxis)
    left.axvline(1, color="#999999", lw=0.9, ls=":")
    highest = max((row[key] for row in rows for key in ("energy_kept", "kept_high") if _known(row, key)), default=1.0)
    left.set_xlim(0, max(1.05, 1.02 * highest))
    left.set_xlabel("energy kept (100 %: as in the file)")
    left.set_title("What the resize leaves")
    right.set_xlim(0, 1.03)
    right.set_xlabel("balanced accuracy, this type or clean")
    right.set_title("What pixel statistics still tell")
    right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
