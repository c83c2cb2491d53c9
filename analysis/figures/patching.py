"""What an exchange of features does to the answer, as a map of sites and token sets, with its control in every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.files import Plan, canvas

Rows = Sequence[Mapping[str, Any]]

COLOURS = "cividis"
"""Evenly graded in lightness (Nuñez et al. 2018): centred on 0, its middle is neutral, and below and above are told apart in grey."""
VALUES: Mapping[str, tuple[str, str]] = {
    "recovery": ("recovery_control", "recovery of the probability"),
    "contrast_recovery": ("contrast_recovery_control", "recovery of the score less “clean”"),
    "effect": ("effect_control", "change of the probability"),
}
"""What is drawn: the column of its control, and what a colour bar says."""
TITLES = {"forward": "Forward: does it appear?", "reverse": "Reverse: does it vanish?"}
"""The answer that the image after has."""
STRIP = 0.16
"""Width of the control's strip, as a share of a cell."""
WRITTEN = 40
"""Numbers are written into the cells of maps with at most so many sites."""


def draw_patching(
    ax: Any, table: Any, *, direction: str = "forward", value: str = "recovery", part: str | None = None, names: bool = True
) -> Any:
    """A map with a row per site, in the order of the data's way, and a column per token set.

    The strip at the right of a cell is the control in the same colours; a dot says that the effect is beyond the control's (Holm-adjusted
    p < 0.05) in the direction of the donor. Hatched cells have no recovery: donor and receiver answer alike. Empty ones: no such tokens.

    Args:
        ax: matplotlib axes.
        table: ``Patching`` or its table.
        direction: ``forward`` or ``reverse``.
        value: of ``VALUES``.
        part: ``block``, ``attention`` or ``mlp``; by default the first that is there.
        names: whether to name the sites.

    Returns:
        What a colour bar is made of.

    Raises:
        KeyError: there are no such rows.
    """
    rows = _own(table, direction, part)
    sites, sets = (list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("site", "set"))
    far = _far(_rows(table), value)
    cells = np.full((len(sites), len(sets)), np.nan)
    for row in rows:
        cells[sites.index(row["site"]), sets.index(row["set"])] = _number(row[value])
    shown = ax.imshow(cells, cmap=COLOURS, vmin=-far, vmax=far, aspect="auto", interpolation="nearest")
    for row in rows:
        _cell(ax, row, (sets.index(row["set"]), sites.index(row["site"])), value, far, len(sites) <= WRITTEN)
    _framed(ax, sites, sets, names)
    return shown


