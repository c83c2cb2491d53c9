"""Figures of ``snellen probe``: any target's survival curve, its controls, bits, types, training sizes and transfer.

Every function draws a table of ``probes`` as it is: rows by ``site``, with or without baselines. Tables of 60 sites and more are
drawn like those of ten, with fewer names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.kinds import draw_transfers, draw_types
from analysis.figures.style import COLOURS, MARKERS, colour, percent_axis
from analysis.figures.survival import BASELINE, Rows, curve, draw_survival, site_axis, split

Tables = Mapping[str, Rows]
TRANSFER, CONTROL = "transfer_", "control_task_"
"""What the names of such tables begin with."""


def draw_probe(ax: Any, rows: Rows, target: str) -> None:
    """The survival curve of any target: rows of ``sweep`` (balanced accuracy) or ``severity_sweep`` (rank correlation)."""
    sites, baselines = split(rows)
    first = sites[0]
    levels = {"chance": first["chance"], "majority": first.get("majority")}
    draw_survival(ax, {"base": sites, "baselines": baselines, **levels}, what=target)
    ax.set_title(f"Where {target} can be read")


def draw_differences(ax: Any, rows: Rows, best: Rows | None = None) -> None:
    """Every site's score less that of the best, with interval; filled where the site cannot be told from the best.

    Args:
        ax: matplotlib axes.
        rows: of ``SweepResult.differences``, with ``component``.
        best: of ``SweepResult.best_sites``; without it a site is told apart where ``p_holm`` is below 0.05.
    """
    sites, _ = split(rows)
    among = {row["site"]: row["among_best"] for row in best or ()}
    site_axis(ax, sites)
    ax.axhline(0, color="#222222", lw=0.9)
    for x, row in enumerate(sites):
        alike = among.get(row["site"], row["p_holm"] is None or row["p_holm"] >= 0.05)
        shade = colour(row["component"])
        ax.plot([x, x], [row["low"], row["high"]], color=shade, lw=1.2)
        ax.plot(
            [x], [row["change"]], color=shade, marker=MARKERS.get(row["component"], "o"), mfc=shade if alike else "white", ls=""
        )
    for face, told in (("#555555", "cannot be told from the best"), ("white", "below the best")):
        ax.plot([], [], marker="o", ls="", color="#555555", mfc=face, label=told)
    against = next((row["against"] for row in sites if row["change"] != 0), "the best")
    low, high = min(row["low"] for row in sites), max(0.0, *(row["high"] for row in sites))
    ax.set_ylim(low - 0.05 * (high - low), high + 0.14 * (high - low))
    ax.set_ylabel(f"score − that of {against}")
    ax.set_title("Which sites differ from the best (95 % intervals, paired over references)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_bits(axes: Any, code: Rows, usable: Rows) -> None:
    """Two panels over the same sites: compression of the online code, and usable bits per stimulus, each beside shuffled labels.

    Args:
        axes: two matplotlib axes.
        code: rows of ``description_length``.
        usable: rows of ``usable_information``.
    """
    upper, lower = axes
    for ax, table, name, label in ((upper, code, "compression", "compression"), (lower, usable, "information", "usable bits")):
        sites, baselines = split(table)
        x = np.arange(len(sites))
        shuffled = "control_compression" if name == "compression" else "control"
        site_axis(ax, sites, names=ax is upper)
        curve(ax, x, [_as_score(row, name) for row in sites], "score", "#222222", f"{label} (95 % interval)")
        curve(ax, x, sites, shuffled, "#777777", "shuffled labels", ls="--", marker="x", ms=3.5, lw=1.0)
        for row, style in zip(baselines, ("--", "-."), strict=False):
            told = f"{row['site'].removeprefix(BASELINE).replace('-', ' ')} {row[name]:.2f}"
            ax.axhline(row[name], color=COLOURS["baseline"], lw=1.0, ls=style, label=told)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    upper.axhline(1, color="#999999", lw=0.9, ls=":")
    upper.set_ylim(0, 1.1 * max(row["compression_high"] for row in code))
    upper.set_ylabel("compression (1: none)")
    upper.set_title("How cheaply the labels are told, given each site")
    most = usable[0]["h_null"]
    lower.axhline(most, color="#999999", lw=0.9, ls=":", label=f"all there is: {most:.2f} bits")
    lower.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    lower.set_ylabel("usable bits per stimulus")
    upper.tick_params(labelbottom=False)


def draw_control_task(ax: Any, rows: Rows) -> None:
    """Score and control task per site; selectivity is what lies between them."""
    sites, _ = split(rows)
    x = np.arange(len(sites))
    site_axis(ax, sites)
    curve(ax, x, sites, "score", "#222222", "score (95 % interval)")
    curve(ax, x, sites, "control", "#777777", "control task: random labels by key", ls="--", marker="s", lw=1.1)
    chance = sites[0]["control_chance"]
    ax.axhline(chance, color="#999999", lw=0.9, ls=":", label=f"chance of the control {100 * chance:.1f} %")
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("balanced accuracy")
    ax.set_title("Selectivity: how far the score is above the control task")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_dimension(ax: Any, rows: Rows, d: int | None = None) -> None:
    """Scores at the sites' own dimension, and in ``d`` dimensions by principal components and by random projection."""
    sites, _ = split(rows)
    x = np.arange(len(sites))
    site_axis(ax, sites)
    same = "the common dimension" if d is None else f"{d} dimensions"
    curve(ax, x, sites, "score", "#222222", "own dimension (95 % interval)")
    curve(ax, x, sites, "pca", "#D55E00", f"{same}: principal components", ls="--", marker="s", lw=1.2)
    curve(ax, x, sites, "random", "#CC79A7", f"{same}: random projection", ls=":", marker="^", lw=1.4)
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("balanced accuracy")
    ax.set_title("The same at equal dimension")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_sample_sizes(axes: Any, rows: Rows, last: Rows) -> None:
    """Score by training references, the best site of each component drawn out; and what the last doubling gained at every site.

    Args:
        axes: two matplotlib axes.
        rows: ``table`` of ``sample_size``.
        last: its ``last``.
    """
    left, right = axes
    sites, baselines = split(rows)
    largest = max(row["fraction"] for row in sites)
    full = [row for row in [*sites, *baselines] if row["fraction"] == largest]
    drawn_out = {kind: max((r for r in full if r["component"] == kind), key=lambda r: r["score"])["site"]
                 for kind in dict.fromkeys(row["component"] for row in full)}  # fmt: skip
    for row in full:
        own = [r for r in rows if r["site"] == row["site"]]
        kind, x = row["component"], [r["references"] for r in own]
        if drawn_out[kind] == row["site"]:
            left.fill_between(x, [r["low"] for r in own], [r["high"] for r in own], color=colour(kind), alpha=0.12, lw=0)
            left.plot(
                x,
                [r["score"] for r in own],
                color=colour(kind),
                marker=MARKERS.get(kind, "o"),
                label=row["site"].removeprefix(BASELINE),
                zorder=3,
            )
        else:
            left.plot(x, [r["score"] for r in own], color=colour(kind), lw=0.6, alpha=0.45)
    _doublings(left, sorted({row["references"] for row in sites}))
    left.set(xlabel="references in training", ylabel="balanced accuracy", ylim=(0, 1.05))
    left.set_title("Score by training references")
    percent_axis(left.yaxis)
    left.legend(loc="best", title="best of each component", frameon=True, framealpha=0.8, edgecolor="none")
    gains, _ = split(last)
    site_axis(right, gains)
    right.axhline(0, color="#222222", lw=0.9)
    for place, row in enumerate(gains):
        shade = colour(row["component"])
        right.plot([place, place], [row["low"], row["high"]], color=shade, lw=1.2)
        right.plot([place], [row["gain"]], color=shade, marker="o", mfc=shade if row["limited"] else "white", ls="")
    right.plot([], [], marker="o", ls="", color="#555555", label="more references would probably help")
    right.plot([], [], marker="o", ls="", color="#555555", mfc="white", label="no such sign after Holm")
    right.set_ylabel("gain in balanced accuracy")
    right.set_title("What the last step gained")
    right.margins(y=0.25)
    right.legend(loc="lower right", fontsize=6.5)


