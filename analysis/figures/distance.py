"""Semantic distance before and after tuning, and the plane of token features and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import AFTER, CLASS_COLOURS, CLASS_MARKERS

PANELS = (
    ("cosine", "raw cosine distance"),
    ("centred", "centred cosine distance"),
    ("margin", "centred margin"),
)

NEAR = (4, -10)
"""Height of a label's foot over its star, in points: above and below it."""
ROWS = 7
"""Of labels above and below a star, one over the other."""
FAR = 8.0
"""Overlap in square points that a row further from the star must save."""


def draw_distance(axes: Any, distance: Mapping[str, Any], classes: list[str], site: str = "projector") -> None:
    """Per class an arrow from before to after at one site; the band is the interval of the paired change, where there is one.

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
            if row["low"] is not None and row["high"] is not None:
                ends = [row["before"] + row["low"], row["before"] + row["high"]]
                ax.plot(ends, [y, y], color=AFTER, lw=5, alpha=0.3, solid_capstyle="butt")
            ax.annotate("", (row["after"], y), (row["before"], y), arrowprops={"arrowstyle": "->", "color": "#333333", "lw": 1})
            ax.plot(row["before"], y, "o", color="#555555", mfc="white")
            ax.plot(row["after"], y, "P", color=AFTER)
        if measure == "margin":
            ax.axvline(0, color="#999999", lw=0.9, ls=":")
        ax.set_title(title, fontsize=8.5)
        ax.margins(x=0.1)
        ax.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(names)), list(reversed(names)))


def draw_plane(axes: Any, plane: Mapping[str, Any], classes: list[str]) -> None:
    """Token features before (left) and after (right) in one plane, the words as labelled stars, on one scale.

    An arrow per class leads from its mean before to its mean after: in the last panel, over pale points.

    Args:
        axes: two axes, or three to keep the arrows apart.
        plane: ``distance.plane`` of the results; one of an older version has no arrows.
        classes: in order.
    """
    limits = [_limits([row[key] for row in (*plane["points"], *plane["words"])]) for key in "xy"]
    arrows = plane.get("arrows") or []
    whens = ("before", "after", "after")[: len(axes)]
    for number, (ax, when) in enumerate(zip(axes, whens, strict=True)):
        ax.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
        moved = arrows if number == len(axes) - 1 else []
        _points(ax, plane, classes, when, pale=bool(moved))
        for arrow in moved:
            _arrow(ax, arrow, CLASS_COLOURS[classes.index(arrow["label"]) % 9])
        for word in plane["words"]:
            shade = CLASS_COLOURS[classes.index(word["label"]) % 9]
            ax.plot(word["x"], word["y"], "*", ms=13, color=shade, mec="white", mew=0.8, zorder=6)
        if plane.get("explained"):
            for label, name, share in zip((ax.set_xlabel, ax.set_ylabel), ("PC 1", "PC 2"), plane["explained"], strict=True):
                label(f"{name}, {100 * share:.0f} % of the variance", fontsize=7)
        for (dx, dy, align), word in zip(_places(ax, plane["words"], moved), plane["words"], strict=True):
            line = {"arrowstyle": "-", "lw": 0.6, "color": "#555555", "shrinkA": 0, "shrinkB": 0} if dy not in NEAR else None
            ax.annotate(word["label"], (word["x"], word["y"]), xytext=(dx, dy), ha=align, textcoords="offset points", fontsize=7,
                        fontweight="bold", zorder=8, arrowprops=line,
                        bbox={"fc": "white", "alpha": 0.75, "lw": 0, "pad": 0.6})  # fmt: skip
    told = [plane["method"], f"trustworthiness {plane['trustworthiness']:.2f}"]
    told += [f"seed {plane['seed']}"] if "seed" in plane else []
    axes[0].set_title(f"before tuning\n{', '.join(told)}", fontsize=8.5)
    for ax in axes[1:]:
        ax.set_title("after tuning\n", fontsize=8.5)
    if arrows:
        axes[-1].set_title("after tuning\narrows: class means, before → after", fontsize=8.5)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.8, title="images")


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _points(ax: Any, plane: Mapping[str, Any], classes: Sequence[str], when: str, pale: bool) -> None:
    for i, name in enumerate(classes):
        own = [p for p in plane["points"] if p["when"] == when and p["label"] == name]
        shown = ax.scatter([p["x"] for p in own], [p["y"] for p in own], s=9, alpha=0.35 if pale else 0.65, lw=0.2, label=name,
                           color=CLASS_COLOURS[i % 9], marker=CLASS_MARKERS[(i + i // 9) % 9])  # fmt: skip
        shown.set_zorder(2)


def _arrow(ax: Any, arrow: Mapping[str, Any], shade: str) -> None:
    """White below the colour, so that it is seen on points of its own class."""
    for colour, wide, order in (("white", 3.4, 3), (shade, 1.6, 4)):
        ax.annotate("", (arrow["x1"], arrow["y1"]), (arrow["x0"], arrow["y0"]), zorder=order,
                    arrowprops={"arrowstyle": "-|>", "color": colour, "lw": wide, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9})  # fmt: skip
    ax.plot(arrow["x0"], arrow["y0"], "o", ms=4, mfc="white", mec=shade, mew=1.2, zorder=5)


def _places(
    ax: Any, words: Sequence[Mapping[str, Any]], arrows: Sequence[Mapping[str, Any]] = ()
) -> list[tuple[int, int, str]]:
    """For each word the offset of its label in points and its alignment: the place nearest to the star where least is in the way.

    Beside the star or, where words crowd, above or below it, with a line. Labels are taken as boxes of 4.6 points per letter and 9 points
    of height (7-point bold). In the way are other labels, stars, arrows and the edges of the panel.
    """
    scale = 72 / ax.figure.dpi
    points = [scale * ax.transData.transform((word["x"], word["y"])) for word in words]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    for arrow in arrows:
        for part in range(9):
            spot = [arrow[f"{axis}0"] + part / 8 * (arrow[f"{axis}1"] - arrow[f"{axis}0"]) for axis in "xy"]
            x, y = scale * ax.transData.transform(spot)
            taken.append((x - 3, y - 3, x + 3, y + 3))
    left, right = (scale * ax.transAxes.transform((end, 0))[0] for end in (0, 1))
    taken += [(left - 200, -1e4, left, 1e4), (right, -1e4, right + 200, 1e4)]
    places = []
    for (x, y), word in zip(points, words, strict=True):
        wide = 4.6 * len(word["label"])
        steps = [NEAR[side] + (11, -11)[side] * far for far in range(ROWS) for side in (0, 1)]
        corners = [(dx, dy, align) for dy in steps for dx, align in ((6, "left"), (-6, "right"))]
        boxes = [
            (x + dx - (wide if dx < 0 else 0), y + dy, x + dx + (0 if dx < 0 else wide), y + dy + 9) for dx, dy, _ in corners
        ]
        best = min(range(len(corners)), key=lambda k: sum(_overlap(boxes[k], other) for other in taken) + FAR * (k // 4))
        taken.append(boxes[best])
        places.append(corners[best])
    return places


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
