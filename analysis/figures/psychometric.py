"""Psychometric functions: one small panel per distortion type."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from analysis.figures.style import PLAIN, percent_axis

COLUMNS = 5
SHADE = "#D55E00"
"""Of thresholds."""
LABELS = {"psnr": "PSNR, dB (severe: right)", "ssim": "SSIM (severe: right)", "level": "published level"}
SHARES = {"named": "share named right", "detected": "share called distorted"}


def panels(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of panels that hold all types."""
    n = max(1, len(entry["table"]))
    return ceil(n / COLUMNS), min(n, COLUMNS)


def draw_psychometric(axes: Any, entry: Mapping[str, Any]) -> None:
    """Per type the fitted curve, the binned points (area by number of images), and the threshold with its interval.

    A dotted line is the guess rate, a dashed one the share where there is no threshold; the panel then says why. An interval
    without a cap at one end goes on beyond what was shown.

    Args:
        axes: at least as many as types, in an array of the shape that ``panels`` gives, best with shared axes.
        entry: ``Psychometric.as_dict()``.
    """
    axes = np.atleast_2d(axes)
    most = max((point["n"] for points in entry["points"].values() for point in points), default=1)
    for ax in axes.flat[len(entry["table"]) :]:
        ax.axis("off")
    for ax, row in zip(axes.flat, entry["table"], strict=False):
        _panel(ax, row, entry, most)
    _severities(axes, entry)
    for ax in axes.flat[max(0, len(entry["table"]) - axes.shape[1]) : len(entry["table"])]:
        ax.tick_params(labelbottom=True)
    figure = axes.flat[0].figure
    figure.supxlabel(LABELS[entry["measure"]], fontsize=8.5)
    figure.supylabel(SHARES[entry["outcome"]], fontsize=8.5)


def _severities(axes: Any, entry: Mapping[str, Any]) -> None:
    """The same severities in every panel, from mild to severe."""
    fitted = [x for curve in entry["curves"].values() for x in curve.get("x", ())]
    shown = sorted([*fitted, *(point["x"] for points in entry["points"].values() for point in points)])
    if not shown:
        return
    margin = 0.06 * (shown[-1] - shown[0]) or 1
    ends = (shown[0] - margin, shown[-1] + margin)
    for ax in axes.flat[: len(entry["table"])]:
        ax.set_xlim(ends if entry["measure"] == "level" else ends[::-1])
        if entry["measure"] == "level":
            ax.set_xticks(range(ceil(shown[0]), ceil(shown[-1]) + 1))


def _panel(ax: Any, row: Mapping[str, Any], entry: Mapping[str, Any], most: int) -> None:
    curve, points = entry["curves"][row["type"]], entry["points"][row["type"]]
    if row["guess"] is not None:
        ax.axhline(row["guess"], color="#999999", ls=":", lw=0.9)
    if curve:
        ax.plot(curve["x"], curve["p"], color="#333333", lw=1.2, ls="-" if row["threshold"] is not None else "--")
    x, y, areas = ([scale * point[key] for point in points] for key, scale in (("x", 1), ("share", 1), ("n", 28 / most)))
    ax.scatter(x, y, areas, color=PLAIN, lw=0, alpha=0.8, zorder=3)
    if row["threshold"] is not None:
        _threshold(ax, row, curve)
    ax.set_title("\n".join(textwrap.wrap(row["type"].replace("_", " ").replace("+", " + "), 24)), fontsize=6.5)
    said = row["note"] or f"{row['threshold']:.3g}{' dB' if entry['measure'] == 'psnr' else ''}"
    ax.text(0.03, 0.98, said, transform=ax.transAxes, ha="left", va="top", fontsize=6.5)
    ax.set_ylim(-0.05, 1.2)
    ax.set_yticks([0, 0.5, 1])
    percent_axis(ax.yaxis)


def _threshold(ax: Any, row: Mapping[str, Any], curve: Mapping[str, Any]) -> None:
    """The threshold on its curve; an open interval goes to the end of the curve and has no cap there."""
    seen = sorted(curve["x"])
    ends = [end if end is not None else edge for end, edge in ((row["low"], seen[0]), (row["high"], seen[-1]))]
    capped = [end for end in (row["low"], row["high"]) if end is not None]
    if capped:
        ax.plot(ends, [row["p"]] * 2, color=SHADE, lw=1.6, solid_capstyle="butt", zorder=4)
        ax.plot(capped, [row["p"]] * len(capped), "|", color=SHADE, ms=8, mew=1.4, zorder=4)
    ax.plot(row["threshold"], row["p"], "D", color="white", mec=SHADE, mew=1.0, ms=3.2, zorder=5)