def draw_transfer(ax: Any, rows: Rows, by: str) -> None:
    """One held-out kind of ``by``: the score on it beside the score of a probe that was trained on it, per site."""
    sites, _ = split(rows)
    x = np.arange(len(sites))
    site_axis(ax, sites)
    curve(ax, x, sites, "inside", "#777777", "trained on it too", ls="--", marker="s", lw=1.2)
    curve(ax, x, sites, "score", "#222222", "not trained on (95 % interval)")
    sure = [i for i, row in enumerate(sites) if row["change"] < 0 and row["p_holm"] < 0.05]
    ax.plot(sure, [1.02] * len(sure), ls="", marker="v", color="#222222", ms=4, label="drop: p < 0.05 after Holm")
    ax.axhline(sites[0]["chance"], color="#999999", lw=0.9, ls=":", label=f"chance {100 * sites[0]['chance']:.1f} %")
    ax.set_ylim(0, 1.15)
    ax.set_ylabel("balanced accuracy")
    ax.set_title(f"Transfer by {by}: {sites[0]['held_out']}")
    percent_axis(ax.yaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def probing_figures(tables: Tables, target: str) -> Plan:
    """Every figure of a probing.

    Args:
        tables: by name, as ``snellen probe`` keeps them.
        target: what was probed for.
    """
    more: dict[str, Callable[[Any], Made]] = {name: _transfer(name) for name in tables if name.startswith(TRANSFER)}
    for name in tables:
        if name.startswith(CONTROL):
            more[name] = _one(name, lambda ax, rows, _: draw_control_task(ax, rows))
    return bound({**FIGURES, **more}, {**tables, "target": target})


def _as_score(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    ends = (f"{name}_low", f"{name}_high") if f"{name}_low" in row else ("low", "high")
    return {"score": row[name], "low": row[ends[0]], "high": row[ends[1]]}


def _doublings(ax: Any, references: Sequence[float]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(references), [f"{count:.0f}" for count in references])
    ax.minorticks_off()


# ---- whole figures ---------------------------------------------------------------------------------------------------


def _width(rows: Rows) -> float:
    """Inches for so many sites."""
    return float(np.clip(8.2 + 0.06 * (len({row["site"] for row in rows}) - 30), 8.2, 12))


def _one(name: str, draw: Callable[[Any, Rows, Tables], None]) -> Callable[[Tables], Made]:
    """A figure of one panel and one table."""

    def make(tables: Tables) -> Made:
        rows = tables.get(name)
        if not rows or not split(rows)[0]:
            return None
        figure, ax = canvas(_width(rows), 3.7)
        draw(ax, rows, tables)
        return figure, [dict(row) for row in rows]

    return make


def _bits(tables: Tables) -> Made:
    code, usable = tables.get("online_code"), tables.get("usable_information")
    if not code or not usable or not split(code)[0]:
        return None
    figure, axes = canvas(_width(code), 5.0, 2, 1, sharex=True)
    draw_bits(axes, code, usable)
    return figure, [{"measure": name, **row} for name, rows in (("online code", code), ("usable", usable)) for row in rows]


def _types(tables: Tables) -> Made:
    rows = tables.get("types")
    if not rows or not split(rows)[0]:
        return None
    figure, ax = canvas(_width(rows), 1.5 + 0.19 * len({row["type"] for row in rows}))
    _bar(figure, draw_types(ax, rows), ax, "AUC against clean", 0.07)
    return figure, [dict(row) for row in rows]


def _sample_sizes(tables: Tables) -> Made:
    rows = tables.get("sample_size")
    if not rows or not tables.get("sample_size_gain"):
        return None
    figure, axes = canvas(_width(rows) + 1, 3.7, 1, 2, width_ratios=(2, 3))
    draw_sample_sizes(axes, rows, tables["sample_size_gain"])
    return figure, [dict(row) for row in rows]


def _transfer(name: str) -> Callable[[Tables], Made]:
    def make(tables: Tables) -> Made:
        rows = tables[name]
        kinds = len({row["held_out"] for row in rows})
        if kinds == 1:
            return _one(name, lambda ax, own, _: draw_transfer(ax, own, name.removeprefix(TRANSFER)))(tables)
        figure, axes = canvas(_width(rows), 1.9 + 0.36 * kinds, 2, 1)
        for ax, shown, label in zip(axes, draw_transfers(axes, rows), ("balanced accuracy", "change"), strict=True):
            _bar(figure, shown, ax, label)
        return figure, [dict(row) for row in rows]

    return make


def _bar(figure: Any, shown: Any, ax: Any, label: str, pad: float = 0.02) -> None:
    bar = figure.colorbar(shown, ax=ax, aspect=18, pad=pad, fraction=0.04)
    bar.set_label(label, fontsize=7)
    bar.outline.set_visible(False)


FIGURES: dict[str, Callable[[Any], Made]] = {
    "survival": _one("probe", lambda ax, rows, tables: draw_probe(ax, rows, str(tables["target"]))),
    "differences": _one("differences", lambda ax, rows, tables: draw_differences(ax, rows, tables.get("best_sites"))),
    "bits": _bits,
    "equal_dimension": _one("equal_dimension", lambda ax, rows, _: draw_dimension(ax, rows, rows[0].get("d"))),
    "types": _types,
    "sample_size": _sample_sizes,
}
