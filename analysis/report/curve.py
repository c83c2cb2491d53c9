"""The survival curve as geometry of an SVG: one model with its controls, or several on shared axes. Draws, computes no result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from analysis.figures.survival import BASELINE, ORDER, ordered, shown_ticks

WIDTH, HEIGHT = 1000, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 40, 104
LETTER = 7.5
"""Width of a letter of a component's name."""
MOST = 8
"""Series that styles of lines and points tell apart."""
SHARES = {"input": 1.0, "vision": 3.0, "projector": 0.6, "llm": 3.4}
"""Widths of the components where models have different sites, relative to each other."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Series:
    """The curve of one model."""

    name: str
    rows: Sequence[Row]
    """Of a sweep: site, component, score, low, high, control, control_low, control_high, content."""
    answer: Row | None
    """What it says: ``balanced_accuracy, balanced_low, balanced_high``."""


def curve(series: Sequence[Series], chance: float, majority: float, baselines: Sequence[Row] = ()) -> dict[str, Any]:
    """What the template ``curve.svg`` draws.

    Args:
        series: one model, which is drawn with its controls, or several.
        chance: share.
        majority: share of the most frequent class.
        baselines: rows of baselines.

    Returns:
        Pixel coordinates: ``box``, ``bands`` of components, ``ticks`` of both axes, ``lines``, ``areas``, ``points``, ``columns`` (what is
        told where the pointer is: ``label`` for readers of the screen, ``tip`` in lines), and ``legend``.
    """
    shown = [
        Series(one.name, ordered([r for r in one.rows if not r["site"].startswith(BASELINE)]), one.answer) for one in series
    ]
    places, bands, same = _places(shown)
    scale = (WIDTH - LEFT - RIGHT) / (1 + max(spot for own in places for spot in own))
    across = [[_round(LEFT + scale * spot) for spot in own] for own in places]
    made: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "box": {"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM},
        "bands": _bands(bands, scale),
        "ticks_y": [{"y": _y(share / 5), "label": f"{20 * share} %"} for share in range(6)],
        "ticks_x": _ticks(shown, across) if same else [],
        "rules": [{"y": _y(chance), "kind": "chance", "label": f"chance {100 * chance:.1f} %"}],
        "areas": [],
        "lines": [],
        "points": [],
        "same": same,
    }
    if abs(majority - chance) > 0.01:
        made["rules"].append({"y": _y(majority), "kind": "majority", "label": f"majority {100 * majority:.1f} %"})
    for number, (one, x) in enumerate(zip(shown, across, strict=True)):
        _one(made, one, x, number % MOST, alone=len(shown) == 1)
    for number, row in enumerate(baselines):
        name = row["site"].removeprefix(BASELINE).replace("-", " ")
        made["rules"].append(
            {"y": _y(row["score"]), "kind": f"baseline b{number % 3}", "label": f"{name} {100 * row['score']:.1f} %"}
        )
    made["columns"] = _columns(shown, across)
    made["series"] = [{"name": one.name, "number": number % MOST} for number, one in enumerate(shown)]
    return made


def _places(series: Sequence[Series]) -> tuple[list[list[float]], list[tuple[str, float, float]], bool]:
    """Where sites and answers of each series stand, the components with their ends, and whether all have the same sites."""
    sites = [[(row["component"], row["site"]) for row in one.rows] for one in series]
    if all(own == sites[0] for own in sites):
        bands, start = [], 0.0
        for name, group in groupby(sites[0], key=lambda pair: pair[0]):
            end = start + len(list(group))
            bands.append((name, start, end))
            start = end
        return [[i + 0.5 for i in range(len(own) + 1)] for own in sites], bands, True
    wide = max(len(own) for own in sites) / sum(SHARES.values())
    ends, start = {}, 0.0
    for name in ORDER:
        ends[name] = (start, start + SHARES[name] * wide)
        start = ends[name][1]
    found = []
    for own in sites:
        spots: list[float] = []
        for name, group in groupby(own, key=lambda pair: pair[0]):
            low, high = ends[name]
            count = len(list(group))
            spots += [low + (high - low) * (i + 0.5) / count for i in range(count)]
        found.append([*spots, start + 0.5])
    return found, [(name, *ends[name]) for name in ORDER], False


def _bands(bands: Sequence[tuple[str, float, float]], scale: float) -> list[dict[str, Any]]:
    """Components with the places of their names, which go up where they would touch the one before."""
    made: list[dict[str, Any]] = []
    end = 0.0
    for name, low, high in bands:
        middle, half = LEFT + scale * (low + high) / 2, LETTER * len(name) / 2
        up = middle - half < end + LETTER and not (made and made[-1]["up"])
        end = middle + half
        made.append(
            {
                "name": name,
                "x": _round(LEFT + scale * low),
                "width": _round(scale * (high - low)),
                "middle": _round(middle),
                "up": up,
            }
        )
    return made


def _one(made: dict[str, Any], one: Series, x: Sequence[float], number: int, alone: bool) -> None:
    """Adds the lines, areas and points of one series."""
    spots = x[: len(one.rows)]
    if alone:
        made["areas"].append({"d": _band(spots, one.rows, "control_low", "control_high"), "kind": "control"})
        made["lines"].append({"d": _line(spots, one.rows, "content"), "kind": "content"})
    made["areas"].append({"d": _band(spots, one.rows, "low", "high"), "kind": f"interval s{number}"})
    made["lines"].append({"d": _line(spots, one.rows, "score"), "kind": f"probe s{number}"})
    for spot, row in zip(spots, one.rows, strict=True):
        if row["score"] is not None:
            kind = f"s{number}{' dead' if row.get('dead_end') else ''}"
            made["points"].append({"x": spot, "y": _y(row["score"]), "kind": kind, "mark": number})
    if one.answer is not None:
        said = [one.answer[f"balanced_{key}"] for key in ("accuracy", "low", "high")]
        y = [_y(value) if value is not None else None for value in said]
        made["points"].append({"x": x[-1], "y": y[0], "low": y[1], "high": y[2], "kind": f"answer s{number}", "mark": number})


def _columns(series: Sequence[Series], across: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Places along x that can be pointed at, in order, each with what every series has there."""
    told: dict[float, list[tuple[str, str]]] = {}
    for one, x in zip(series, across, strict=True):
        said: list[tuple[str, list[str]]] = [(row["site"], _facts(row)) for row in one.rows]
        if one.answer is not None:
            said.append(("answer", [_share("said", one.answer, "balanced_accuracy", "balanced_low", "balanced_high")]))
        for spot, (site, facts) in zip(x, said, strict=False):
            named = facts if len(series) == 1 else [f"{one.name}: {'; '.join(facts[:1])}"]
            told.setdefault(spot, []).extend((site, fact) for fact in named)
    spots = sorted(told)
    middles = [LEFT, *((a + b) / 2 for a, b in pairwise(spots)), WIDTH - RIGHT]
    made = []
    for spot, low, high in zip(spots, middles, middles[1:], strict=False):
        title = " / ".join(dict.fromkeys(site for site, _ in told[spot]))
        facts = [fact for _, fact in told[spot]]
        tip = "\n".join([title, *facts])
        made.append(
            {"x": _round(low), "width": _round(high - low), "at": spot, "tip": tip, "label": f"{title}: {'; '.join(facts)}"}
        )
    return made


