"""Points with intervals on one axis from 0 to 100 %, several models in each row, as geometry of an SVG. Draws, computes no result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.curve import MOST

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000, 210, 20, 8, 26
STEP, GAP = 20, 14


@dataclass(frozen=True)
class Dot:
    """A share with its interval."""

    value: float
    low: float | None
    high: float | None


def dots(rows: Sequence[tuple[str, Sequence[Dot | None]]], names: Sequence[str], chance: float) -> dict[str, Any]:
    """What the template ``dots`` draws.

    Args:
        rows: title, and a point per model, None where there is none.
        names: of the models.
        chance: share.

    Returns:
        Pixel coordinates: ``rows`` (``title, y, points``), ``ticks``, ``chance``, the size; a row without any point is left out.
    """
    made, y = [], float(TOP)
    for title, points in rows:
        if any(points):
            own = [
                _point(point, name, number % MOST, y + STEP * (number + 0.5))
                for number, (point, name) in enumerate(zip(points, names, strict=True))
                if point is not None
            ]
            made.append(
                {"title": title, "top": y, "y": y + STEP * len(names) / 2 + 4, "height": STEP * len(names), "points": own}
            )
            y += STEP * len(names) + GAP
    ticks = [{"x": _x(share / 5), "label": f"{20 * share} %"} for share in range(6)]
    return {"width": WIDTH, "height": y + BOTTOM, "foot": y, "left": LEFT, "rows": made, "ticks": ticks, "chance": _x(chance)}


def _point(point: Dot, name: str, number: int, y: float) -> dict[str, Any]:
    told = f"{name} {100 * point.value:.1f} %"
    if point.low is None or point.high is None:
        return {"x": _x(point.value), "y": y, "low": None, "high": None, "number": number, "label": told}
    told += f" [{100 * point.low:.1f}, {100 * point.high:.1f}]"
    return {"x": _x(point.value), "y": y, "low": _x(point.low), "high": _x(point.high), "number": number, "label": told}


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)
