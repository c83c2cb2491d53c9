"""Semantic distance before and after tuning, and the plane of token features and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS

PANELS = (
    ("cosine", "raw cosine distance"),
    ("centred", "centred cosine distance"),
    ("margin", "centred margin"),
)


def draw_distance(axes: Any, distance: Mapping[str, Any], classes: list[str], site: str = "projector") -> None:
    """Per class an arrow from before to after at one site; the interval is that of the paired change.

    Args:
        axes: one axes per entry of ``PANELS``, sharing y.
        distance: the ``distance`` part of the results.
        classes: in order.
        site: where.
    """
    rows = distance["compare"][distance["shown_arm"]]
    names = ["all", *classes]
    for ax, (measure, title) in zip(axes, PANELS, strict=True):
        own = {row["class"]: row for row in rows if row["site"] == site and row["measure"] == measure}
        for y, name in enumerate(reversed(names)):
            if name not in own:
                continue
            row = own[name]
            low, high = row["before"] + row["low"], row["before"] + row["high"]
            ax.plot([low, high], [y, y], color="#56B4E9", lw=5, alpha=0.45, solid_capstyle="butt")
            ax.annotate("", (row["after"], y), (row["before"], y), arrowprops={"arrowstyle": "->", "color": "#333333", "lw": 1})
            ax.plot(row["before"], y, "o", color="#555555", mfc="white")
            ax.plot(row["after"], y, "P", color="#0072B2")
        if measure == "margin":
            ax.axvline(0, color="#999999", lw=0.9, ls=":")
        ax.set_title(title, fontsize=8.5)
        ax.margins(x=0.1)
    axes[0].set_yticks(range(len(names)), list(reversed(names)))


def draw_plane(axes: Any, plane: Mapping[str, Any], classes: list[str]) -> None:
    """Token features before (left) and after (right) in one plane, the words as labelled stars.

    Args:
        axes: two axes.
        plane: ``distance.plane`` of the results.
        classes: in order.
    """
    left = _left(plane)
    for ax, when in zip(axes, ("before", "after"), strict=True):
        for i, name in enumerate(classes):
            own = [p for p in plane["points"] if p["when"] == when and p["label"] == name]
            style = {"color": CLASS_COLOURS[i % 9], "marker": CLASS_MARKERS[i % 9]}
            ax.scatter([p["x"] for p in own], [p["y"] for p in own], s=9, alpha=0.65, lw=0.2, label=name, **style)
        for word in plane["words"]:
            shade = CLASS_COLOURS[classes.index(word["label"]) % 9]
            ax.plot(word["x"], word["y"], "*", ms=13, color=shade, mec="white", mew=0.8, zorder=7)
            place: Any = {"xytext": (-5, 4), "ha": "right"} if word["label"] in left else {"xytext": (5, 4)}
            ax.annotate(word["label"], (word["x"], word["y"]), textcoords="offset points", fontsize=7, fontweight="bold",
                        zorder=6, bbox={"fc": "white", "alpha": 0.75, "lw": 0, "pad": 0.6}, **place)  # fmt: skip
        ax.set_title(f"{when} tuning ({plane['method']}, trustworthiness {plane['trustworthiness']:.2f})", fontsize=8.5)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.margins(0.12)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.8, title="images")


def _left(plane: Mapping[str, Any]) -> set[str]:
    """Words that have another one close on their right: their labels stand left of the star."""
    everything = [*plane["points"], *plane["words"]]
    width, height = (max(p[axis] for p in everything) - min(p[axis] for p in everything) for axis in ("x", "y"))
    return {
        word["label"]
        for word in plane["words"]
        for other in plane["words"]
        if 0 < other["x"] - word["x"] < 0.15 * width and abs(other["y"] - word["y"]) < 0.06 * height
    }
