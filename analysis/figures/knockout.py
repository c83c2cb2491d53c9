"""What answers lose when attention is knocked out, over layers; and where the heads look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS
from stimuli.tables import Table

COLOURS = "cividis"
LINES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
KINDS = {
    "image": "attention on the image",
    "region": "attention on the region",
    "question": "attention on the question",
    "itself": "attention on itself",
    "rest": "attention on the rest",
    "enrichment": "attention on the region over an even share",
    "beyond": "enrichment, distorted less clean",
}
"""What can be mapped, by its column."""
CELLS = 20
"""Numbers are written into the cells of maps with at most so many layers, and so many heads."""


def draw_knockout(ax: Any, table: Table, value: str = "change") -> None:
    """A line per edge over the centres of the windows, with the band of its 95 % interval; on the right all layers at once.

    Markers are filled where the change is more than noise (Holm-adjusted p < 0.05). The thin dotted line of an edge, with small
    crosses, is its control: as many pairs cut elsewhere.

    Args:
        ax: axes.
        table: ``Knockout.table``.
        value: ``change`` of the probability, or ``relative`` in percent of the probability before.

    Raises:
        ValueError: another value.
    """
    if value not in ("change", "relative"):
        raise ValueError(f"Got the value '{value}'; expected 'change' or 'relative'.")
    edges = list(dict.fromkeys(row["edge"] for row in table))
    centres = sorted({row["centre"] for row in table if row["centre"] is not None})
    wide = max(1.0, 0.1 * len(centres))  # of the part for all layers at once
    end = len(centres) - 0.25 + wide / 2
    for i, edge in enumerate(edges):
        style = {"color": CLASS_COLOURS[i % len(CLASS_COLOURS)], "ls": LINES[i % len(LINES)]}
        own = sorted((r for r in table if r["edge"] == edge and r["centre"] is not None), key=lambda row: row["centre"])
        every = [row for row in table if row["edge"] == edge and row["centre"] is None]
        x = [centres.index(row["centre"]) for row in own]
        middle, low, high = (np.array([_number(row, value, end) for row in own]) for end in ("", "_low", "_high"))
        ax.fill_between(x, low, high, color=style["color"], alpha=0.16, lw=0)
        ax.plot(x, middle, **style, zorder=3)
        ax.plot([], [], **style, marker=CLASS_MARKERS[i % len(CLASS_MARKERS)], label=edge.replace("->", " → "))
        off = end + 0.7 * wide * ((i + 0.5) / len(edges) - 0.5)
        for row, at in [*zip(own, x, strict=True), *((row, off) for row in every)]:
            _point(ax, row, at, value, i, bars=row["centre"] is None)
        if own and own[0].get("control_change") is not None:
            ax.plot(x, [_control(row, value) for row in own], color=style["color"], ls=":", lw=0.9, marker="x", ms=3.5)
            for row in every:
                ax.plot([off + 0.08 * wide], [_control(row, value)], color=style["color"], marker="x", ms=3.5, ls="")
    if any(row.get("control_change") is not None for row in table):
        ax.plot([], [], color="#555555", ls=":", lw=0.9, marker="x", ms=3.5, label="as many pairs elsewhere")
    ax.axhline(0, color="#555555", lw=0.8, zorder=1)
    ax.axvline(len(centres) - 0.25, color="#BBBBBB", lw=0.8)
    step = max(1, -(-len(centres) // 12))
    ax.set_xticks([*range(0, len(centres), step), end], [*(str(layer) for layer in centres[::step]), "all"])
    ax.set_xlabel("layer of the language model in the middle of the window")
    ax.set_ylabel("change of p(right answer)" if value == "change" else "change of p(right answer), %")
    ax.legend(loc="best")


def _point(ax: Any, row: dict[str, Any], x: float, value: str, i: int, *, bars: bool) -> None:
    """A marker, filled where the change is more than noise; with its interval where there is no band."""
    own, colour = _number(row, value, ""), CLASS_COLOURS[i % len(CLASS_COLOURS)]
    clear = row.get("p_holm") is not None and row["p_holm"] < 0.05
    if bars:
        ax.plot([x, x], [_number(row, value, "_low"), _number(row, value, "_high")], color=colour, lw=1.2)
    ax.plot([x], [own], marker=CLASS_MARKERS[i % len(CLASS_MARKERS)], color=colour, mfc=colour if clear else "white", zorder=4)


def _number(row: dict[str, Any], value: str, end: str) -> float:
    name = value + end if value == "relative" or not end else end[1:]  # the interval of the change is called low and high
    return float("nan") if row[name] is None else float(row[name])


def _control(row: dict[str, Any], value: str) -> float:
    own = float("nan") if row["control_change"] is None else float(row["control_change"])
    return own if value == "change" else 100 * own / row["p_before"] if row["p_before"] else float("nan")


def draw_attention(ax: Any, table: Table, of: str = "image", limits: tuple[float, float] | None = None) -> Any:
    """A map of layers (columns) and heads (rows), with the mean over heads below.

    Args:
        ax: axes.
        table: ``AttentionShares.table``.
        of: a column, of ``KINDS``; a dot marks heads of ``enrichment`` or ``beyond`` whose enrichment differs from that of the
            clean image (Holm-adjusted p < 0.05).
        limits: of the colours; by default from 0, of ``beyond`` centred on 0; of ``enrichment`` from 0, with 1
            in the middle.

    Returns:
        What a colour bar is made of.

    Raises:
        KeyError: nothing of the kind is in the table.
    """
    layers, heads, cells = grid_of(table, of)
    norm = _scale(cells, of, limits)
    shown = ax.imshow(cells, cmap=COLOURS, norm=norm, aspect="auto", interpolation="nearest")
    clear = {(r["layer"], r["head"]) for r in table if r.get("p_holm") is not None and r["p_holm"] < 0.05}
    marked = clear if of in ("enrichment", "beyond") else set()
    small = len(layers) <= CELLS and len(heads) <= CELLS
    for (y, x), number in np.ndenumerate(cells):
        dot = "•" if (layers[x], heads[y]) in marked and np.isfinite(number) else ""
        told = f"{number:.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(number) else "×"
        text = told + dot if small or not np.isfinite(number) else dot
        light = np.isfinite(number) and norm(number) >= 0.55
        ax.text(x, y, text, ha="center", va="center", fontsize=6, color="black" if light else "white")
    ax.axhline(len(heads) - 1.5, color="white", lw=2.5)
    step, rows = max(1, -(-len(layers) // 16)), max(1, -(-(len(heads) - 1) // 16))
    ax.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    ticks = [*range(0, len(heads) - 1, rows), len(heads) - 1]
    ax.set_yticks(ticks, ["mean" if heads[y] is None else str(heads[y]) for y in ticks])
    ax.set_xlabel("layer of the language model")
    ax.set_ylabel("head")
    ax.set_title(KINDS.get(of, of)[0].upper() + KINDS.get(of, of)[1:])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return shown


def grid_of(table: Table, of: str) -> tuple[list[int], list[int | None], np.ndarray]:
    """Layers, heads (None, the mean, at the end) and the numbers (heads, layers); NaN where there is none.

    Raises:
        KeyError: nothing of the kind is in the table.
    """
    own = [row for row in table if row.get(of) is not None]
    if not own:
        raise KeyError(of)
    layers: Sequence[int] = sorted({row["layer"] for row in own})
    heads: list[int | None] = [*sorted({row["head"] for row in own if row["head"] is not None}), None]
    cells = np.full((len(heads), len(layers)), np.nan)
    for row in own:
        cells[heads.index(row["head"]), layers.index(row["layer"])] = row[of]
    return list(layers), heads, cells


def _scale(cells: np.ndarray, of: str, limits: tuple[float, float] | None) -> Any:
    """From numbers to colours: from 0, or centred on what says that there is nothing."""
    from matplotlib.colors import Normalize, TwoSlopeNorm

    numbers = cells[np.isfinite(cells)]
    if of == "enrichment":
        low, high = limits or (0.0, float(numbers.max(initial=2.0)))
        return TwoSlopeNorm(1.0, low, high)
    most = max(float(np.abs(numbers).max(initial=0.0)), 1e-9)
    return Normalize(*(limits or (-most if of == "beyond" else 0.0, most)))
