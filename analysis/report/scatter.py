"""The plane of stimuli before and after tuning as geometry of an SVG. Draws, computes no result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 1000, 520
EDGE, GAP, TOP = 8, 16, 24
MOST = 6000
"""Points of each panel, at most; spread evenly over more."""
LETTER, LINE = 7.6, 14
"""Width of a letter and height of a line of the words' names."""
HEAD = 9
"""Length of an arrow's head."""
SHADES = 9
"""Colours and marks of classes, as in ``analysis.figures.style``."""


def scatter(plane: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """What the template ``plane.svg`` draws.

    Args:
        plane: ``distance.plane`` of the results.
        classes: in order.

    Returns:
        Pixel coordinates: ``panels`` (``when, left, width``), ``points`` (``id, when, x, y, shade``), ``words`` in both panels, ``arrows``
        in the second, and ``classes`` with their shades.
    """
    half = (WIDTH - 2 * EDGE - GAP) / 2
    panels: list[dict[str, Any]] = [
        {"when": "before tuning", "left": EDGE},
        {"when": "after tuning", "left": EDGE + half + GAP},
    ]
    every = [*plane["points"], *plane["words"]]
    ends = {axis: (min(p[axis] for p in every), max(p[axis] for p in every)) for axis in "xy"}

    def x(value: float, panel: int) -> float:
        return round(panels[panel]["left"] + 14 + (half - 28) * _share(value, *ends["x"]), 1)

    def y(value: float) -> float:
        return round(HEIGHT - EDGE - 14 - (HEIGHT - EDGE - TOP - 28) * _share(value, *ends["y"]), 1)

    shade = {name: i % SHADES for i, name in enumerate(classes)}
    points = [
        {"id": p["id"], "when": p["when"], "x": x(p["x"], panel), "y": y(p["y"]), "shade": shade.get(p["label"], 0)}
        for panel, when in enumerate(("before", "after"))
        for p in _spread([p for p in plane["points"] if p["when"] == when])
    ]
    words = []
    for panel in (0, 1):
        own = [
            {"label": w["label"], "x": x(w["x"], panel), "y": y(w["y"]), "shade": shade.get(w["label"], 0)}
            for w in plane["words"]
        ]
        words += _labelled(own, panels[panel]["left"], panels[panel]["left"] + half)
    arrows = [
        {"d": _arrow(x(a["x0"], 1), y(a["y0"]), x(a["x1"], 1), y(a["y1"])), "shade": shade.get(a["label"], 0)}
        for a in plane.get("arrows") or []
    ]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "top": TOP,
        "edge": EDGE,
        "half": half,
        "panels": panels,
        "points": points,
        "words": words,
        "arrows": arrows,
        "classes": [{"name": name, "shade": shade[name]} for name in classes],
        "left_out": len(plane["points"]) - len(points),
    }


def _labelled(words: list[dict[str, Any]], left: float, right: float) -> list[dict[str, Any]]:
    """Words with the places of their names: beside the star, and further down where another name would be touched."""
    put: list[tuple[float, float, float]] = []
    for word in sorted(words, key=lambda one: (one["y"], one["x"])):
        wide = LETTER * len(word["label"])
        end = word["x"] + 12 + wide > right - 4
        start = max(left + 4, word["x"] - 12 - wide) if end else word["x"] + 12
        height = word["y"] + 4
        while touched := [y for a, b, y in put if a < start + wide and start < b and abs(y - height) < LINE]:
            height = max(touched) + LINE
        put.append((start, start + wide, height))
        word |= {"left": round(start, 1), "height": round(height, 1), "far": height > word["y"] + 8}
    return words


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    """A line with a head; a ring where it would be too short to see."""
    length = math.hypot(x1 - x0, y1 - y0)
    if length < HEAD:
        return f"M{x0 - 3} {y0}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0"
    dx, dy = (x1 - x0) / length * HEAD, (y1 - y0) / length * HEAD
    sides = [f"{round(x1 - dx + turn * dy / 2, 1)} {round(y1 - dy - turn * dx / 2, 1)}" for turn in (1, -1)]
    return f"M{x0} {y0}L{x1} {y1}M{sides[0]}L{x1} {y1}L{sides[1]}"


def _spread(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    count = min(len(points), MOST)
    return [points[i * len(points) // count] for i in range(count)]


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)
