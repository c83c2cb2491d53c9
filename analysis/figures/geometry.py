"""How alike every site is before and after, and the shape of its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.figures.style import COLOURS
from stimuli.tables import Table

ALIKE = (
    ("cka", "CKA", "#0072B2", "o"),
    ("mutual_knn", "mutual neighbours", "#D55E00", "s"),
    ("mutual_knn_others", "… of other references", "#E69F00", "D"),
    ("procrustes", "Procrustes distance", "#555555", "^"),
)
"""Measures of two models: key, label, colour, marker."""
OWN = (("effective_rank", "effective rank"), ("participation_ratio", "participation ratio"), ("modality_gap", "modality gap"))
"""Measures of one model."""


def draw_alike(ax: Any, rows: Table) -> None:
    """Likeness of before and after by site, with intervals over references and the chance level of neighbours.

    Args:
        ax: axes.
        rows: ``Geometry.table``.
    """
    sites = _sites(row for row in rows if row["model"] == "both")
    for key, label, shade, marker in ALIKE:
        own = [row for row in rows if row["measure"] == key and row["model"] == "both"]
        _line(ax, own, sites, label, shade, marker)
        if key == "mutual_knn" and own:
            ax.plot(
                [sites.index(row["site"]) for row in own],
                [row["chance"] for row in own],
                ls=":",
                lw=0.9,
                color=shade,
                label="… by chance",
            )
    _axis(ax, sites)
    ax.set_ylim(-0.03, 1.05)
    ax.set_title("Before and after tuning: the same is 1 (Procrustes: 0)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_shape(axes: Any, rows: Table) -> None:
    """Effective rank, participation ratio and modality gap by site, before and after.

    Args:
        axes: as many as ``OWN``.
        rows: ``Geometry.table``.
    """
    for ax, (key, label) in zip(axes, OWN, strict=True):
        own = [row for row in rows if row["measure"] == key]
        sites = _sites(own)
        for model, shade, marker in (("before", COLOURS["base"], "o"), ("after", COLOURS["vision"], "P")):
            _line(ax, [row for row in own if row["model"] == model], sites, model, shade, marker)
        _axis(ax, sites)
        ax.set_title(label, fontsize=8.5)
    axes[0].legend()


def _sites(rows: Any) -> list[str]:
    return list(dict.fromkeys(row["site"] for row in sorted(rows, key=lambda row: row["order"])))


def _line(ax: Any, rows: Table, sites: Sequence[str], label: str, shade: str, marker: str) -> None:
    if not rows:
        return
    x, values = [sites.index(row["site"]) for row in rows], [row["value"] for row in rows]
    ends = [[max(0.0, row["value"] - row["low"]) for row in rows], [max(0.0, row["high"] - row["value"]) for row in rows]]
    ax.errorbar(x, values, yerr=ends, color=shade, marker=marker, capsize=2, lw=1.2, label=label)


def _axis(ax: Any, sites: Sequence[str]) -> None:
    ax.set_xticks(range(len(sites)), sites, rotation=45, ha="right", rotation_mode="anchor")
