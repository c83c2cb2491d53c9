"""How alike every site is before and after, and the shape of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.style import AFTER, COLOURS
from analysis.figures.survival import shown_ticks
from stimuli.tables import Table

ALIKE = (
    ("cka", "CKA", "#000000", "o", "-"),
    ("mutual_knn", "mutual neighbours", "#D55E00", "s", "-"),
    ("mutual_knn_others", "… of other references", "#CC79A7", "D", "-"),
    ("procrustes", "Procrustes distance", "#555555", "^", "--"),
)
"""Measures of two models: key, label, colour, marker, line."""
OWN = (("effective_rank", "effective rank"), ("participation_ratio", "participation ratio"), ("modality_gap", "modality gap"))
"""Measures of one model."""
MODELS = (("before", COLOURS["base"], "o", "-"), ("after", AFTER, "s", "--"))
ACROSS = (
    ("overlap", "neighbours kept"),
    ("overlap_others", "… of other references"),
    ("rebuilt", "input rebuilt from output, R²"),
    ("rebuilt_above_random", "… less that from a random projection"),
    ("rebuilt_within", "… among versions of a reference"),
    ("predicted", "output from input, R²"),
    ("predicted_above_random", "… less that from a random projection"),
    ("predicted_within", "… among versions of a reference"),
)
"""Measures between two sites of one model."""


def draw_alike(ax: Any, rows: Table) -> None:
    """Likeness of before and after by site, with intervals over references, and dotted what each measure is by chance.

    Args:
        ax: axes.
        rows: ``Geometry.table``.
    """
    both = [row for row in rows if row["model"] == "both"]
    sites = _sites(both)
    handles: list[Any] = []
    dotted: list[Any] = []
    for key, label, shade, marker, dashes in ALIKE:
        own = [row for row in both if row["measure"] == key]
        handles += _line(ax, own, sites, label, shade, marker, dashes)
        chance = [(sites.index(row["site"]), row["chance"]) for row in own if _number(row["chance"]) == row["chance"]]
        if chance:  # a mark besides, so that a single site shows as well
            marks = {"marker": marker, "ms": 3, "mfc": "white", "mew": 0.6, "zorder": 1.5}
            dotted += ax.plot(*zip(*chance, strict=True), ls=":", lw=0.9, color=shade, **marks)
    if dotted:
        handles += ax.plot([], [], ls=":", lw=0.9, color="#777777", label="by chance, same colour")
    _axis(ax, sites)
    ends = [_number(row[end]) for row in both for end in ("value", "low", "high", "chance")]
    ends = [end for end in ends if np.isfinite(end)]
    ax.set_ylim(min([-0.03, *ends]) - 0.02, max([1.03, *ends]) + 0.02)
    ax.set_title("Before and after tuning: the same is 1 (Procrustes: 0)")
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_shape(axes: Any, rows: Table) -> None:
    """Effective rank, participation ratio and modality gap by site, before and after.

    Args:
        axes: as many as ``OWN``.
        rows: ``Geometry.table``.
    """
    for ax, (key, label) in zip(axes, OWN, strict=True):
        own = [row for row in rows if row["measure"] == key]
        sites = _sites(own)
        for model, shade, marker, dashes in MODELS:
            _line(ax, [row for row in own if row["model"] == model], sites, model, shade, marker, dashes)
        _axis(ax, sites, 12)
        ax.set_title(label, fontsize=8.5)
    axes[0].legend()


def draw_across(ax: Any, rows: Table) -> None:
    """What the projector keeps of its input, before and after; a cross where chance, or a random projection, would lead.

    Args:
        ax: axes.
        rows: ``Geometry.table``; of several pairs of sites the first is shown, of the others nothing.
    """
    paired = [row for row in rows if row["source"] is not None]
    own = [row for row in paired if (row["source"], row["site"]) == (paired[0]["source"], paired[0]["site"])]
    kept = [(key, label, k) for key, label in ACROSS for k in dict.fromkeys(row["k"] for row in own if row["measure"] == key)]
    for place, (key, _, k) in enumerate(kept):
        for model, shade, marker, _ in MODELS:
            for row in (row for row in own if (row["measure"], row["k"], row["model"]) == (key, k, model)):
                y = place + (-0.15 if model == "before" else 0.15)
                ax.plot([_number(row["low"]), _number(row["high"])], [y, y], color=shade, lw=1.2)
                face = shade if model == "before" else "white"
                ax.plot([row["value"]], [y], color=shade, marker=marker, mfc=face, ls="", label=model if not place else None)
                if row["chance"] is not None:
                    label = "by chance, or from a random projection" if not place and model == "before" else None
                    ax.plot([row["chance"]], [y], color="#777777", marker="x", ls="", label=label)
    ax.set_yticks(range(len(kept)), [label if k is None else f"{label}, k = {k}" for _, label, k in kept])
    ax.invert_yaxis()
    ends = [_number(row[end]) for row in own for end in ("value", "low", "chance")]
    ax.axvline(0, color="#555555", lw=0.7)
    ax.set_xlim(min([0.0, *(end for end in ends if np.isfinite(end))]) - 0.03, 1.03)
    ax.set_title(f"What is kept from {paired[0]['source']} to {paired[0]['site']}", fontsize=8.5)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def geometry_figures(rows: Table) -> Plan:
    """Likeness of two models by site, the shape of each, and what the projector keeps.

    Args:
        rows: ``Geometry.table``.
    """
    return bound({"alike": _alike, "shape": _shape, "across": _across}, rows)


def _alike(rows: Table) -> Made:
    own = [row for row in rows if row["model"] == "both"]
    if not own:
        return None
    figure, ax = canvas(max(6.5, 2.8 + 0.22 * len({row["site"] for row in own})), 3.2)
    draw_alike(ax, rows)
    return figure, own


def _shape(rows: Table) -> Made:
    own = [row for row in rows if row["measure"] in {name for name, _ in OWN}]
    if not own:
        return None
    figure, axes = canvas(9.5, 3.0, 1, len(OWN))
    draw_shape(axes, rows)
    return figure, own


def _across(rows: Table) -> Made:
    own = [row for row in rows if row["source"] is not None]
    if not own:
        return None
    figure, ax = canvas(7.6, 3.6)
    draw_across(ax, rows)
    return figure, own


def _number(value: float | None) -> float:
    """A number, NaN for none: what was NaN comes back from JSON as null."""
    return float("nan") if value is None else float(value)


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """How far the interval reaches below and above the value; NaN, which is not drawn, where there is none."""
    value, low, high = (_number(row[name]) for name in ("value", "low", "high"))
    return (np.nan, np.nan) if not np.isfinite(low + high) else (max(0.0, value - low), max(0.0, high - value))


def _sites(rows: Any) -> list[str]:
    return list(dict.fromkeys(row["site"] for row in sorted(rows, key=lambda row: row["order"])))


def _line(ax: Any, rows: Table, sites: Sequence[str], label: str, shade: str, marker: str, dashes: str) -> list[Any]:
    """The line, or none without rows."""
    if not rows:
        return []
    x, values = [sites.index(row["site"]) for row in rows], [_number(row["value"]) for row in rows]
    ends = np.transpose([_ends(row) for row in rows])
    face = shade if dashes == "-" else "white"
    small = {"ms": 2.5} if len(sites) > 40 else {}
    drawn = ax.errorbar(
        x, values, yerr=ends, color=shade, marker=marker, ls=dashes, mfc=face, capsize=2, lw=1.2, label=label, **small
    )
    return [drawn]


def _axis(ax: Any, sites: Sequence[str], most: int = 32) -> None:
    ticks = shown_ticks([site.split(".")[0] for site in sites], most) if sites else []
    ax.set_xticks(ticks, [sites[tick] for tick in ticks], rotation=45, ha="right", rotation_mode="anchor")