def _facts(row: Row) -> list[str]:
    facts = [_share("probe", row, "score", "low", "high")]
    if row.get("control") is not None:
        facts.append(_share("shuffled labels", row, "control", "control_low", "control_high"))
    if row.get("content") is not None:
        facts.append(_share("content", row, "content"))
    if row.get("dim"):
        facts.append(f"{row['dim']:,} dimensions")
    return [*facts, "a dead end: the answer ignores it"] if row.get("dead_end") else facts


def _share(name: str, row: Row, key: str, low: str = "", high: str = "") -> str:
    if row.get(key) is None:
        return f"{name} –"
    told = f"{name} {100 * row[key]:.1f} %"
    return told if row.get(low) is None else f"{told} [{100 * row[low]:.1f}, {100 * row[high]:.1f}]"


def _ticks(series: Sequence[Series], across: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    rows, x = series[0].rows, across[0]
    named = [(x[i], rows[i]["site"]) for i in shown_ticks([row["component"] for row in rows])]
    named += [(x[len(rows)], "answer")] if any(one.answer is not None for one in series) else []
    return [{"x": spot, "label": label} for spot, label in named]


def _line(x: Sequence[float], rows: Sequence[Row], key: str) -> str:
    """A path through the values there are; a gap where there is none."""
    path, broken = [], True
    for spot, row in zip(x, rows, strict=True):
        value = row.get(key)
        if value is not None:
            path.append(f"{'M' if broken else 'L'}{spot} {_y(value)}")
        broken = value is None
    return "".join(path)


def _band(x: Sequence[float], rows: Sequence[Row], low: str, high: str) -> str:
    """A closed path around the intervals there are."""
    there = [(s, row) for s, row in zip(x, rows, strict=True) if row.get(low) is not None and row.get(high) is not None]
    if len(there) < 2:
        return ""
    up = [f"{s} {_y(row[high])}" for s, row in there]
    down = [f"{s} {_y(row[low])}" for s, row in reversed(there)]
    return f"M{'L'.join([*up, *down])}Z"


def _y(share: float) -> float:
    return _round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP))


def _round(value: float) -> float:
    return round(value, 1)
