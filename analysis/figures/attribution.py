"""Attribution drawn: maps over their image, methods by how well they find the truth, sanity checks, and what stages carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS, PLAIN

Rows = Sequence[Mapping[str, Any]]

COLOURS = "cividis"
"""From dark blue (against the right answer) to light yellow (for it), so that the sign can be told in grey as well."""
STRONGEST = 0.85
"""How much of the image the strongest heat covers."""
NAMES: Mapping[str, str] = {
    "auc": "area under the ROC curve",
    "auc_absolute": "area under the ROC curve, without signs",
    "average_precision": "average precision",
    "pointing": "pointing game",
    "pointing_near": "pointing game with tolerance",
    "iou": "intersection over union",
    "energy": "share of heat inside",
    "deletion": "deletion (less is better)",
    "insertion": "insertion (more is better)",
}
BOUND = "mask"
"""The row of the region itself."""


def overlay(image: np.ndarray, heat: np.ndarray, limit: float | None = None) -> np.ndarray:
    """A map over its image, in floats throughout: rounding comes with the file.

    Args:
        image: uint8 (H, W, 3).
        heat: (rows, columns), signed, over the whole image; each pixel takes the value of its cell.
        limit: heat of full colour; by default the largest size in the map.

    Returns:
        float64 (H, W, 3), from 0 to 1: the image in grey, coloured by sign, the stronger the more.
    """
    from matplotlib import colormaps

    height, width = image.shape[:2]
    rows, columns = ((np.arange(side) + 0.5) / side for side in (height, width))
    at = np.ix_((rows * heat.shape[0]).astype(int), (columns * heat.shape[1]).astype(int))
    most = float(np.abs(heat).max()) if limit is None else limit
    strength = np.clip(heat.astype(float) / most if most else np.zeros(heat.shape), -1, 1)[at]
    grey = (image.astype(float) / 255 @ np.array([0.299, 0.587, 0.114]))[..., None]
    cover = STRONGEST * np.abs(strength)[..., None]
    return np.asarray((1 - cover) * grey + cover * colormaps[COLOURS]((strength + 1) / 2)[..., :3])


def draw_overlay(
    ax: Any, image: np.ndarray, heat: np.ndarray, mask: np.ndarray | None = None, *, limit: float | None = None, title: str = ""
) -> Any:
    """A map over its image, with the border of the true region.

    Args:
        ax: axes.
        image: uint8 (H, W, 3).
        heat: (rows, columns), signed.
        mask: bool (H, W); none to leave the border out.
        limit: as in ``overlay``.
        title: above it.

    Returns:
        The image.
    """
    shown = ax.imshow(overlay(image, heat, limit), interpolation="nearest")
    if mask is not None:
        ax.contour(mask.astype(float), levels=[0.5], colors="black", linewidths=2.2)
        ax.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=1.1, linestyles="--")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=8.5)
    return shown


def draw_leaders(ax: Any, result: Any, measure: str = "auc") -> None:
    """Each method's score with its interval, best on top, beside chance and what the region itself would score.

    Args:
        ax: axes.
        result: ``Attribution`` or its table.
        measure: a key of ``NAMES``; hollow diamonds show the control, where there is one.
    """
    table: Rows = getattr(result, "table", result)
    rows = sorted((row for row in table if row["method"] != BOUND), key=lambda row: _sortable(row[measure], measure))
    for y, row in enumerate(rows):
        low, high = (abs(row[f"{measure}_{end}"] - row[measure]) for end in ("low", "high"))
        plain = row["method"] in ("edges", "random")
        ax.errorbar(
            [row[measure]],
            [y],
            xerr=[[low], [high]],
            color="#999999" if plain else PLAIN,
            marker="s" if plain else "o",
            capsize=2.5,
        )
        if (control := row.get(f"{measure}_control")) is not None:
            ax.plot([control], [y], marker="D", ms=4, mfc="white", mec="#D55E00", ls="", zorder=1)
    bound = next((row[measure] for row in table if row["method"] == BOUND), None)
    if bound is not None:
        ax.axvline(bound, color="#000000", lw=0.9, ls="--", label="the region itself")
    chance = rows[0].get(f"{measure}_chance", 0.5)
    ax.axvline(chance, color="#999999", lw=0.9, ls=":", label=f"chance {chance:.2f}")
    if any(row.get(f"{measure}_control") is not None for row in rows):
        ax.plot([], [], marker="D", ms=4, mfc="white", mec="#D55E00", ls="", label="other references' regions")
    ax.plot([], [], marker="s", color="#999999", ls="", label="knows no model")
    ax.set_yticks(range(len(rows)), [row["method"] for row in rows])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.set_xlabel(NAMES[measure])
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)


def _sortable(value: float, measure: str) -> float:
    return -value if measure == "deletion" else value


def draw_sanity(ax: Any, result: Any, measure: str = "spearman") -> None:
    """How alike maps stay as weights are randomised from the top: a line per method.

    Args:
        ax: axes.
        result: ``Sanity`` or its table.
        measure: ``spearman``, ``spearman_absolute`` or ``ssim``.
    """
    table: Rows = getattr(result, "table", result)
    steps = list(dict.fromkeys(row["randomised"] for row in table))
    methods = list(dict.fromkeys(row["method"] for row in table))
    for i, method in enumerate(methods):
        own = [row for row in table if row["method"] == method]
        x = np.array([steps.index(row["randomised"]) for row in own]) + 0.5 * (i / max(1, len(methods) - 1) - 0.5)
        y = np.array([row[measure] for row in own])
        ends = np.abs(np.array([[row[f"{measure}_low"], row[f"{measure}_high"]] for row in own]).T - y)
        style = {"color": CLASS_COLOURS[i % len(CLASS_COLOURS)], "marker": CLASS_MARKERS[i % len(CLASS_MARKERS)]}
        hollow = {"mfc": "white"} if i >= len(CLASS_COLOURS) else {}
        ax.errorbar(x, y, yerr=ends, ls="", capsize=2, label=method, **style, **hollow)
    ax.axhline(0, color="#999999", lw=0.9, ls=":")
    ax.axhline(1, color="#999999", lw=0.9, ls="--")
    ax.set_xticks(range(len(steps)), [step.replace("+", "\n+ ") for step in steps])
    ax.set_xlabel("randomised")
    ax.set_ylabel({"ssim": "structural similarity"}.get(measure, "rank correlation") + " with the map before")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)


SETS: Mapping[str, tuple[str, str]] = {
    "all": ("all tokens", "#000000"),
    "inside": ("image, in the region", "#D55E00"),
    "outside": ("image, elsewhere", "#56B4E9"),
    "question": ("question", "#8B5A2B"),
    "last": ("last of the prompt", "#CC79A7"),
    "answer": ("answer", "#E6B800"),
    "other": ("other", "#7F7F7F"),
}


def draw_conductance(ax: Any, result: Any) -> None:
    """What each site carries of the answer's change, by tokens.

    Args:
        ax: axes.
        result: ``Conductance`` or its table.
    """
    table: Rows = getattr(result, "table", result)
    sites = list(dict.fromkeys(row["site"] for row in table))
    for i, (name, (label, colour)) in enumerate(SETS.items()):
        own = [row for row in table if row["set"] == name]
        if not own or (name == "other" and max(abs(row["share"]) for row in own) < 0.005):
            continue
        x, y = [sites.index(row["site"]) for row in own], np.array([row["share"] for row in own])
        ends = np.abs(np.array([[row["low"], row["high"]] for row in own]).T - y)
        line = "--" if name == "all" else "-"
        ax.errorbar(x, y, yerr=ends, color=colour, marker=CLASS_MARKERS[i], ls=line, lw=1, ms=4, capsize=2, label=label)
    ax.axhline(0, color="#999999", lw=0.9, ls=":")
    ax.set_xticks(range(len(sites)), sites, rotation=60, ha="right")
    ax.set_ylabel("share of the answer's change")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