def patching_map(table: Any, value: str = "recovery") -> Any:
    """A figure of its own: forward and reverse side by side, a row of maps per part of the blocks.

    Args:
        table: ``Patching`` or its table.
        value: of ``VALUES``.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = _rows(table)
    directions, sets = (list(dict.fromkeys(row[name] for row in rows)) for name in ("direction", "set"))
    parts = sorted({row["part"] for row in rows}, key=("block", "attention", "mlp").index)
    counts = [len({row["site"] for row in rows if row["part"] == part}) for part in parts]
    wide = 1.3 + len(directions) * max(2.3, 0.62 * len(sets) + 0.5)
    tall = 0.9 + sum(0.45 + (0.21 if count <= WRITTEN else 0.13) * count for count in counts)
    ratios = {"height_ratios": [count + 1 for count in counts]}
    figure, axes = canvas(wide, tall, len(parts), len(directions), narrow="keep", squeeze=False, gridspec_kw=ratios)
    for own, part in zip(axes, parts, strict=True):
        for ax, direction in zip(own, directions, strict=True):
            made = draw_patching(ax, rows, direction=direction, value=value, part=part, names=ax is own[0])
            ax.set_title(TITLES[direction] if len(parts) == 1 else f"{part}, {direction}", fontsize=8.5, loc="left")
    bar = figure.colorbar(made, ax=axes, aspect=30, pad=0.015, fraction=0.05, extend="both" if value != "effect" else "neither")
    bar.set_label(VALUES[value][1], fontsize=7.5)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    signs = [
        Patch(facecolor="#888888", edgecolor="white", label="strip at the right: control with a stranger's features"),
        Line2D([], [], marker="o", ls="", color="black", ms=3, label="beyond its control (Holm-adjusted p < 0.05)"),
        Patch(facecolor="#EEEEEE", edgecolor="#999999", hatch="////", label="donor and receiver answer alike"),
    ]
    figure.legend(handles=signs, loc="outside lower left", ncols=1 if wide < 6 else 2 if wide < 9 else 3, fontsize=7)
    return figure


def patching_figures(tables: Mapping[str, Rows]) -> Plan:
    """A map per value.

    Args:
        tables: ``patching``.
    """
    rows = [dict(row) for row in tables["patching"]]

    def maker(value: str) -> Any:
        return lambda: (patching_map(rows, value), rows) if any(row[value] is not None for row in rows) else None

    return {f"patching_{value}": maker(value) for value in VALUES}


def _own(table: Any, direction: str, part: str | None) -> list[Mapping[str, Any]]:
    rows = [row for row in _rows(table) if row["direction"] == direction]
    part = part or (str(rows[0]["part"]) if rows else "block")
    own = [row for row in rows if row["part"] == part]
    if not own:
        raise KeyError(f"{direction}, {part}")
    return own


def _cell(ax: Any, row: Mapping[str, Any], at: tuple[int, int], value: str, far: float, written: bool) -> None:
    """Number, mark, control's strip or hatching of one cell."""
    from matplotlib.patches import Rectangle

    (x, y), number, control = at, _number(row[value]), _number(row.get(VALUES[value][0]))
    if not np.isfinite(number):
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#EEEEEE", edgecolor="#999999", hatch="////", lw=0))
        return
    colours = _palette(far)
    if np.isfinite(control):
        left = x + 0.5 - STRIP
        ax.add_patch(Rectangle((left, y - 0.5), STRIP, 1, facecolor=colours(control), edgecolor="white", lw=0.5))
    dot = "•" if _beyond(row) else ""
    text = f"{number + 0.0:.2f}{dot}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}") if written else dot
    shade = "white" if _dark(colours(number)) else "black"
    ax.text(x - (STRIP / 2 if np.isfinite(control) else 0), y, text, ha="center", va="center", fontsize=6, color=shade)


def _beyond(row: Mapping[str, Any]) -> bool:
    """Whether the effect is more than the control's, towards the donor."""
    p, beyond = row.get("beyond_p_holm"), row.get("beyond")
    towards = 1 if row["direction"] == "forward" else -1
    gap = (_number(row["high"]) - _number(row["low"])) * towards
    return p is not None and p < 0.05 and beyond is not None and beyond * gap > 0


def _framed(ax: Any, sites: Sequence[str], sets: Sequence[str], names: bool) -> None:
    """Names, and a gap between components."""
    ax.set_xticks(range(len(sets)), sets, fontsize=7.5)
    ax.set_yticks(range(len(sites)), sites if names else [""] * len(sites), fontsize=7 if len(sites) <= WRITTEN else 5)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    parts = [site.split(".")[0] for site in sites]
    for y in (i for i in range(1, len(parts)) if parts[i] != parts[i - 1]):
        ax.axhline(y - 0.5, color="white", lw=3)
    for x in range(1, len(sets)):
        ax.axvline(x - 0.5, color="white", lw=1.2)


def _far(rows: Rows, value: str) -> float:
    """The end of the scale, the same above and below 0: the whole way for recoveries, the largest effect for effects."""
    if value != "effect":
        return 1.0
    numbers = [
        abs(number) for row in rows for name in (value, VALUES[value][0]) if np.isfinite(number := _number(row.get(name)))
    ]
    return max([*numbers, 1e-9])


def _palette(far: float) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    norm = Normalize(-far, far, clip=True)
    return lambda number: colormaps[COLOURS](norm(number))


def _dark(colour: Sequence[float]) -> bool:
    """Whether white is the better ink, by relative luminance."""
    return float(np.dot(colour[:3], (0.2126, 0.7152, 0.0722))) < 0.5


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _rows(table: Any) -> Rows:
    return list(getattr(table, "table", table))
