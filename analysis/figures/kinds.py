"""Heat maps of sites × kinds: which distortion types a site tells from clean, and what it carries over to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.survival import Rows, site_ticks, split

HEAT = "cividis"
"""Rises evenly in lightness, so that a heat map reads the same in grey."""
MOST_TOLD = 24
"""Sites up to which the cells of a heat map hold text."""


def draw_types(ax: Any, rows: Rows) -> Any:
    """Heat map of sites × types: the AUC against clean images; what is written is the mildest level from which on all are detected.

    Args:
        ax: matplotlib axes.
        rows: of ``type_sweep``.

    Returns:
        What a colour bar is made of.
    """
    sites, _ = split(rows)
    names = list(dict.fromkeys(row["site"] for row in sites))
    mean = {
        kind: np.mean([row["auc"] for row in sites if row["type"] == kind]) for kind in dict.fromkeys(r["type"] for r in sites)
    }
    kinds = sorted(mean, key=lambda kind: -mean[kind])
    at = {(row["site"], row["type"]): row for row in sites}
    shown = _heat(ax, [[_value(at.get((site, kind)), "auc") for site in names] for kind in kinds], 0.5, 1.0)
    _heat_axes(ax, [next(row for row in sites if row["site"] == site) for site in names], kinds)
    if len(names) <= MOST_TOLD:
        for y, kind in enumerate(kinds):
            for x, site in enumerate(names):
                row = at.get((site, kind))
                if row is not None:
                    told = "±" if row["signed"] else "–" if row["threshold"] is None else str(row["threshold"])
                    ax.text(x, y, told, ha="center", va="center", fontsize=6.5, color="black" if row["auc"] > 0.8 else "white")
    beside = ["±" if at[names[0], kind]["signed"] else _mildest(sites, kind) for kind in kinds]
    for y, text in enumerate(beside):
        ax.text(len(names) - 0.35, y, text, va="center", fontsize=6.5, clip_on=False)
    ax.set_title("Types told from clean (number: level from which on; –: not; ±: no order)")
    return shown


def draw_transfers(axes: Any, rows: Rows) -> list[Any]:
    """Two heat maps of held-out kinds × sites: the score on the kind, and how far it is below that of a probe trained on it.

    A dot marks a drop with ``p_holm`` (over sites) below 0.05.

    Args:
        axes: two matplotlib axes.
        rows: of ``transfer_sweep``.

    Returns:
        What the two colour bars are made of.
    """
    sites, _ = split(rows)
    names, kinds = (list(dict.fromkeys(row[key] for row in sites)) for key in ("site", "held_out"))
    at = {(row["site"], row["held_out"]): row for row in sites}
    first = [at[site, kinds[0]] for site in names]
    shown = []
    for ax, column, low, high, title in (
        (axes[0], "score", 0.0, 1.0, "Score on what was not trained on"),
        (axes[1], "change", -1.0, 0.0, "Change against a probe that was trained on it (dot: drop, p < 0.05 after Holm)"),
    ):
        shown.append(_heat(ax, [[_value(at.get((site, kind)), column) for site in names] for kind in kinds], low, high))
        _heat_axes(ax, first, kinds)
        ax.set_title(title)
    dots = [(x, y) for y, kind in enumerate(kinds) for x, site in enumerate(names) if _dropped(at.get((site, kind)))]
    if dots:
        axes[1].plot(*zip(*dots, strict=True), ls="", marker="o", ms=3, mfc="white", mec="black", mew=0.5)
    axes[0].tick_params(labelbottom=False)
    return shown


def _heat(ax: Any, values: Sequence[Sequence[float]], low: float, high: float) -> Any:
    ax.grid(False)
    return ax.imshow(np.array(values, float), cmap=HEAT, vmin=low, vmax=high, aspect="auto", interpolation="nearest")


def _heat_axes(ax: Any, rows: Rows, kinds: Sequence[str]) -> None:
    """Sites along x, their components set apart by lines; kinds along y."""
    site_ticks(ax, rows)
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    for x in range(1, len(rows)):
        if rows[x]["component"] != rows[x - 1]["component"]:
            ax.axvline(x - 0.5, color="white", lw=1.6)


def _value(row: Mapping[str, Any] | None, column: str) -> float:
    return float("nan") if row is None or row[column] is None else float(row[column])


def _dropped(row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["change"] < 0 and row["p_holm"] < 0.05


def _mildest(rows: Rows, kind: str) -> str:
    """From which level on the type is detected at the site that does so first."""
    found = [row["threshold"] for row in rows if row["type"] == kind and row["threshold"] is not None]
    return f"from {min(found)}" if found else "nowhere"
