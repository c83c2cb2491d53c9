"""Distances as a map of sites and classes: one model, or before, after and the change between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.distance import PANELS, draw_distance
from analysis.figures.files import Made, Plan, canvas

Rows = Sequence[Mapping[str, Any]]

COLOURS = "cividis"
"""From dark blue through grey to light yellow, evenly in lightness (Nuñez et al. 2018): centred on 0, its middle is neutral, and below and
above 0 are told apart in grey as well."""
NAMES: Mapping[str, str] = {
    "cosine": "cosine distance",
    "centred": "centred cosine distance",
    "whitened": "whitened distance",
    "whitened_margin": "whitened margin to the nearest wrong word",
    "margin": "margin to the nearest wrong word",
    "zero_shot": "share whose nearest word is right",
    "token_cosine": "cosine distance of single tokens",
    "token_centred": "centred cosine distance of single tokens",
    "token_margin": "margin of single tokens",
    "token_zero_shot": "share of tokens whose nearest word is right",
    "transport": "transport cost to the word's tokens",
    "transport_margin": "transport margin",
    "transport_zero_shot": "share whose tokens are nearest to the right word's",
}
SIGNED = ("margin", "whitened_margin", "token_margin", "transport_margin")
"""Measures around 0, drawn on a scale that is centred on it; all changes are."""
CELLS = 16
"""Numbers are written into the cells of at most so many columns."""


def draw_distance_map(
    ax: Any,
    result: Any,
    measure: str,
    *,
    value: str | None = None,
    limits: tuple[float, float] | None = None,
    names: bool = True,
) -> Any:
    """A map of one measure, a column per site and a row per class.

    Args:
        ax: matplotlib axes.
        result: ``Distances`` or its table; or rows of ``compare``, of which ``value`` is shown.
        measure: which.
        value: ``before``, ``after`` or ``change`` of compared rows; a dot marks changes with ``p_holm`` below 0.05.
        limits: of the colours; by default those of the values, centred on 0 for margins and changes.
        names: whether to name the sites below.

    Returns:
        What a colour bar is made of.

    Raises:
        KeyError: the measure is not there.
    """
    sites, classes, cells = grid_of(_rows(result), measure, value)
    low, high = limits or limits_of([cells], measure, value)
    shown = ax.imshow(cells, cmap=COLOURS, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(len(classes)), classes, fontsize=7.5)
    by_map = {row["site"] for row in _rows(result) if row.get("space") == "ridge map"}
    told = [f"{site} (map)" if site in by_map else site for site in sites] if names else [""] * len(sites)
    ax.set_xticks(range(len(sites)), told, rotation=90 if len(sites) > CELLS else 45, fontsize=7)
    if names and len(sites) <= CELLS:
        for label in ax.get_xticklabels():
            label.set_ha("right")
            label.set_rotation_mode("anchor")
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if "all" in classes:
        ax.axhline(0.5, color="white", lw=2)
    _marked(ax, _rows(result), sites, classes, cells, measure, value, (low, high))
    return shown


def grid_of(rows: Rows, measure: str, value: str | None = None) -> tuple[list[str], list[str], np.ndarray]:
    """Sites, classes (``all`` first) and the numbers, (classes, sites); NaN where there is none.

    Raises:
        KeyError: the measure is not there.
    """
    own = (
        [row for row in rows if row.get("measure") == measure]
        if value
        else [row for row in rows if row.get(measure) is not None]
    )
    if not own:
        raise KeyError(measure)
    sites = list(dict.fromkeys(str(row["site"]) for row in own))
    classes = list(dict.fromkeys(str(row["class"]) for row in own))
    found = np.full((len(classes), len(sites)), np.nan)
    for row in own:
        number = row[value or measure]
        found[classes.index(row["class"]), sites.index(row["site"])] = np.nan if number is None else number
    return sites, classes, found


def limits_of(grids: Sequence[np.ndarray], measure: str, value: str | None = None) -> tuple[float, float]:
    """One scale for several maps: centred on 0 for margins and changes; 0 to 1 where there is no number at all."""
    numbers = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
    if not numbers.size:
        return (-1.0, 1.0) if measure in SIGNED or value == "change" else (0.0, 1.0)
    if measure in SIGNED or value == "change":
        far = max(float(np.abs(numbers).max()), 1e-9)
        return -far, far
    return float(numbers.min()), float(numbers.max())


def distance_map(result: Any, measure: str) -> Any:
    """A figure of its own: one model's map, or of compared rows before, after and change, on one scale.

    The change of a measure that is not around 0 itself has a scale of its own, centred on 0.

    Args:
        result: ``Distances`` or its table, or rows of ``compare``.
        measure: which.

    Raises:
        KeyError: the measure is not there.
    """
    rows = _rows(result)
    compared = bool(rows) and "change" in rows[0]
    panels: list[str | None] = ["before", "after", "change"] if compared else [None]
    grids = {panel: grid_of(rows, measure, panel) for panel in panels}
    sites, classes, _ = grids[panels[0]]
    wide = max(4.4, 1.9 + 0.42 * len(sites)) if len(sites) <= CELLS else min(14.0, 1.9 + 0.26 * len(sites))
    figure, axes = canvas(wide, 0.5 + len(panels) * (0.35 + 0.19 * len(classes)) + 0.5, len(panels), 1, squeeze=False)
    shared = limits_of([grids[panel][2] for panel in panels if panel != "change" or measure in SIGNED], measure)
    bars: dict[bool, tuple[Any, list[Any]]] = {}
    for ax, panel in zip(axes[:, 0], panels, strict=True):
        apart = panel == "change" and measure not in SIGNED
        limits = limits_of([grids[panel][2]], measure, panel) if apart else shared
        made = draw_distance_map(ax, rows, measure, value=panel, limits=limits, names=panel == panels[-1])
        ax.set_title(_title(measure, panel), fontsize=8.5, loc="left")
        bars.setdefault(apart, (made, []))[1].append(ax)
    for made, own in bars.values():
        bar = figure.colorbar(made, ax=own, aspect=12 * len(own), pad=0.015, fraction=0.05)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.outline.set_visible(False)
    return figure


def distance_figures(tables: Mapping[str, Rows], classes: Sequence[str]) -> Plan:
    """A map per measure that the tables hold, and of two models the arrows at the first site whose features are compared as they are.

    Args:
        tables: ``distance`` and, where two models were compared, ``distance_change``.
        classes: in order.
    """
    rows = tables.get("distance_change") or tables["distance"]
    compared = bool(rows) and "change" in rows[0]
    there = {row["measure"] for row in rows} if compared else {name for row in rows for name in row if row[name] is not None}

    def maker(measure: str) -> Callable[[], Made]:
        def made() -> Made:
            own = [dict(row) for row in rows if not compared or row["measure"] == measure]
            kept = own if compared else [{k: v for k, v in row.items() if k in _columns(measure)} for row in own]
            return distance_map(rows, measure), kept

        return made

    plan = {f"map_{name}": maker(name) for name in NAMES if name in there}
    direct = [row["site"] for row in rows if compared and row["space"] == "direct"]
    if direct and all(measure in there for measure, _ in PANELS):
        plan["arrows"] = lambda: arrows_figure(rows, list(classes), direct[0])
    return plan


def arrows_figure(rows: Rows, classes: list[str], site: str, arm: str = "") -> Made:
    """The arrows of ``draw_distance`` at one site as a figure, and the rows it shows.

    Args:
        rows: of ``compare``.
        classes: in order.
        site: where.
        arm: what was tuned, for the heading.
    """
    figure, axes = canvas(8.2, 3.0, 1, len(PANELS), sharey=True)
    draw_distance(axes, {"compare": {arm: rows}, "shown_arm": arm}, classes, site)
    tuned = f" tuning {arm}" if arm else ""
    told = f"Distance at {site} before (○) and after (✚){tuned}; band: 95 % interval of the change"
    figure.suptitle(told, fontsize=8.5, x=0.01, ha="left")
    return figure, [dict(row) for row in rows if row["site"] == site]


def _columns(measure: str) -> tuple[str, ...]:
    return ("site", "space", "class", "n", measure, f"{measure}_low", f"{measure}_high")


def _title(measure: str, panel: str | None) -> str:
    name = NAMES.get(measure, measure)
    if panel is None:
        return name[0].upper() + name[1:]
    return {"before": f"{name[0].upper()}{name[1:]}, before", "after": "After", "change": "Change (• Holm-adjusted p < 0.05)"}[
        panel
    ]


def _marked(
    ax: Any,
    rows: Rows,
    sites: Sequence[str],
    classes: Sequence[str],
    cells: np.ndarray,
    measure: str,
    value: str | None,
    limits: tuple[float, float],
) -> None:
    """Numbers in the cells of small maps; a dot on changes that are more than noise."""
    clear = {
        (row["class"], row["site"])
        for row in rows
        if value == "change" and row.get("measure") == measure and _tested(row.get("p_holm"))
    }
    numbers = cells[np.isfinite(cells)]
    sign, digits = "+" if value == "change" else "", 3 if numbers.size and np.ptp(numbers) < 0.3 else 2
    middle = limits[0] + 0.55 * (limits[1] - limits[0])
    for (y, x), number in np.ndenumerate(cells):
        if not np.isfinite(number):
            ax.plot(x, y, "x", color="#777777", ms=3)
            continue
        dot = "•" if (classes[y], sites[x]) in clear else ""
        told = f"{number:{sign}.{digits}f}{dot}".replace("-", "\N{MINUS SIGN}")
        text = told if len(sites) <= CELLS else dot
        ax.text(x, y, text, ha="center", va="center", fontsize=6, color="white" if number < middle else "black")


def _tested(p: float | None) -> bool:
    """Whether a change is more than noise; not where it was not tested (None or NaN)."""
    return p is not None and p < 0.05


def _rows(result: Any) -> Rows:
    return list(getattr(result, "table", result))
